"""Which nodes a device knows, by which names, and which levels count for a node."""

from __future__ import annotations

import pytest

from crm.cib.codec import parse
from crm.fencing.devices import AgentFacts, Device, Known, described, host_map, levels
from hacluster.vocabulary.agent import AgentName


def a_device(**parameters: str) -> Device:
    return Device(id="f", agent=AgentName.parse("stonith:fence_x"), parameters=parameters)


def answering(actions: str, hosts: str, **parameters: str) -> Device:
    facts = AgentFacts(actions=frozenset(actions.split()))
    return described(a_device(**parameters), facts, Known(frozenset(hosts.split())))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node1:1;node2:2", {"node1": "1", "node2": "2"}),
        ("node1=1 node2=2,3;\tNode3:4", {"node1": "1", "node2": "2,3", "node3": "4"}),
        (r"node1:rack\ a\;b;node2:c\:d\=e", {"node1": "rack a;b", "node2": "c:d=e"}),
        ("node1:10:20", {"node1": "10:20"}),
        ("node1:1;;node2; :3;node4:", {"node1": "1"}),
        ("", {}),
    ],
)
def test_what_a_map_says(text: str, expected: dict[str, str]) -> None:
    assert host_map(text) == expected


def test_names_of_nodes_have_no_case() -> None:
    for device in (
        a_device(pcmk_host_list="NODE1,Node2"),
        a_device(pcmk_host_map="NODE1:a;Node2:b"),
        answering("list", "NODE1 Node2"),
    ):
        assert [device.knows(name) for name in ("node1", "node2", "node3")] == [True, True, False]
    mapped = a_device(pcmk_host_map="NODE1:a", pcmk_delay_base="NODE1:3s;other:9s")
    assert mapped.call("off", "node1")[1] == {"port": "a", "nodename": "node1"}
    assert mapped.delay_ms("node1") == (3_000, 0)


def test_a_list_that_was_asked_for_has_the_plugs_of_the_map() -> None:
    """The node's own name in it is another machine's: the agent would be told a plug that is not there."""
    device = answering(
        "list", "5 node2 node3", pcmk_host_map="node1:5;node2:9", pcmk_host_check="dynamic-list"
    )
    assert [device.knows(name) for name in ("node1", "node2", "node3")] == [True, False, True]


def test_only_what_was_set_on_purpose_replaces_the_plug() -> None:
    assert a_device(port="7").call("off", "node1")[1]["port"] == "7"
    assert a_device(port="dynamic").call("off", "node1")[1]["port"] == "node1"


@pytest.mark.parametrize(
    ("base", "most", "expected"),
    [("5s", "", (5_000, 0)), ("", "9s", (0, 9_000)), ("5s", "9s", (5_000, 4_000)), ("9s", "5s", (5_000, 0))],
)
def test_the_most_that_is_waited_limits_what_is_fixed(
    base: str, most: str, expected: tuple[int, int]
) -> None:
    given = {"pcmk_delay_base": base, "pcmk_delay_max": most}
    assert a_device(**{name: value for name, value in given.items() if value}).delay_ms("n") == expected


@pytest.mark.parametrize(
    ("target", "attributes", "expected"),
    [
        ("node1", {"rack": "b"}, [["a"], ["b"]]),  # its name hides the pattern and the attribute
        ("NODE1", {}, [["a"], ["b"]]),
        ("node2", {"rack": "b"}, [["c"], ["d"]]),  # the first that fits
        ("other", {"rack": "b"}, [["d"]]),
        ("other", {}, []),
    ],
)
def test_one_topology_counts(target: str, attributes: dict[str, str], expected: list[list[str]]) -> None:
    """Were they added up, a level would need devices that have nothing to do with the node."""
    devices = "".join(
        f'<primitive id="{name}" class="stonith" type="fence_x"><instance_attributes id="{name}i">'
        f'<nvpair id="{name}n" name="pcmk_host_list" value="nobody"/></instance_attributes></primitive>'
        for name in "abcd"
    )
    configuration = parse(f"""<configuration><resources>{devices}</resources><fencing-topology>
    <fencing-level id="l1" target-pattern="^node[[:digit:]]" index="1" devices="c"/>
    <fencing-level id="l2" target-attribute="rack" target-value="b" index="1" devices="d"/>
    <fencing-level id="l3" target="Node1" index="1" devices="a"/>
    <fencing-level id="l4" target="node1" index="2" devices="b"/>
    <fencing-level id="l5" target-pattern="^node[[:digit:]]" index="2" devices="d"/>
    </fencing-topology></configuration>""")
    found = levels(configuration, target, attributes)
    assert [[device.id for device in level] for level in found] == expected
