"""The fencing core, by scenarios: devices, levels, executors, pauses."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from crm.cib.codec import parse
from crm.fencing import core
from crm.fencing.devices import AgentFacts, described, devices, levels, node_attributes
from tests.datadriven import Command, run_file

SCENARIOS = Path(__file__).parents[3] / "scenarios" / "fencing"
CONFIGURATION = parse(
    """<configuration><nodes><node id="3" uname="node3"><instance_attributes id="i">
    <nvpair id="i1" name="rack" value="b"/></instance_attributes></node></nodes><resources>
    <primitive id="ipmi1" class="stonith" type="fence_ipmilan"><instance_attributes id="a">
      <nvpair id="a1" name="pcmk_host_list" value="node1 node2"/>
      <nvpair id="a2" name="pcmk_delay_base" value="node1:0;node2:3s"/>
      <nvpair id="a3" name="pcmk_off_timeout" value="7s"/><nvpair id="a4" name="user" value="u"/>
    </instance_attributes></primitive>
    <group id="g"><primitive id="pdu" class="stonith" type="fence_pdu"><instance_attributes id="b">
      <nvpair id="b1" name="pcmk_host_map" value="node1:5;node3:7"/>
      <nvpair id="b2" name="pcmk_reboot_action" value="off"/>
    </instance_attributes></primitive></group>
    <primitive id="any" class="stonith" type="fence_any"/>
    <primitive id="out" class="stonith" type="fence_any"><meta_attributes id="m">
      <nvpair id="m1" name="target-role" value="Stopped"/></meta_attributes></primitive>
    </resources><fencing-topology>
    <fencing-level id="l1" target="node1" index="1" devices="ipmi1"/>
    <fencing-level id="l2" target="node1" index="2" devices="pdu,any"/>
    <fencing-level id="l3" target-attribute="rack" target-value="b" index="1" devices="pdu"/>
    <fencing-level id="l4" target-pattern="^far" index="1" devices="any"/>
    </fencing-topology></configuration>"""
)


def ids(target: str) -> list[list[str]]:
    attributes = node_attributes(CONFIGURATION, target)
    return [[device.id for device in level] for level in levels(CONFIGURATION, target, attributes)]


def test_who_can_fence_whom() -> None:
    assert [device.id for device in devices(CONFIGURATION)] == ["ipmi1", "pdu", "any"]
    assert ids("node1") == [["ipmi1"], ["pdu", "any"]]
    assert ids("node2") == [["ipmi1"], ["any"]]
    assert ids("node3") == [["pdu"]]
    assert ids("far9") == [["any"]]
    assert levels(parse("<configuration/>"), "node1", {}) == ()


def test_a_level_that_lacks_a_device_is_no_level() -> None:
    """One of two power supplies switched off has not switched the node off."""
    text = """<configuration><resources><primitive id="a" class="stonith" type="fence_pdu"/></resources>
    <fencing-topology><fencing-level id="l1" target="node1" index="1" devices="a,b"/>
    <fencing-level id="l2" target="node1" index="2" devices="a"/>
    <fencing-level id="l3" target="node2" index="1" devices="a,b"/></fencing-topology></configuration>"""
    found = [levels(parse(text), target, {}) for target in ("node1", "node2", "node3")]
    assert [[[device.id for device in level] for level in each] for each in found] == [[["a"]], [], [["a"]]]


def test_what_an_agent_is_told() -> None:
    ipmi, pdu, every = devices(CONFIGURATION)
    assert ipmi.call("off", "node2") == ("off", {"user": "u", "port": "node2", "nodename": "node2"})
    assert pdu.call("reboot", "node3") == ("off", {"port": "7", "nodename": "node3"})
    facts = AgentFacts(actions=frozenset({"off"}), parameters=frozenset({"plug", "hacluster_boot"}))
    qdisk = described(pdu, facts, None)
    told = {"plug": "7", "nodename": "node3", "hacluster_boot": "b1"}
    assert qdisk.call("off", "node3", "b1") == ("off", told), "which boot is to end"
    assert "hacluster_boot" not in pdu.call("off", "node3", "b1")[1], "other agents do not know it"
    assert (ipmi.timeout_ms("off", 60_000), ipmi.timeout_ms("reboot", 60_000)) == (7_000, 60_000)
    assert (ipmi.delay_ms("node2"), ipmi.delay_ms("node1"), every.delay_ms("x")) == (
        (3_000, 0),
        (0, 0),
        (0, 0),
    )


def under_way(text: str) -> core.UnderWay | None:
    if not text:
        return None
    device, action, executor = text.split("/")
    return core.UnderWay(device=device, action=action, executor=executor)


def by_device(executors: str, excepted: str) -> dict[str, tuple[str, ...]]:
    """From "device/node,device/node": where devices are banned from."""
    pairs = [tuple(one.split("/")) for one in excepted.split(",") if one]
    return {
        device: tuple(name for name in executors.split(",") if (device, name) not in pairs)
        for device, _ in pairs
    }


class World:
    def __init__(self) -> None:
        self.fencer = core.Fencer(random.Random(1))

    def handle(self, command: Command) -> str:
        now_ns = int(command.options.get("at", "0")) * 1_000_000
        return "\n".join(map(self.text, self.fencer.handle(self.event(command), now_ns)))

    def event(self, command: Command) -> core.Event:
        words, options = command.words, command.options
        match command.name:
            case "fence":
                found = levels(CONFIGURATION, words[0], node_attributes(CONFIGURATION, words[0]))
                if "limit" in options:
                    limit = {"pcmk_action_limit": options["limit"]}
                    found = tuple(
                        tuple(replace(one, parameters={**one.parameters, **limit}) for one in level)
                        for level in found
                    )
                return core.Wanted(
                    target=words[0],
                    how=options.get("how", "reboot"),
                    levels=() if "no-devices" in words else found,
                    executors=tuple(options["by"].split(",")) if options.get("by") else (),
                    by_device=by_device(options.get("by", ""), options.get("except", "")),
                    timeout_ms=60_000,
                    extra_delay_ms=int(options.get("delay", "0")),
                    verify="verify" in words,
                    once="once" in words,
                    under_way=under_way(options.get("runs", "")),
                )
            case "ran":
                final = "final" in words
                return core.Ran(words[0], int(words[1]), words[2] == "ok", options.get("why", ""), final)
            case "timer":
                return core.TimerFired(words[0])
            case "returned":
                return core.Returned(words[0])
            case _:
                raise AssertionError(f"{command.place}: unknown command {command.name}")

    def text(self, effect: core.Effect) -> str:
        match effect:
            case core.Run():
                return (
                    f"run {effect.attempt} {effect.device.id} {effect.action} {effect.target} "
                    f"by={effect.executor} timeout={effect.timeout_ms}{' adopted' if effect.adopted else ''}"
                )
            case core.SetTimer(target, at_ns):
                return f"timer {target} at={at_ns // 1_000_000}"
            case core.ClearTimer(target):
                return f"clear {target}"
            case core.Fenced():
                return f"FENCED {effect.target} {effect.how} by {','.join(effect.devices)}"
            case core.Cancelled(target, how):
                return f"cancelled {target} {how}"
            case core.Failed():
                return f"failed {effect.target} round {effect.rounds}: {effect.why}; pause {effect.pause_ms}"


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.txt")), ids=lambda path: path.stem)
def test_fencing(path: Path, rewrite: bool) -> None:
    run_file(path, World().handle, rewrite=rewrite)
