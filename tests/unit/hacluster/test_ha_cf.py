from __future__ import annotations

import pytest

from hacluster import cluster_toml, ha_cf, settings
from hacluster.errors import InvalidDocuments

GOOD = """\
# two nodes
keepalive 1500ms
deadtime 6
warntime 3
initdead 60
udpport 695
mcast eth0 225.0.100.1 694 1 0
bcast eth1
auto_failback off   # a comment behind
node node1 node2
ping 172.16.0.1
"""
HOSTS = {"node1": ("10.0.0.1", "10.1.0.1"), "node2": ("10.0.0.2", "10.1.0.2")}


def convert(text: str, **more: object) -> ha_cf.Converted:
    return ha_cf.convert(text, resolve=lambda name: HOSTS.get(name, ()), **more)  # type: ignore[arg-type]


def failures(text: str, **more: object) -> list[str]:
    with pytest.raises(InvalidDocuments) as caught:
        convert(text, **more)
    return [str(error) for error in caught.value.errors]


def test_what_it_says_is_what_cluster_toml_says() -> None:
    converted = convert(GOOD, name="web")
    assert not converted.auto_failback
    assert not converted.stonith
    again = settings.parse(cluster_toml.render(converted.settings, heading="made by a test"))
    assert again == converted.settings
    assert again.timers == settings.Timers(
        keepalive_ms=1500, warntime_ms=3000, deadtime_ms=6000, initdead_ms=60_000, deadping_ms=6000
    )
    assert [(link.kind, link.port, link.interface) for link in again.links] == [
        ("mcast", 694, "eth0"),
        ("bcast", 695, "eth1"),
        ("ping", 694, ""),
    ]
    assert again.quorum == settings.Quorum(two_node=True, wait_for_all=False)
    assert again.nodes[1].addresses == ("10.0.0.2", "10.1.0.2")


def test_the_cluster_id_depends_on_name_and_nodes_only() -> None:
    other = GOOD.replace("node node1 node2", "node node2\nnode node1").replace("deadtime 6", "deadtime 7")
    assert convert(GOOD).settings.cluster_id == convert(other).settings.cluster_id
    assert convert(GOOD).settings.cluster_id != convert(GOOD, name="other").settings.cluster_id


def test_ucast_addresses_belong_to_the_node_that_resolves_to_them_else_by_order() -> None:
    text = "node node1 node2\nucast eth0 10.0.0.2\nucast eth0 10.0.0.1\n"
    assert [node.addresses for node in convert(text).settings.nodes] == [("10.0.0.1",), ("10.0.0.2",)]
    by_order = ha_cf.convert(text)
    assert [node.addresses for node in by_order.settings.nodes] == [("10.0.0.2",), ("10.0.0.1",)]


def test_given_addresses_win() -> None:
    given = {"node1": ("192.0.2.1", "192.0.2.2"), "node2": ("192.0.2.3", "192.0.2.4")}
    assert convert(GOOD, addresses=given).settings.nodes[0].addresses == ("192.0.2.1", "192.0.2.2")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (GOOD.replace("deadtime 6", "deadtime 3"), 2, "not more than twice"),
        (GOOD.replace("keepalive 1500ms", "keepalive soon"), 2, "not a duration"),
        (GOOD.replace("bcast eth1", "bcats eth1"), 8, "not a directive"),
        (GOOD.replace("225.0.100.1", "10.0.0.9"), 7, "not a multicast"),
        (GOOD.replace("auto_failback off", "auto_failback maybe"), 9, "on, off or legacy"),
        (GOOD.replace("node1 node2", "node1 node3"), 10, "address of node3"),
        (GOOD.replace("node1 node2", "node1 node1"), 10, "twice"),
        (GOOD.replace("172.16.0.1", "gateway"), 11, "write the address"),
    ],
)
def test_errors_name_line_and_remedy(text: str, line: int, words: str) -> None:
    if "deadtime 3" in text:
        line = 3
    found = failures(text)
    assert any(one.startswith(f"ha.cf:{line}: ") and words in one and "(" in one for one in found), found


def test_all_errors_at_once() -> None:
    assert len(failures("keepalive x\nbogus 1\nnode n!\n")) >= 4


def test_every_ignored_directive_has_a_reason_and_is_named() -> None:
    lines = [f"{name} something" for name in ha_cf.IGNORED]
    converted = convert(GOOD + "\n".join(lines))
    for name in ha_cf.IGNORED:
        assert any(f": {name} is not needed: " in note for note in converted.notes), name
    assert converted.stonith


def test_times_that_heartbeat_took_are_mended_and_said() -> None:
    text = GOOD.replace("initdead 60", "initdead 7").replace("warntime 3", "warntime 9")
    converted = convert(text)
    assert converted.settings.timers.initdead_ms == 12_000
    assert converted.settings.timers.warntime_ms == 3_000
    assert sum("taken" in note for note in converted.notes) == 2


def test_a_node_with_fewer_addresses_than_links_is_not_guessed_about() -> None:
    text = "node node1\nbcast eth0 eth1\n"
    with pytest.raises(InvalidDocuments, match="link 2"):
        ha_cf.convert(text, resolve=lambda _name: ("10.0.0.1",))
