"""ha-messaging, ha-crm and ha-lrm together, real processes on loopback addresses, killed and cut off."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from crm.cib.codec import parse, render
from crm.cib.model import Element
from hacluster.v1 import crm_pb2
from tests.live.local_cluster import SERVICES, LocalCluster, LocalNode, until

pytestmark = [pytest.mark.slow, pytest.mark.alone]

CIB = """<cib><configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="o1" name="stonith-enabled" value="false"/></cluster_property_set></crm_config>
<resources><group id="g">
<primitive id="a" class="ocf" provider="hacluster" type="Dummy"><operations>
<op id="a-m" name="monitor" interval="5s"/></operations></primitive>
<primitive id="b" class="ocf" provider="hacluster" type="Dummy"><operations>
<op id="b-m" name="monitor" interval="5s"/></operations></primitive></group></resources>
<constraints><rsc_location id="l" rsc="g" node="node1" score="100"/></constraints>
</configuration></cib>"""


class Ground:
    """What is really active, from the state files that Dummy leaves."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.started_s = 0.0  # what the start of the cluster took, on a machine as busy as it is

    def files(self, resource: str) -> dict[str, tuple[int, int]]:
        """Node -> inode and time of the state file: another start makes another file."""
        found = {}
        for node in self.cluster.nodes:
            with suppress(FileNotFoundError):
                state = (node.paths.agent_tmp / f"Dummy-{resource}.state").stat()
                found[node.name] = (state.st_ino, state.st_mtime_ns)
        return found

    def is_on(self, node: LocalNode) -> bool:
        """The whole group is active there and nowhere else."""
        return all(list(self.files(resource)) == [node.name] for resource in "ab")

    def wait_on(self, node: LocalNode, within_s: float = 20.0) -> float:
        """The seconds it took."""
        return until(lambda: self.is_on(node), within_s, f"the group on {node.name}: {self.files('a')}")

    def wait_whole(self, within_s: float = 20.0) -> float:
        """One DC that has taken in every node, nothing left to do."""
        nodes = self.cluster.nodes

        def whole() -> bool:
            dc = self.cluster.dc()
            status = dc.status() if dc is not None else None
            return status is not None and (
                status.transition.state == "idle"
                and len(status.nodes) == len(nodes)
                and all(n.integrated and n.crm and n.lrm and n.state == "member" for n in status.nodes)
            )

        return until(whole, within_s, "one DC and all nodes integrated")


@contextmanager
def a_cluster(folder: Path, count: int = 3, **times: int) -> Iterator[tuple[LocalCluster, Ground]]:
    cluster = LocalCluster(folder, count, cib=CIB, **times)
    ground = Ground(cluster)
    try:
        before_s = time.monotonic()
        cluster.start()
        ground.wait_on(cluster.nodes[0], 60)
        ground.wait_whole(60)
        ground.started_s = time.monotonic() - before_s
        yield cluster, ground
    finally:
        cluster.stop()


def change(node: LocalNode, edit: Callable[[Element], Element]) -> crm_pb2.WriteReply:
    """Read the configuration at this node, change it, write it back."""
    reply = node.call("QueryCib", crm_pb2.QueryCibRequest(), crm_pb2.QueryCibReply)
    configuration = parse(reply.xml).child("configuration")
    assert configuration is not None
    request = crm_pb2.WriteCibRequest(
        request_id=f"test-{time.monotonic_ns()}",
        configuration_xml=render(edit(configuration)).encode(),
        expected_digest=reply.digest,
        client="test",
    )
    return node.call("WriteCib", request, crm_pb2.WriteReply, 15)


def with_standby(configuration: Element, node: str, value: str) -> Element:
    nodes = configuration.child("nodes")
    assert nodes is not None
    pair = Element("nvpair", {"id": f"{node}-standby", "name": "standby", "value": value})
    group = Element("instance_attributes", {"id": f"{node}-attributes"}, (pair,))
    return configuration.with_child(
        nodes.mapped(lambda item: item.with_child(group) if item.get("uname") == node else item)
    )


def test_killing_any_daemon_interrupts_nothing(tmp_path: Path) -> None:
    with a_cluster(tmp_path, keepalive_ms=250, deadtime_ms=2_500) as (cluster, ground):
        before = {resource: ground.files(resource) for resource in "ab"}
        for service in SERVICES:
            for node in cluster.nodes[:2]:
                node.kill(service)
                node.start(service)
                within_s = max(8, 2 * ground.started_s)
                took_s = ground.wait_whole(within_s)
                assert took_s < within_s, f"{service} of {node.name}: {took_s:.1f} s of {within_s:.1f} s"
                assert {resource: ground.files(resource) for resource in "ab"} == before, (service, node.name)


def test_a_power_cut_and_the_return(tmp_path: Path) -> None:
    with a_cluster(tmp_path) as (cluster, ground):
        first, second = cluster.nodes[:2]
        first.power_cut()
        ground.wait_on(second, 10)
        first.start()
        ground.wait_on(first)
        ground.wait_whole()


def test_standby_moves_and_a_clean_stop_too(tmp_path: Path) -> None:
    with a_cluster(tmp_path) as (cluster, ground):
        first, second, third = cluster.nodes
        reply = change(third, lambda configuration: with_standby(configuration, first.name, "on"))
        assert reply.outcome == crm_pb2.WriteReply.OUTCOME_OK, reply
        moved_s = ground.wait_on(second, 10)
        assert moved_s < 3, f"{moved_s:.2f} s"
        reply = change(second, lambda configuration: with_standby(configuration, first.name, "off"))
        assert reply.outcome == crm_pb2.WriteReply.OUTCOME_OK, reply
        ground.wait_on(first, 10)
        ground.wait_whole()
        first.kill("crm", number=signal.SIGTERM)
        ground.wait_on(second, 5)
        states = {node.name: node.state for node in second.status().nodes}  # type: ignore[union-attr]
        assert states[first.name] == "left"
        first.start("crm")  # alone: ha-messaging has left, and comes back with it
        ground.wait_whole()
        ground.wait_on(first, 10)


def test_two_nodes_one_dies(tmp_path: Path) -> None:
    with a_cluster(tmp_path, count=2) as (cluster, ground):
        cluster.nodes[0].power_cut()
        ground.wait_on(cluster.nodes[1], 10)


def test_what_every_node_answers(tmp_path: Path) -> None:
    with a_cluster(tmp_path) as (cluster, _):
        for node in cluster.nodes:
            status = node.status(local=False)
            assert status is not None
            assert (status.quorate, status.basis, status.dc) == (True, "majority", status.node)
            resources = node.call(
                "QueryCib", crm_pb2.QueryCibRequest(xpath="//lrm_resource[@id='a']"), crm_pb2.QueryCibReply
            )
            assert b"a_monitor_5000" in resources.xml
            found = node.call(
                "ListTransitions", crm_pb2.ListTransitionsRequest(), crm_pb2.ListTransitionsReply
            )
            assert found.transitions
            newest = node.call("GetTransition", crm_pb2.GetTransitionRequest(), crm_pb2.GetTransitionReply)
            assert parse(newest.graph_xml).tag == "transition_graph"
            assert parse(newest.input_xml).tag == "cib"
        untyped = parse('<configuration><resources><primitive id="x"/></resources></configuration>')
        wrong = change(cluster.nodes[1], lambda _: untyped)
        assert wrong.outcome == crm_pb2.WriteReply.OUTCOME_FAILED
        assert "primitive" in wrong.reason
        cleaned = cluster.nodes[1].call(
            "Cleanup", crm_pb2.CleanupRequest(resource="a", node="node1"), crm_pb2.CleanupReply
        )
        assert list(cleaned.cleaned) == ["a@node1"]


SLOW = """<cib><configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="o1" name="stonith-enabled" value="false"/></cluster_property_set></crm_config>
<resources><group id="g">
<primitive id="a" class="ocf" provider="hacluster" type="Dummy">
<instance_attributes id="a-p"><nvpair id="a-p-s" name="op_sleep" value="2"/></instance_attributes>
</primitive><primitive id="b" class="ocf" provider="hacluster" type="Dummy"/></group></resources>
<constraints><rsc_location id="l" rsc="g" node="node2" score="100"/></constraints>
</configuration></cib>"""


def begun(node: LocalNode, operation: str, resource: str) -> int:
    """How often its LRM began an operation."""
    words = (f"operation={operation} ", f"resource={resource} ", "operation_begun")
    return sum(all(word in line for word in words) for line in node.log("lrm").splitlines())


def test_a_dc_that_dies_while_a_resource_starts(tmp_path: Path) -> None:
    """The next DC takes the running start over: it is not repeated, nor overtaken by what depends on it."""
    cluster = LocalCluster(tmp_path, 3, cib=SLOW)
    ground = Ground(cluster)
    try:
        cluster.start()
        second = cluster.nodes[1]
        until(lambda: begun(second, "start", "a") == 1, 30, "the start of a begins")
        dc = cluster.dc()
        assert dc is not None
        dc.kill("crm")
        assert begun(second, "start", "b") == 0
        ground.wait_on(second, 15)
        assert begun(second, "start", "a") == 1
        a, b = (ground.files(resource)[second.name][1] for resource in "ab")
        assert a < b, "b was started before a had started"
        assert cluster.dc() is not dc
    finally:
        cluster.stop()


FAILING = """<cib><configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="o1" name="stonith-enabled" value="false"/></cluster_property_set></crm_config>
<resources><group id="g">
<primitive id="a" class="ocf" provider="hacluster" type="Dummy"><operations>
<op id="a-m" name="monitor" interval="1s"/></operations></primitive>
<primitive id="b" class="ocf" provider="hacluster" type="Dummy">
<instance_attributes id="b-p"><nvpair id="b-p-f" name="fail" value="start@node1"/></instance_attributes>
</primitive></group></resources>
<constraints><rsc_location id="l" rsc="g" node="node1" score="100"/></constraints>
</configuration></cib>"""


def test_failures_are_counted_and_cleaned_up(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, 3, cib=FAILING)
    ground = Ground(cluster)
    try:
        cluster.start()
        until(lambda: cluster.dc() is not None, 30, "a DC")
        first, second = cluster.nodes[:2]
        ground.wait_on(second, 15)
        ground.wait_whole()
        assert attribute(first, "fail-count-b#start_0") == "INFINITY"
        (second.paths.agent_tmp / "Dummy-a.state").unlink()  # a has died
        until(lambda: attribute(second, "fail-count-a#monitor_1000") == "1", 10, "the failure is counted")
        ground.wait_on(second, 10)
        dc = cluster.dc()
        assert dc is not None
        dc.kill("crm")
        until(lambda: cluster.dc() not in (None, dc), 10, "another DC")
        dc.start("crm")
        ground.wait_whole()
        assert attribute(second, "fail-count-a#monitor_1000") == "1", "the next DC does not count it again"
        request = crm_pb2.CleanupRequest(resource="g")
        cleaned = second.call("Cleanup", request, crm_pb2.CleanupReply)
        assert "b@node1" in cleaned.cleaned
        until(lambda: begun(first, "start", "b") == 2, 10, "node1 is tried again")
        ground.wait_on(second, 15)
    finally:
        cluster.stop()


def attribute(node: LocalNode, name: str) -> str | None:
    """A transient attribute as the cluster sees it."""
    status = node.status(local=False)
    for state in parse(status.cib_xml).walk() if status is not None else ():
        if state.tag == "node_state" and state.get("uname") == node.name:
            found = next((p for p in state.walk() if p.tag == "nvpair" and p.get("name") == name), None)
            return found.get("value") if found is not None else None
    return None


def test_all_nodes_are_stopped_at_once(tmp_path: Path) -> None:
    with a_cluster(tmp_path) as (cluster, ground):
        processes = [node.processes["crm"] for node in cluster.nodes]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        until(lambda: all(p.poll() is not None for p in processes), 30, "every ha-crm has ended")
        assert [p.returncode for p in processes] == [0, 0, 0]
        assert ground.files("a") == {}
        for node in cluster.nodes:
            node.processes.pop("crm")
            node.kill()
            node.start()
        ground.wait_on(cluster.nodes[0])
        ground.wait_whole()
