"""ha-sentinel guards running nodes: who loses its lease with resources active dies; then others take over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hacluster.v1 import crm_pb2
from tests.live.local_cluster import ROOT, LocalCluster, LocalNode, until
from tests.live.test_three_services import Ground

pytestmark = [pytest.mark.slow, pytest.mark.alone]

WATCHDOG_MS = 800

CIB = """<cib><configuration><crm_config><cluster_property_set id="o">
<nvpair id="o1" name="stonith-enabled" value="true"/>
<nvpair id="o2" name="fencing-watchdog-timeout" value="2s"/>
<nvpair id="o3" name="trust-software-watchdog" value="true"/></cluster_property_set></crm_config>
<resources><group id="g"><primitive id="a" class="ocf" provider="hacluster" type="Dummy"/>
<primitive id="b" class="ocf" provider="hacluster" type="Dummy"/></group></resources>
<constraints><rsc_location id="l" rsc="g" node="node1" score="100"/></constraints></configuration></cib>"""


class Guarded:
    """A node below its supervisor, with a sentinel that may end it."""

    def __init__(self, node: LocalNode) -> None:
        self.node = node
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        options = ["--root", str(node.root), "--node", node.name]
        logs = [(node.root / f"{name}.log").open("ab") for name in ("supervisor", "sentinel")]
        self.supervisor = subprocess.Popen(
            [sys.executable, "-m", "hacluster.supervisor", *options, "--log-dir", str(node.root)],
            cwd=ROOT,
            env=environment,
            stdout=logs[0],
            stderr=logs[0],
            start_new_session=True,
        )
        self.sentinel = subprocess.Popen(
            [
                *(sys.executable, "-m", "lrm.sentinel", *options, "--watchdog", "software"),
                *("--timeout", f"{WATCHDOG_MS}ms", "--self-fence", "node"),
                *("--supervisor", str(self.supervisor.pid)),
            ],
            cwd=ROOT,
            env=environment,
            stdout=logs[1],
            stderr=logs[1],
        )
        for log in logs:
            log.close()

    def pid_of(self, service: str) -> int:
        for line in (self.node.root / "supervisor.log").read_text().splitlines():
            if "service_started" in line and f"daemon=ha-{service}" in line:
                return int(line.partition("pid=")[2].split()[0])
        raise AssertionError(f"ha-{service} was not started")

    def end(self) -> None:
        for process in (self.sentinel, self.supervisor):
            process.kill()
            process.wait(20)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[LocalCluster, Ground, list[Guarded]]]:
    cluster = LocalCluster(tmp_path, 3, cib=CIB)
    ground = Ground(cluster)
    guards: list[Guarded] = []
    try:
        guards += [Guarded(node) for node in cluster.nodes]
        ground.wait_on(cluster.nodes[0])
        ground.wait_whole()
        yield cluster, ground, guards
    finally:
        for guard in guards:
            guard.end()
        cluster.stop()


def test_who_is_cut_off_dies_and_only_then_others_take_over(
    lab: tuple[LocalCluster, Ground, list[Guarded]],
) -> None:
    """A ha-messaging that stands still: its lease ends, and the resources run on. Nobody can tell ha-lrm."""
    cluster, ground, guards = lab
    first, second = cluster.nodes[:2]

    def known() -> bool:
        status = second.status(local=False)
        return status is not None and b"#watchdog" in status.cib_xml

    until(known, 20, "the nodes say what guards them")
    os.kill(guards[0].pid_of("messaging"), signal.SIGSTOP)
    began = time.monotonic()
    assert guards[0].supervisor.wait(20) == -signal.SIGKILL
    died_ns = time.time_ns()
    assert time.monotonic() - began < 1.0 + WATCHDOG_MS / 1_000 + 2.0, "lease and watchdog, and some slack"
    log = (first.root / "sentinel.log").read_text()
    assert "sentinel.node_dies" in log
    assert "no lease, with 2 active" in log
    first.power_cut()  # a boot empties /run, where Dummy has its state
    ground.wait_on(second, 30)
    assert ground.files("a")[second.name][1] > died_ns, "nothing is started before the other is dead"
    reply = second.call("FencingHistory", crm_pb2.FencingHistoryRequest(), crm_pb2.FencingHistoryReply)
    assert [(one.target, one.state, one.device) for one in reply.records] == [("node1", "done", "watchdog")]
    assert guards[1].sentinel.poll() is None, "who has quorum lives on"
    assert guards[2].sentinel.poll() is None
