"""Fencing with a device that really ends a node of the lab: nothing moves before it has answered."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest

from cli.context import EXIT_FAILED, EXIT_UNSAFE
from crm.cib.model import Element
from hacluster.supervision import EXIT_FENCED
from hacluster.v1 import common_pb2, crm_pb2
from tests.live.local_cluster import ROOT, LocalCluster, LocalNode, until
from tests.live.test_hacli import hacli
from tests.live.test_three_services import Ground, begun, change, with_standby

pytestmark = [pytest.mark.slow, pytest.mark.alone]

# Kills all that belongs to the node whose folder is $root: one pass over /proc, also on a busy machine.
POWER_CUT = """\
for file in $(grep -lszxe "$root" -e "HACLUSTER_ROOT=$root" /proc/[0-9]*/cmdline /proc/[0-9]*/environ); do
    pid="${file#/proc/}"
    kill -9 "${pid%/*}" 2>/dev/null
done"""

AGENT = """#!/bin/sh
# Ends the lab's node that it is told to, with everything that ran there.
while IFS='=' read -r name value; do
    case "$name" in
        action) action="$value" ;;
        port) port="$value" ;;
    esac
done
base="{base}"
case "$action" in
    monitor|status|list|metadata) exit 0 ;;
esac
echo "$(date +%s.%N) $action $port" >> "$base/fence.log"
test -e "$base/broken" && exit 1
test -e "$base/slow" && sleep 6
test -e "$base/lies" && exit 0
root="$base/n${{port#node}}"
{power_cut}
rm -rf "$root/run"
exit 0
"""

CIB = """<cib><configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="o1" name="stonith-enabled" value="true"/></cluster_property_set></crm_config>
<resources><primitive id="f" class="stonith" type="fence_lab"><operations>
<op id="f-m" name="monitor" interval="60s"/></operations></primitive>
<group id="g"><primitive id="a" class="ocf" provider="hacluster" type="Dummy"/>
<primitive id="b" class="ocf" provider="hacluster" type="Dummy"/></group></resources>
<constraints><rsc_location id="l" rsc="g" node="node1" score="100"/>
<rsc_location id="l2" rsc="g" node="node2" score="50"/>
<rsc_location id="lf" rsc="f" node="node2" score="100"/></constraints>
</configuration></cib>"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a cluster, with the device's agent."""
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "fence_lab").write_text(AGENT.format(base=tmp_path, power_cut=POWER_CUT))
    (folder / "fence_lab").chmod(0o755)
    monkeypatch.setenv("HACLUSTER_FENCE_FOLDER", str(folder))
    return tmp_path


@pytest.fixture(params=[3, 2], ids=["three nodes", "two nodes"])
def lab(request: pytest.FixtureRequest, base: Path) -> Iterator[tuple[LocalCluster, Ground]]:
    cluster = LocalCluster(base, request.param, cib=CIB)
    ground = Ground(cluster)
    try:
        cluster.start()
        ground.wait_on(cluster.nodes[0])
        ground.wait_whole()
        yield cluster, ground
    finally:
        cluster.stop()


def shots(cluster: LocalCluster) -> list[str]:
    """What the device was told, without the times."""
    path = cluster.nodes[0].root.parent / "fence.log"
    return [line.split(" ", 1)[1] for line in path.read_text().splitlines()] if path.exists() else []


def hang(node: LocalNode) -> None:
    """Its daemons are gone, what it ran is still there."""
    node.kill()


def test_a_lost_node_is_fenced_before_anything_moves(lab: tuple[LocalCluster, Ground]) -> None:
    cluster, ground = lab
    first, second = cluster.nodes[:2]
    hang(first)
    ground.wait_on(second, 15)
    assert shots(cluster) == ["reboot node1"]
    fenced_s = float((first.root.parent / "fence.log").read_text().split()[0])
    reply = change(second, lambda configuration: with_standby(configuration, "node2", "off"))
    assert reply.outcome == crm_pb2.WriteReply.OUTCOME_OK, reply
    started_ns = ground.files("a")[second.name][1]
    assert started_ns / 1e9 > fenced_s
    first.start()
    ground.wait_on(first)
    ground.wait_whole()
    assert shots(cluster) == ["reboot node1"]


def test_a_device_that_fails_holds_everything_up(lab: tuple[LocalCluster, Ground]) -> None:
    cluster, ground = lab
    first, second = cluster.nodes[:2]
    broken = first.root.parent / "broken"
    broken.touch()
    hang(first)
    until(lambda: len(shots(cluster)) >= 3, 20, "the device is tried again and again")
    assert ground.is_on(first), "nothing may start elsewhere"
    assert begun(second, "start", "a") == 0
    status = second.status(local=False)
    assert status is not None
    assert "node1 must be fenced" in status.transition.waits
    assert any("node1 is being fenced" in notice and "f: " in notice for notice in status.notices)
    first.power_cut()
    second.call("ConfirmFenced", crm_pb2.ConfirmFencedRequest(node="node1"), crm_pb2.ConfirmFencedReply)
    ground.wait_on(second, 10)


def test_a_node_that_is_heard_is_not_confirmed_off(lab: tuple[LocalCluster, Ground]) -> None:
    cluster, _ = lab
    with pytest.raises(grpc.RpcError, match="alive"):
        cluster.nodes[0].call(
            "ConfirmFenced", crm_pb2.ConfirmFencedRequest(node="node2"), crm_pb2.ConfirmFencedReply
        )


def with_failing_stop(configuration: Element) -> Element:
    """What is started from now on cannot be stopped on node1."""
    pair = Element("nvpair", {"id": "b-fail", "name": "fail", "value": "stop@node1"})
    group = Element("instance_attributes", {"id": "b-attributes"}, (pair,))

    def changed(item: Element) -> Element:
        return item.with_child(group) if item.id == "b" else item.mapped(changed)

    return changed(configuration)


def test_a_stop_that_fails_gets_the_node_fenced(lab: tuple[LocalCluster, Ground]) -> None:
    cluster, ground = lab
    first, second = cluster.nodes[:2]
    change(second, with_failing_stop)
    until(lambda: begun(first, "start", "b") == 2, 30, "started anew, so that its stop will fail")
    ground.wait_on(first, 30)
    change(second, lambda configuration: with_standby(configuration, "node1", "on"))
    ground.wait_on(second, 30)
    assert set(shots(cluster)) == {"reboot node1"}
    assert begun(first, "stop", "b") >= 2


def test_an_operator_fences_and_every_node_keeps_the_history(lab: tuple[LocalCluster, Ground]) -> None:
    cluster, ground = lab
    second = cluster.nodes[1]
    reply = second.call("Fence", crm_pb2.FenceRequest(node="node1", action="off"), crm_pb2.FenceReply)
    ground.wait_on(second, 30)
    assert shots(cluster) == ["off node1"]
    for node in cluster.nodes[1:]:
        (record,) = history(node)
        assert (record.id, record.state, record.device) == (reply.id, "done", "f")
        assert record.client
        assert record.took_ms > 0
    levels = second.call(
        "FencingDevices", crm_pb2.FencingDevicesRequest(node="node1"), crm_pb2.FencingDevicesReply, 20
    ).levels
    assert [(list(level.devices), bool(level.executors)) for level in levels] == [(["f"], True)]


def test_who_was_fenced_and_lives_stops_what_it_runs_and_stays_out(
    lab: tuple[LocalCluster, Ground],
) -> None:
    """The device says that node1 is off, and it is not; it has no sentinel that could end it."""
    cluster, ground = lab
    first, second = cluster.nodes[:2]
    (first.root.parent / "lies").touch()
    second.call("Fence", crm_pb2.FenceRequest(node="node1", action="off"), crm_pb2.FenceReply)
    crm = first.processes["crm"]
    until(lambda: crm.poll() is not None, 30, "ha-crm leaves")
    assert crm.returncode == EXIT_FENCED
    assert begun(first, "stop", "a") == 1
    assert begun(first, "stop", "b") == 1
    log = first.log("crm")
    assert log.index("resource=b operation=stop") < log.index("resource=a operation=stop")
    assert not ground.is_on(first)
    ground.wait_on(second, 30)


def test_who_left_before_the_quorum_was_gone_is_not_fenced_when_it_is_back(base: Path) -> None:
    """Two of three are stopped in order; one of them comes back, and nobody shoots the other."""
    cluster = LocalCluster(base, 3, cib=CIB)
    ground = Ground(cluster)
    first, second, third = cluster.nodes
    try:
        cluster.start()
        ground.wait_on(first)
        ground.wait_whole()
        for node in (third, second):
            for service in ("crm", "messaging", "lrm"):
                node.kill(service, number=signal.SIGTERM)
        until(lambda: (status := first.status()) is not None and not status.quorate, 20, "no quorum")
        second.start()
        until(lambda: (status := first.status()) is not None and status.quorate, 20, "a quorum")
        ground.wait_on(first, 30)
        assert (state_of(first, "node3"), shots(cluster)) == ("left", [])
        third.start()
        ground.wait_whole(30)
        assert shots(cluster) == []
    finally:
        cluster.stop()


def test_who_was_stopped_is_not_fenced_when_ha_crm_begins_anew(lab: tuple[LocalCluster, Ground]) -> None:
    """It left before this run of ha-crm, which has that from the others, or is alone."""
    cluster, ground = lab
    last = cluster.nodes[-1]
    for service in ("crm", "messaging", "lrm"):
        last.kill(service, number=signal.SIGTERM)
    for node in cluster.nodes[:-1]:
        until(partial(is_state, node, last.name, "left"), 20, "it has left")
    for node in cluster.nodes[:-1]:
        node.kill("crm")
        node.start("crm")
        until(partial(is_state, node, node.name, "member"), 30, "it is back")
        ground.wait_on(cluster.nodes[0], 30)
    assert shots(cluster) == []
    last.start()
    ground.wait_whole(30)
    assert shots(cluster) == []


def test_a_node_stopped_before_it_has_a_view_is_not_fenced(base: Path) -> None:
    """Since their own start the others have seen it in no view, and would fence it; but it said that it goes.

    As long as node4 is not there the first view waits for it, up to initdead.
    """
    cluster = LocalCluster(base, 4, initdead_ms=15_000, cib=CIB)
    ground = Ground(cluster)
    first, second, third, fourth = cluster.nodes
    try:
        cluster.start()
        ground.wait_on(first, 60)
        ground.wait_whole(60)
        for node in cluster.nodes:
            node.power_cut()
        assert ground.files("a") == {}
        views = third.log("messaging").count("view_installed")
        for node in (first, second, third):
            node.start("lrm", "crm")
        for node in (first, second, third):
            until(node.paths.crm_socket.exists, 60, f"ha-crm of {node.name} is there")
        for node in (first, second, third):
            node.start("messaging")
        for node in (first, second):
            seen = f"node_seen peer={node.name}"
            until(partial(logs_twice, third, seen), 10, f"node3: {seen}")
        crm = third.processes["crm"]
        crm.send_signal(signal.SIGTERM)
        until(lambda: crm.poll() is not None, 10, "ha-crm of node3 ends")
        third.kill(number=signal.SIGTERM)
        assert crm.returncode == 0
        assert third.log("messaging").count("view_installed") == views
        fourth.start()
        ground.wait_on(first, 60)
        assert [state_of(node, "node3") for node in (first, second)] == ["left", "left"]
        assert shots(cluster) == []
        third.start()
        ground.wait_whole(60)
        assert shots(cluster) == []
    finally:
        cluster.stop()


@pytest.mark.parametrize("lab", [3], indirect=True, ids=["three nodes"])
def test_a_crash_test_fences_a_node_and_sees_it_return(lab: tuple[LocalCluster, Ground]) -> None:
    cluster, ground = lab
    first, second = cluster.nodes[:2]
    hacli(second, "cluster", "crash_test", "fence", "node1", status=EXIT_UNSAFE)  # nobody to ask
    hacli(second, "cluster", "crash_test", "fence", "node2", status=EXIT_FAILED)  # itself
    assert shots(cluster) == []
    words = ("-F", "--wait-time", "90s", "cluster", "crash_test", "--fence-node", "node1")
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "--root", str(second.root), "--node", second.name, *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: not (first.root / "run").exists(), 60, "the end of node1")
        first.kill()  # its processes are ended; this reaps them
        first.start()
        out, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, (out, errors)
    assert "node1 is fenced after" in errors
    assert "passed: whole again" in out
    assert shots(cluster) == ["reboot node1"]
    ground.wait_on(first)


def state_of(node: LocalNode, name: str) -> str:
    status = node.status()
    return next((one.state for one in status.nodes if one.name == name), "") if status is not None else ""


def is_state(node: LocalNode, name: str, state: str) -> bool:
    return state_of(node, name) == state


def logs_twice(node: LocalNode, text: str) -> bool:
    return node.log("messaging").count(text) == 2


@pytest.mark.parametrize("lab", [3], indirect=True, ids=["three nodes"])
def test_who_was_fenced_and_lives_is_let_in_by_hand(lab: tuple[LocalCluster, Ground]) -> None:
    """Without its ha-crm it can stop nothing: it is barred until somebody says that it may join as it is."""
    cluster, ground = lab
    first, second = cluster.nodes[:2]
    refused = hacli(second, "fence", "forgive", "node1", "--force", status=EXIT_FAILED)
    assert "node1 is not barred" in refused
    (first.root.parent / "lies").touch()
    first.kill("crm")
    until(lambda: cluster.dc() in cluster.nodes[1:], 30, "another node is DC, if node1 was")
    second.call("Fence", crm_pb2.FenceRequest(node="node1", action="off"), crm_pb2.FenceReply)
    until(lambda: state_of(second, "node1") == "barred", 30, "node1 is found out")
    first.start("crm")
    until(lambda: state_of(first, "node1") == "barred", 30, "it knows")
    hung = first.processes["messaging"]
    hung.send_signal(signal.SIGSTOP)
    try:
        until(lambda: state_of(second, "node1") == "lost", 30, "it is not heard")
        assert "not heard (lost)" in hacli(second, "fence", "forgive", "node1", status=EXIT_FAILED)
    finally:
        hung.send_signal(signal.SIGCONT)
    until(lambda: state_of(second, "node1") == "barred", 30, "it is heard again")
    assert hacli(second, "fence", "forgive", "node1").startswith("node1 may join again")
    until(lambda: state_of(second, "node1") == "member", 30, "it is a member again")
    ground.wait_on(first, 30)
    until(lambda: not ground.is_on(second), 30, "on one node only")
    assert first.processes["crm"].poll() is None, "and is not told again that it was fenced"
    assert {record.state for record in history(second)} == {"cancelled"}


def history(node: LocalNode) -> list[common_pb2.FencingRecord]:
    reply = node.call("FencingHistory", crm_pb2.FencingHistoryRequest(), crm_pb2.FencingHistoryReply)
    return list(reply.records)


@pytest.mark.parametrize("lab", [3], indirect=True, ids=["three nodes"])
def test_the_next_dc_goes_on_with_a_fencing_under_way(lab: tuple[LocalCluster, Ground]) -> None:
    """The agent runs on at its LRM; it is awaited, and the device is not used a second time."""
    cluster, ground = lab
    first, second = cluster.nodes[:2]
    (first.root.parent / "slow").touch()
    hang(first)
    until(lambda: len(shots(cluster)) == 1, 30, "the device is being used")
    dc = cluster.dc()
    assert dc is not None
    dc.kill("crm")
    dc.start("crm")
    ground.wait_on(second, 40)
    assert shots(cluster) == ["reboot node1"]
    adopted = [node.log("crm").count("crm.fencing_adopted") for node in cluster.nodes]
    assert sum(adopted) >= 1, "by the new DC, not from the beginning"
    (record,) = history(second)
    assert record.state == "done"
