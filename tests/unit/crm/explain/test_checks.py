"""Each finding of `hacli verify` beyond structure: a small CIB with one mistake, and none without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm.cib import codec
from crm.explain.doubts import doubts, in_this_state
from tests.datadriven import Command, run_file

SCENARIOS = Path(__file__).parents[3] / "scenarios" / "verify"
NOW_S = 1_790_000_000  # September 2026

NODES = '<node id="1" uname="n1"/><node id="2" uname="n2"/>'
STATES = "".join(
    f'<node_state id="{n}" uname="n{n}" in_ccm="true" crmd="online" join="member" expected="member"/>'
    for n in (1, 2)
)
DEVICE = (
    '<primitive id="st" class="stonith" type="fence_x"><operations>'
    '<op id="st-m" name="monitor" interval="60s"/></operations></primitive>'
)
WEB = (
    '<primitive id="web" class="ocf" provider="hacluster" type="Dummy"><operations>'
    '<op id="web-m" name="monitor" interval="10s"/></operations></primitive>'
)


def findings(command: Command) -> str:
    """A finding a line; the cluster has two nodes, a device, and web, which is watched.

    Each line of the input is a part of the configuration (`nodes` replaces the two) and the XML to put there.
    """
    parts: dict[str, str] = {}
    for line in command.input.splitlines():
        name, _, xml = line.partition(" ")
        parts[name] = parts.get(name, "") + xml
    assert parts.keys() <= {"resources", "constraints", "options", "nodes", "more", "status"}, command.place
    text = f"""<cib have-quorum="1"><configuration>
    <crm_config><cluster_property_set id="o">{parts.get("options", "")}</cluster_property_set></crm_config>
    <nodes>{parts.get("nodes", NODES)}</nodes>
    <resources>{DEVICE}{WEB}{parts.get("resources", "")}</resources>
    <constraints>{parts.get("constraints", "")}</constraints>{parts.get("more", "")}</configuration>
    <status>{STATES}{parts.get("status", "")}</status></cib>"""
    cib = codec.parse(text.encode(), source=command.place)
    every = (*doubts(cib, NOW_S), *in_this_state(cib, NOW_S))
    return "\n".join(f"{one.severity.value}: {one}" for one in every) or "nothing"


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.txt")), ids=lambda path: path.stem)
def test_findings(path: Path, rewrite: bool) -> None:
    run_file(path, findings, rewrite=rewrite)


def test_a_device_for_some_nodes_leaves_the_others() -> None:
    listed = DEVICE.replace(
        "<operations>",
        '<instance_attributes id="i"><nvpair id="i1" name="pcmk_host_list" value="n1"/>'
        "</instance_attributes><operations>",
        1,
    )
    cib = codec.parse(
        f"<cib><configuration><crm_config/><nodes>{NODES}</nodes><resources>{listed}</resources><constraints/>"
        f"</configuration><status>{STATES}</status></cib>".encode(),
        source="test",
    )
    assert "n2: no fence device lists this node: it cannot be fenced" in str(doubts(cib, NOW_S)[0])


HISTORY = (
    '<node_state id="{id}" uname="n{id}" in_ccm="true" crmd="online" join="member" expected="member">'
    '<lrm id="{id}"><lrm_resources><lrm_resource id="{name}" class="ocf" provider="hacluster" type="Dummy">'
    "{ops}</lrm_resource></lrm_resources></lrm></node_state>"
)


def entry(name: str, task: str, rc: int, expected: int = 0, call: int = 1) -> str:
    return (
        f'<lrm_rsc_op id="{name}_last_0" operation="{task}" operation_key="{name}_{task}_0" interval="0" '
        f'call-id="{call}" rc-code="{rc}" op-status="0" transition-key="1:1:{expected}:x" '
        f'transition-magic="0:{rc};1:1:{expected}:x"/>'
    )


def in_state(*states: str) -> list[str]:
    text = (
        f'<cib have-quorum="1"><configuration><crm_config/><nodes>{NODES}</nodes>'
        f"<resources>{DEVICE}{WEB}</resources><constraints/></configuration>"
        f"<status>{''.join(states)}</status></cib>"
    )
    return [str(one) for one in in_this_state(codec.parse(text.encode(), source="test"), NOW_S)]


def test_a_cib_that_nobody_checks() -> None:
    text = '<cib validate-with="none"><configuration><crm_config/><nodes/><resources/></configuration></cib>'
    (one,) = doubts(codec.parse(text.encode(), source="test"), NOW_S)
    assert one.where == "validate-with"


def test_the_state_is_looked_at_too() -> None:
    both = [HISTORY.format(id=n, name="web", ops=entry("web", "start", 0)) for n in (1, 2)]
    assert any(
        "web: it is active on n1 and n2: it will be stopped everywhere" in line for line in in_state(*both)
    )
    gone = [HISTORY.format(id=1, name="old", ops=entry("old", "start", 0)), STATES.partition("/>")[2]]
    assert any(
        "old: it is active on n1, but no longer in the configuration" in line for line in in_state(*gone)
    )
    failed = [HISTORY.format(id=1, name="web", ops=entry("web", "start", 1)), STATES.partition("/>")[2]]
    assert any("web: web_start_0 ended with rc=1 on n1" in line for line in in_state(*failed))
    lost = STATES.replace('crmd="online"', 'crmd="offline"').replace('in_ccm="true"', 'in_ccm="false"')
    assert any("n1: it is unclean" in line for line in in_state(lost))


@pytest.mark.timeout(20)
def test_ids_that_stand_twice_make_no_circle() -> None:
    cib = codec.parse(
        '<cib><configuration><resources><group id="a"><primitive id="b"/><primitive id="a"/></group>'
        '<clone id="b"><group id="a"><primitive id="b"/></group></clone></resources></configuration></cib>'
    )
    assert doubts(cib, 0)
