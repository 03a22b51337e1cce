"""hacli against two nodes of real daemons on loopback addresses: an administrator's day."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from cli.context import EXIT_CONFLICT, EXIT_FAILED, EXIT_NOT_REACHED, EXIT_REFUSED, EXIT_UNSAFE
from hacluster.v1 import crm_pb2
from tests.live.local_cluster import LocalCluster, LocalNode, until

pytestmark = [pytest.mark.slow, pytest.mark.alone]
ROOT = Path(__file__).parents[2]
CONFIGURATION = """\
property stonith-enabled=false
primitive a ocf:hacluster:Dummy op monitor interval=2s
primitive b ocf:hacluster:Dummy op monitor interval=2s
group g a b
primitive s ocf:hacluster:Stateful op monitor interval=3s role=Promoted op monitor interval=4s role=Unpromoted
clone c s meta promotable=true
location g-on-node1 g 100: node1
"""
# An agent that node2 has and node1 has not.
AGENT = """\
#!/bin/sh
[ "$1" = meta-data ] || exit 3
cat <<END
<resource-agent name="Only"><version>1.0</version>
<parameters><parameter name="door" required="1"><content type="string"/></parameter></parameters>
<actions><action name="start" timeout="20s"/></actions></resource-agent>
END
"""


def hacli(node: LocalNode, *words: str, status: int = 0) -> str:
    """Run it as a process on a node; standard output, or the errors when it is to fail."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", "--root", str(node.root), "--node", node.name, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if status == 0 else done.stderr


def places(node: LocalNode) -> dict[str, dict[str, str]]:
    """Resource -> node -> role, from `status --json`."""
    seen = json.loads(hacli(node, "status", "--json"))
    return {one["id"]: {place["node"]: place["role"] for place in one["places"]} for one in seen["resources"]}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    cluster = LocalCluster(tmp_path_factory.mktemp("hacli"), 2)
    agent = cluster.nodes[1].root / "ocf/resource.d/site/Only"
    agent.parent.mkdir(parents=True)
    agent.write_text(AGENT)
    agent.chmod(0o755)
    cluster.nodes[1].environment["HACLUSTER_OCF_ROOTS"] = str(cluster.nodes[1].root / "ocf")
    for node in cluster.nodes:
        node.start()
    try:
        until(lambda: all((status := node.status()) and status.dc for node in cluster.nodes), 30, "a DC")
        text = cluster.nodes[0].root / "site.crm"
        text.write_text(CONFIGURATION)
        hacli(cluster.nodes[0], "-w", "configure", "load", "update", str(text))
        yield cluster
    finally:
        for node in cluster.nodes:
            node.power_cut()


def test_what_was_loaded_runs_where_it_should(cluster: LocalCluster) -> None:
    one, other = cluster.nodes
    until(lambda: places(one)["b"] == {"node1": "Started"}, 30, "the group on node1")
    assert places(one) == places(other)
    assert sorted(places(one)["s"].values()) == ["Promoted", "Unpromoted"]
    text = hacli(other, "status")
    assert "partition with quorum" in text
    assert "Online: [ node1 node2 ]" in text
    assert hacli(one, "cluster", "health") == "the cluster is well\n"


def test_stop_start_restart(cluster: LocalCluster) -> None:
    one, other = cluster.nodes
    hacli(other, "-w", "resource", "stop", "g")
    assert places(one)["a"] == places(one)["b"] == {}
    assert not list(one.paths.agent_tmp.glob("Dummy-*"))
    hacli(other, "-w", "resource", "start", "g")
    assert places(one)["b"] == {"node1": "Started"}
    state = one.paths.agent_tmp / "Dummy-a.state"
    before_ns = state.stat().st_mtime_ns
    hacli(other, "resource", "restart", "g")
    assert state.stat().st_mtime_ns > before_ns
    # What was there before the restart is there again.
    assert "target-role=Started" in hacli(one, "configure", "show", "g")


def test_move_leaves_a_constraint_that_clear_removes(cluster: LocalCluster) -> None:
    one, _other = cluster.nodes
    hacli(one, "-w", "resource", "move", "g", "node2")
    assert places(one)["a"] == {"node2": "Started"}
    assert "cli-prefer-g" in hacli(one, "resource", "constraints", "g")
    hacli(one, "-w", "resource", "clear", "g")
    assert places(one)["a"] == {"node1": "Started"}


def test_a_move_that_takes_others_along_is_asked_about(cluster: LocalCluster) -> None:
    """Nobody can be asked here: it is done, but with --safe; what --prune would stop is not done until -F."""
    one, other = cluster.nodes
    refused = hacli(one, "--safe", "resource", "move", "a", "node2", status=EXIT_UNSAFE)
    assert "this will also move b (node1 -> node2); nothing was changed" in refused
    assert hacli(one, "resource", "constraints", "a") == hacli(other, "resource", "constraints", "g")
    assert "this will also move b" in said(one, "-w", "resource", "move", "a", "node2", "--keep")
    assert places(one)["b"] == {"node2": "Started"}
    assert "this will also move b (node2 -> node1)" in said(one, "-w", "resource", "clear", "a")
    assert places(one)["b"] == {"node1": "Started"}
    kept = one.root / "kept.crm"
    lines = CONFIGURATION.splitlines(keepends=True)
    kept.write_text("".join(one for one in lines if not one.startswith(("primitive s ", "clone c "))))
    assert "this would stop s" in hacli(one, "apply", str(kept), "--prune", status=EXIT_UNSAFE)
    assert sorted(places(one)["s"].values()) == ["Promoted", "Unpromoted"]


def test_a_move_cleans_up_after_itself(cluster: LocalCluster) -> None:
    one, other = cluster.nodes
    text = "primitive m ocf:hacluster:Dummy meta resource-stickiness=1\n"
    (one.root / "m.crm").write_text(text)
    hacli(one, "-w", "apply", str(one.root / "m.crm"))
    (place,) = places(one)["m"]
    away = "node2" if place == "node1" else "node1"
    hacli(one, "resource", "move", "m", away)
    assert places(other)["m"] == {away: "Started"}
    assert hacli(one, "resource", "constraints", "m") == ""
    hacli(one, "resource", "move", "m")
    assert places(other)["m"] == {place: "Started"}
    assert hacli(one, "resource", "constraints", "m") == ""
    hacli(one, "-w", "resource", "move", "m", away, "--until", "1h")
    assert "date lt" in hacli(one, "resource", "constraints", "m")
    hacli(one, "-F", "configure", "delete", "--force", "m")


def said(node: LocalNode, *words: str) -> str:
    """What it says on standard error when it succeeds."""
    command = [sys.executable, "-m", "cli", "--root", str(node.root), "--node", node.name, *words]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_agents_are_asked_about_parameters_that_a_commit_changes(cluster: LocalCluster) -> None:
    one, other = cluster.nodes
    off = ("meta", "target-role=Stopped")
    begun = ("configure", "primitive", "x", "ocf:hacluster:IPaddr")
    refused = hacli(one, *begun, "params", "nick=lo", *off, status=EXIT_REFUSED)
    assert "ERROR: x: IPaddr needs the parameter ip (params ip=…: The address" in refused
    assert "ERROR: x: IPaddr knows no parameter 'nick' (did you mean nic? see" in refused
    assert "nothing was written; -F" in refused
    assert "there is no object" in hacli(one, "configure", "show", "x", status=1)
    assert "x: IPaddr needs" in said(one, "-F", *begun, "params", "nick=lo", *off)
    # It is there now: another change of it, or of others, is not held up by what was wrong before.
    assert said(one, "configure", "set", "x.target-role", "Started") == ""
    assert said(one, "configure", "set", "x.target-role", "Stopped") == ""
    assert "IPaddr needs the parameter ip" in hacli(one, "configure", "verify", status=1)
    hacli(one, "-F", "configure", "delete", "x")
    # Agents of other nodes are asked there; what nobody has is a warning.
    elsewhere = ("configure", "primitive", "y", "ocf:site:Only")
    for node in (one, other):
        refused = hacli(node, *elsewhere, "params", "dor=1", *off, status=EXIT_REFUSED)
        assert "y: Only needs the parameter door" in refused, node.name
        assert "knows no parameter 'dor' (did you mean door?" in refused
    assert said(one, *elsewhere, "params", "door=1", *off) == ""
    hacli(one, "-F", "configure", "delete", "y")
    nobody = said(one, "configure", "primitive", "z", "ocf:hacluster:Dumy", *off)
    assert "WARNING: z: the agent ocf:hacluster:Dumy is installed on no node" in nobody
    assert "did you mean ocf:hacluster:Dummy?" in nobody
    hacli(one, "-F", "configure", "delete", "z")


def test_wait_says_whether_it_was_reached(cluster: LocalCluster) -> None:
    one, _other = cluster.nodes
    hacli(one, "configure", "primitive", "w", "ocf:hacluster:NoSuchAgent", "meta", "target-role=Stopped")
    text = hacli(one, "-w", "resource", "start", "w", status=EXIT_NOT_REACHED)
    assert "not reached: w does not run" in text
    hacli(one, "-w", "resource", "stop", "w")
    hacli(one, "-F", "-w", "configure", "delete", "--force", "w")
    hacli(one, "-w", "resource", "cleanup")


def test_standby_and_online(cluster: LocalCluster) -> None:
    one, other = cluster.nodes
    for lifetime in ("reboot", "forever"):
        hacli(one, "-w", "node", "standby", "node1", lifetime)
        assert hacli(other, "node", "status", "node1") == "node1: standby\n"
        assert places(one)["a"] == {"node2": "Started"}
        hacli(other, "-w", "node", "online", "node1")
        assert places(one)["a"] == {"node1": "Started"}


def test_why_what_if_and_what_would_be_lost(cluster: LocalCluster) -> None:
    one, other = cluster.nodes
    hacli(one, "-w", "node", "standby", "node2")
    text = hacli(other, "why", "g", "not", "on", "node2")
    assert "node2: not available, in standby" in text
    assert "+100 location constraint g-on-node1" in text
    assert "hacli node online node2\n  hacli resource move g node2\n      then g would run on node2" in text
    refused = hacli(one, "-w", "node", "standby", "node1", status=EXIT_UNSAFE)
    assert "this will stop a (node1), stop b (node1)" in refused
    hacli(one, "-F", "-w", "node", "standby", "node1")
    assert "hacli node online node1" in hacli(one, "why", "a")
    # What an earlier transition was computed from: the stop of a, by its number.
    number = json.loads(hacli(one, "--json", "status"))["transition"]["number"]
    asked = [
        hacli(one, "why", "--transition", str(at), "a_stop_0") for at in range(max(1, number - 3), number + 1)
    ]
    assert any("a_stop_0 on node1 is to be done: node availability" in text for text in asked)
    lost = json.loads(hacli(one, "--json", "why", "b"))
    assert any("hacli node online node1" in remedy["commands"] for remedy in lost["remedies"])
    hacli(one, "node", "online", "node2")
    hacli(one, "-w", "node", "online", "node1")
    until(lambda: places(one)["b"] == {"node1": "Started"}, 30, "the group back on node1")
    assert "Without node1: everything is served." in hacli(one, "verify", "--survive", "1")
    picture = one.root / "what-if.svg"
    text = hacli(one, "simulate", "-L", "-S", "-f", "node1", "--svg", str(picture))
    assert "a\t(ocf:hacluster:Dummy):\t Started node2" in text
    assert picture.read_text().startswith("<svg")
    assert places(one)["b"] == {"node1": "Started"}


def test_a_failure_is_shown_counted_and_forgotten(cluster: LocalCluster) -> None:
    one, _other = cluster.nodes
    (one.paths.agent_tmp / "Dummy-a.state").unlink()
    until(lambda: "Failed Resource Actions" in hacli(one, "status"), 20, "the failure")
    assert "a monitor every 2000 ms on node1 returned 'not running'" in hacli(one, "status")
    assert "value=1" in hacli(one, "resource", "failcount", "a", "show", "node1")
    until(lambda: places(one)["b"] == {"node1": "Started"}, 20, "the recovery")
    assert "Cleaned up a@node1" in hacli(one, "-w", "resource", "cleanup", "a")
    assert "Failed Resource Actions" not in hacli(one, "status")
    assert "value=0" in hacli(one, "resource", "failcount", "a", "show", "node1")


def test_running_resources_are_not_deleted_by_mistake(cluster: LocalCluster) -> None:
    one, _other = cluster.nodes
    assert "is running on node1" in hacli(one, "configure", "delete", "a", status=1)
    assert "is running on" in hacli(one, "configure", "rename", "a", "z", status=1)


def test_writers_at_the_same_time_lose_nothing(cluster: LocalCluster) -> None:
    """Small changes are tried again after a conflict: all of them are there in the end."""
    one, other = cluster.nodes

    orders = [(node, f"{node.name}-{number}") for node in (one, other) for number in range(3)]

    def write(order: tuple[LocalNode, str]) -> None:
        node, name = order
        hacli(node, "node", "attribute", node.name, "set", name, "yes")

    with ThreadPoolExecutor(len(orders)) as pool:
        list(pool.map(write, orders))
    text = hacli(one, "node", "show")
    for node in (one, other):
        for number in range(3):
            assert f"{node.name}-{number}=yes" in text


def test_a_session_that_is_overtaken_writes_nothing(cluster: LocalCluster) -> None:
    one, _other = cluster.nodes
    script = one.root / "overtaken.crm"
    script.write_text(
        "configure\nprimitive late ocf:hacluster:Dummy\ntag mine a b\nmonitor s 9s\n"
        "resource meta s set priority 7\ncommit\n"
    )
    assert "changed by somebody else" in hacli(one, "-f", str(script), status=EXIT_CONFLICT)
    assert "there is no object" in hacli(one, "configure", "show", "late", status=1)


def test_reads_by_quorum_by_the_dc_and_of_the_copy_here(cluster: LocalCluster) -> None:
    one, other = cluster.nodes
    for node in (one, other):
        hacli(
            one,
            "configure",
            "primitive",
            f"read-on-{node.name}",
            "ocf:hacluster:Dummy",
            "meta",
            "target-role=Stopped",
        )
        for how in ("quorum", "dc"):
            assert f"read-on-{node.name}" in hacli(node, f"--read={how}", "configure", "show")
        assert "primitive a" in hacli(node, "--read=local", "configure", "show")
    hacli(one, "-F", "configure", "delete", "read-on-node1", "read-on-node2")
    hacli(one, "--read=leader", "configure", "show", status=2)


def test_links_and_documents(cluster: LocalCluster) -> None:
    one, _other = cluster.nodes
    links = hacli(one, "status", "--links")
    assert "to node2" in links
    assert "Dropped packets:" in links
    exported = one.root / "export.xml"
    hacli(one, "cib", "export", str(exported))
    offline = hacli(one, "--cib-file", str(exported), "configure", "show")
    assert offline == hacli(one, "configure", "show")


def test_what_failed_for_a_parameter_starts_when_that_is_mended(cluster: LocalCluster) -> None:
    """Code 6 bars it from all nodes, until its failure is forgotten with the parameters that it was of."""
    one, other = cluster.nodes
    hacli(one, "configure", "primitive", "mended", "ocf:hacluster:Dummy", "params", "fail=start=6")
    until(lambda: hacli(other, "status").count("mended start on") == 1, 30, "it has failed")
    assert places(one)["mended"] == {}
    hacli(one, "-w", "configure", "set", "mended.fail", "monitor@nowhere")
    until(lambda: list(places(other)["mended"].values()) == ["Started"], 10, "it runs")
    hacli(one, "-w", "-F", "configure", "delete", "mended")


def test_a_node_that_waits_for_the_other_says_so_at_once(tmp_path: Path) -> None:
    """One of two boots alone: without a DC status and health say whom it waits for, and what to do."""
    alone = LocalCluster(tmp_path, 2).nodes[0]
    alone.start()
    try:
        until(lambda: (status := alone.status()) and status.waiting_for_all, 30, "it waits")
        # A DC is not waited for: of three answers one is quick, however busy the machine is.
        assert min(answered_s(alone) for _ in range(3)) < 2
        text = hacli(alone, "status")
        assert re.search(r"Current DC: NONE( for \d+ s)? - partition WITHOUT quorum", text)
        cause = "waiting for node2 (not heard since the start here) after a boot: nothing is started until"
        assert cause in text
        assert "what is off for certain, and stays so: `hacli -F cluster force-quorum`)" in text
        (line,) = (one for one in unwell(alone).splitlines() if "waiting for" in one)
        assert line.startswith(cause)
    finally:
        alone.power_cut()


def acts(node: LocalNode) -> bool:
    now = node.status()
    return now is not None and now.quorate and not now.waiting_for_all and bool(now.dc)


def test_who_boots_into_a_cluster_that_acts_does_not_wait(tmp_path: Path) -> None:
    """One of three stays off, the others boot one after the other: nothing is left for force-quorum."""
    cluster = LocalCluster(tmp_path, 3)
    for node in cluster.nodes:
        toml = node.paths.cluster_toml
        toml.write_text(toml.read_text().replace("[quorum]\n", "[quorum]\nwait_for_all = true\n"))
    cluster.start()
    try:
        until(lambda: (dc := cluster.dc()) and (now := dc.status()) and now.quorate, 40, "a DC")
        cluster.nodes[2].power_cut()
        for node in cluster.nodes[:2]:
            node.power_cut()
            time.sleep(2)  # two deadtimes
            node.start()
            until(partial(acts, node), 30, "it acts")
        asked = hacli(cluster.nodes[0], "-F", "cluster", "force-quorum", status=EXIT_FAILED)
        assert "has quorum already" in asked
    finally:
        cluster.stop()


def test_force_quorum_ends_the_waiting_and_not_the_fencing(tmp_path: Path) -> None:
    """One of two boots alone, and is let go on by decree: the other was never seen, and is fenced first."""
    alone = LocalCluster(tmp_path, 2).nodes[0]
    alone.start()
    try:
        until(lambda: (status := alone.status()) and status.waiting_for_all and status.dc, 40, "it waits")
        hacli(alone, "-F", "cluster", "force-quorum")
        until(lambda: (status := alone.status()) and not status.waiting_for_all, 10, "it waits no more")
        until(lambda: (status := alone.status()) and status.quorate, 10, "it may act")
        time.sleep(2)  # the decree outlives what it has brought about
        status = alone.status()
        assert status is not None
        assert (status.quorate, status.basis) == (True, "forced")
        assert "has quorum already" in hacli(alone, "-F", "cluster", "force-quorum", status=EXIT_FAILED)
        hacli(alone, "-F", "configure", "primitive", "f", "stonith:fence_nobody")
        hacli(alone, "-F", "configure", "primitive", "a", "ocf:hacluster:Dummy")
        until(lambda: "must be fenced" in " ".join(waits_of(alone)), 20, "it says what it waits for")
        assert places(alone)["a"] == {}, "node2 may run it"
        hacli(alone, "-F", "fence", "confirm", "node2")
        until(lambda: list(places(alone)["a"].values()) == ["Started"], 30, "node2 is off")
    finally:
        alone.power_cut()


def waits_of(node: LocalNode) -> list[str]:
    """What the present transition waits for."""
    status = node.status()
    return list(status.transition.waits) if status is not None else []


def answered_s(node: LocalNode) -> float:
    """How long ha-crm takes to tell the state of the cluster."""
    begun = time.monotonic()
    node.call("Status", crm_pb2.ClusterStatusRequest(), crm_pb2.ClusterStatus, 20)
    return time.monotonic() - begun


def unwell(node: LocalNode) -> str:
    """What `cluster health` prints when something is not well."""
    command = [
        sys.executable,
        "-m",
        "cli",
        "--root",
        str(node.root),
        "--node",
        node.name,
        "cluster",
        "health",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr
    return done.stdout
