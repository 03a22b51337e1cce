"""ha-messaging alone in network namespaces: views form, lose the dead, ignore dark links and bad packets."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial

import pytest

from cli.demo.ground import until
from cli.demo.lab import Lab
from cli.demo.node import Node
from tests.live.cluster import Cluster, Times

pytestmark = [pytest.mark.netns, pytest.mark.alone]

DETECTED_WITHIN_S = 0.7
ALONE = (sys.executable, "-m", "messaging", "--log-format", "json")
TIMES = Times(keepalive=100, warntime=250, deadtime=500, initdead=5_000)


def boot(nodes: Sequence[Node]) -> None:
    for node in nodes:
        node.boot(command=ALONE)


@pytest.fixture
def three() -> Iterator[Cluster]:
    with Lab(["n1", "n2", "n3"], name="views", links=2) as lab:
        yield Cluster(lab, TIMES)


def _has_members(cluster: Cluster, node: Node, names: list[str]) -> bool:
    return cluster.members(node) == names


def view_id(cluster: Cluster, node: Node) -> tuple[int, int]:
    identity = cluster.messaging(node).authority.view.id
    return identity.counter, identity.coordinator


def test_three_nodes_lose_one_within_deadtime(three: Cluster) -> None:
    """D = 500 ms: the others have a view without it, and quorum, 700 ms after its last packet."""
    boot(three.nodes)
    three.wait_members(["n1", "n2", "n3"], 10)
    one, two, gone = three.nodes
    until(lambda: three.messaging(one).authority.quorate, 2)
    gone.power_cut()
    began = time.monotonic()
    for node in (one, two):
        until(partial(_has_members, three, node, ["n1", "n2"]), 3, every_s=0.01)
    took_s = time.monotonic() - began
    until(lambda: three.messaging(one).authority.quorate, 1)
    assert took_s <= DETECTED_WITHIN_S, f"took {took_s * 1_000:.0f} ms"
    states = {node.name: node.state for node in three.messaging(one).authority.nodes}
    assert states == {"n1": "member", "n2": "member", "n3": "lost"}
    boot([gone])
    three.wait_members(["n1", "n2", "n3"], 10)


def test_one_of_two_links_goes_dark(three: Cluster) -> None:
    """No view changes; the link is seen to be down, and to be back."""
    boot(three.nodes)
    three.wait_members(["n1", "n2", "n3"], 10)
    one = three.nodes[0]
    before = {node.name: view_id(three, node) for node in three.nodes}

    def states() -> set[tuple[int, str]]:
        return {(link.link, link.state) for link in three.messaging(one).links}

    until(lambda: states() == {(0, "up"), (1, "up")}, 5)
    three.lab.pull(one, 0)
    until(lambda: states() == {(0, "down"), (1, "up")}, 5)
    time_dark = time.monotonic()
    until(lambda: time.monotonic() - time_dark > 1.5, 3)  # three deadtimes
    three.lab.plug(one, 0)
    # What was lost in the dark counts for a minute: more than 10 %.
    until(lambda: states() == {(0, "degraded"), (1, "up")}, 10)
    assert {node.name: view_id(three, node) for node in three.nodes} == before


def test_two_nodes_split_and_merge() -> None:
    """Both go on alone (two_node), and become one view again."""
    with Lab(["n1", "n2"], name="views2") as lab:
        cluster = Cluster(lab, TIMES)
        boot(lab.nodes)
        cluster.wait_members(["n1", "n2"], 10)
        one, two = lab.nodes
        until(lambda: cluster.messaging(one).authority.quorate, 2)
        lab.split([one], [two])
        until(lambda: cluster.members(one) == ["n1"] and cluster.members(two) == ["n2"], 3)
        lab.heal()
        cluster.wait_members(["n1", "n2"], 10)
        assert view_id(cluster, one) == view_id(cluster, two)


def test_bad_packets_change_nothing_but_counters(three: Cluster) -> None:
    """Wrong keys, cut and flipped packets, replays, other clusters, old runs: dropped, each by its reason."""
    one, two, forger = three.nodes
    boot([one, two])
    forger.boot(command=("/bin/sleep", "1000"))
    three.wait_members(["n1", "n2"], 15, on=[one, two])
    before = view_id(three, one)
    dropped = dict(three.messaging(one).dropped)
    etc = "/etc/hacluster"
    words = (f"{etc}/cluster.toml", f"{etc}/authkeys", "n3", one.interfaces[0].ip)
    done = forger.exec(sys.executable, "-m", "tests.live.forger_script", *words)
    expected = json.loads(done.stdout)["expected"]

    def gained() -> dict[str, int]:
        now = three.messaging(one).dropped
        return {reason: count - dropped[reason] for reason, count in now.items() if count > dropped[reason]}

    until(lambda: gained() == expected, 5, what=f"counters {expected}, now {gained()}")
    assert view_id(three, one) == before
    states = {node.name: node.state for node in three.messaging(one).authority.nodes}
    assert states["n3"] == "unknown", "a packet without a fresh echo is no sign of life"
    assert three.messaging(two).authority.quorate
