"""`python -m benchmarks.lrm`: operations through ha-lrm, from Execute to the result on the History stream.

Prints operations per second and latency for our Dummy in the warm host, the same agent executed, and a sh
Dummy; how long other calls have to wait meanwhile; and the ratios of warm to executed and sh.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agents.catalog import our_ocf_root
from hacluster import rpc
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.agent import OcfExit
from tests.live.local_cluster import LocalCluster
from tests.live.lrm_node import LrmNode, an_agent
from tests.unit.lrm.exec.cleanup import clear_cgroups

HEARTBEAT = Path("/usr/lib/ocf/resource.d/heartbeat")
TAKE_OVER_MS = 10
PASS_MS = 20
PRIORITY = 10
CLUSTER_S_MAX = 240
CLUSTER_MONITORS_S = 25
WITHIN_S = 30.0
ANNOUNCED_S = 1.2  # five announcements, 200 ms between them
SH_DUMMY = """
start|monitor|stop) state=$HA_RSCTMP/$OCF_RESOURCE_INSTANCE
    case $1 in
        start) touch $state; exit 0 ;;
        stop) rm -f $state; exit 0 ;;
    esac
    test -e $state || exit 7
    exit 0 ;;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Latencies in seconds, of operations and of other calls meanwhile."""

    operations: list[float]
    pings: list[float]
    elapsed_s: float

    def summary(self, name: str) -> str:
        rate = len(self.operations) / self.elapsed_s
        return (
            f"{name:28} {rate:7.0f} /s   p50 {percentile(self.operations, 50):6.1f} ms"
            f"   p99 {percentile(self.operations, 99):6.1f} ms"
            f"   other calls p99 {percentile(self.pings, 99):5.1f} ms"
        )


def percentile(values: list[float], percent: int) -> float:
    """In milliseconds."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] * 1_000


async def measure(node: LrmNode, agent: str, count: int, parallel: int) -> Measured:
    """`parallel` resources, each with one operation at a time; `count` monitors in all."""
    watcher = Watcher(node)
    operations: list[float] = []
    pings: list[float] = []

    async def resource(name: str, monitors: int) -> None:
        for _ in range(monitors):
            took_s = await watcher.run(name, "monitor", agent, expected=OcfExit.NOT_RUNNING)
            operations.append(took_s)

    async def ping() -> None:
        while True:
            began_s = time.perf_counter()
            await rpc.call(node.stub.Status, lrm_pb2.LrmStatusRequest(), timeout_ms=5_000, who="ha-lrm")
            pings.append(time.perf_counter() - began_s)
            await asyncio.sleep(0.02)

    pinger = asyncio.create_task(ping())
    await asyncio.sleep(0.1)
    began_s = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(parallel):
                tasks.create_task(resource(f"r{number}", count // parallel))
        elapsed_s = time.perf_counter() - began_s
    finally:
        pinger.cancel()
        await asyncio.gather(pinger, return_exceptions=True)
        await watcher.close()
    return Measured(operations=operations, pings=pings, elapsed_s=elapsed_s)


async def throughput(root: Path, count: int) -> None:
    """Monitors of four Dummies, one at a time and sixteen at once."""
    executed = root / "ocf/resource.d/test/Executed"
    sh = an_agent(root / "ocf", "Sh", SH_DUMMY.strip())
    shutil.copy(our_ocf_root() / "resource.d/hacluster/Dummy", executed)
    candidates = {
        "ours, warm host": "ocf:hacluster:Dummy",
        "ours, executed": "ocf:test:Executed",
        "a sh agent of ten lines": sh,
    }
    if (HEARTBEAT / "Dummy").exists():
        candidates["ocf:heartbeat:Dummy (sh)"] = "ocf:heartbeat:Dummy"
    environment = {"HACLUSTER_OCF_ROOTS": f"{root}/ocf:/usr/lib/ocf"}
    async with LrmNode(root / "n", environment=environment) as node:
        await node.accept()
        for agent in candidates.values():
            for _ in range(5):
                await node.run("warm-up", "monitor", agent)
        for parallel in (1, 16):
            print(f"{parallel} resource(s) at once:")
            medians = {}
            for label, agent in candidates.items():
                measured = await measure(node, agent, count, parallel)
                print("  " + measured.summary(label))
                medians[label] = percentile(measured.operations, 50)
            for label in list(medians)[1:]:
                print(f"  latency, {label} : warm = {medians[label] / medians['ours, warm host']:.1f}")


class Watcher:
    """Results as a DC gets them: one History stream for all.

    The stream and the answers to Execute are not ordered: a result may come before the answer that says which
    operation it belongs to. So whoever is first, the result or the one who waits, makes the future.
    """

    def __init__(self, node: LrmNode) -> None:
        self._node = node
        self._stream = node.stub.History(lrm_pb2.HistoryRequest())
        self._results: dict[int, asyncio.Future[tuple[float, lrm_pb2.OperationResult]]] = {}
        self._reader = asyncio.create_task(self._read())

    def _result(self, call_id: int) -> asyncio.Future[tuple[float, lrm_pb2.OperationResult]]:
        return self._results.setdefault(call_id, asyncio.get_running_loop().create_future())

    async def _read(self) -> None:
        async for event in self._stream:
            if event.HasField("result"):
                self._result(event.result.call_id).set_result((time.perf_counter(), event.result))

    async def run(
        self, resource: str, action: str, agent: str, *, expected: int = OcfExit.OK, **parameters: str
    ) -> float:
        """Seconds from Execute to the result, which has to be the expected one.

        Raises TimeoutError, and what ended the stream: nothing of this benchmark waits for ever.
        """
        began_s = time.perf_counter()
        reply = await self._node.execute(resource, action, agent, parameters=parameters)
        result = self._result(reply.call_id)
        await asyncio.wait((result, self._reader), timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            if self._reader.done():
                await self._reader
                raise AssertionError("ha-lrm ended the History stream")
            raise TimeoutError(f"{action} of {resource} has no result within {WITHIN_S:g} s")
        ended_s, said = self._results.pop(reply.call_id).result()
        assert said.rc == expected, said
        return ended_s - began_s

    async def close(self) -> None:
        """End the stream."""
        self._stream.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)


async def addresses(root: Path, count: int, *, realtime: bool) -> bool:
    """What taking over an address costs: start and monitor of our IPaddr and of IPaddr2, in a namespace.

    CPU is that of ha-lrm, lrm-exec and all agents, announcements included: the figure that counts on a busy
    machine.
    """
    name = f"bench-lrm-{os.getpid()}"
    command("ip", "netns", "add", name)
    try:
        command("ip", "-n", name, "link", "set", "lo", "up")
        command("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        command("ip", "-n", name, "addr", "add", "10.77.0.1/24", "dev", "eth0")
        command("ip", "-n", name, "link", "set", "eth0", "up")
        command("ip", "-n", name, "link", "set", "eth1", "up")
        prefix = ("nsenter", f"--net=/run/netns/{name}")
        async with LrmNode(root / "a", prefix=prefix, log_level="info") as node:
            await node.accept()
            watcher = Watcher(node)
            took_over, costs = {}, {}
            print("taking an address over, start and monitor:")
            for agent in ("ocf:hacluster:IPaddr", "ocf:heartbeat:IPaddr2"):
                over_s, cost_s = await take_over(node, watcher, agent, count, realtime=realtime)
                took_over[agent], costs[agent] = statistics.median(over_s) * 1_000, cost_s * 1_000
                print(
                    f"  {agent:28} p50 {took_over[agent]:6.1f} ms   p90 {percentile(over_s, 90):6.1f} ms"
                    f"   CPU {costs[agent]:6.1f} ms"
                )
            await watcher.close()
            ours, sh = took_over.values()
            print(f"  p50: ours {ours:.1f} ms (goal: {TAKE_OVER_MS}), IPaddr2 : ours = {sh / ours:.1f}")
            cheap, dear = costs.values()
            print(f"  CPU: ours {cheap:.1f} ms (goal: {TAKE_OVER_MS}), IPaddr2 : ours = {dear / cheap:.1f}")
            return cheap <= TAKE_OVER_MS
    finally:
        command("ip", "netns", "delete", name)


async def take_over(
    node: LrmNode, watcher: Watcher, agent: str, count: int, *, realtime: bool
) -> tuple[list[float], float]:
    """Seconds of each start and monitor together, and their mean CPU seconds without those of idling."""
    over_s, all_s = [], 0.0
    for warm_up in ("start", "monitor", "stop"):  # meta-data is known from now on
        await watcher.run("ip", warm_up, agent, ip="10.77.0.9")
    if realtime:
        before_others(node)
    idle_s = -cpu_s(node)
    await asyncio.sleep(5 * ANNOUNCED_S)
    idle_s += cpu_s(node)
    for _ in range(count):
        before_s = cpu_s(node)
        start_s = await watcher.run("ip", "start", agent, ip="10.77.0.9")
        over_s.append(start_s + await watcher.run("ip", "monitor", agent, ip="10.77.0.9"))
        await asyncio.sleep(ANNOUNCED_S)
        all_s += cpu_s(node) - before_s
        await watcher.run("ip", "stop", agent, ip="10.77.0.9")
    return over_s, max(0.0, all_s / count - idle_s / 5)


def before_others(node: LrmNode) -> None:
    """Real-time priority for lrm-exec, its workers and what they start, as if nothing else was to be done."""
    pids = [node.exec_pid]
    while pids:
        pid = pids.pop()
        with suppress(OSError):  # it has ended just now
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(PRIORITY))
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def cpu_s(node: LrmNode) -> float:
    """CPU seconds of ha-lrm, lrm-exec, the processes below that, and those below these that have ended."""
    found = 0.0
    pids = [node.pid, node.exec_pid]
    while pids:
        pid = pids.pop()
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue  # it has ended just now
        found += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        if pid != node.pid:
            pids += map(int, children)
    return found


async def passes(root: Path, resources: int) -> bool:
    """A node's share of 200 primitives on three: all started at once, then monitored every second."""
    async with LrmNode(root / "p", module="benchmarks.lrm.measured") as node:
        await node.accept()
        agent = "ocf:hacluster:Dummy"
        await node.run("warm-up", "monitor", agent)
        names = [f"d{number}" for number in range(resources)]
        few = asyncio.Semaphore(32)  # a channel takes 64 calls at once

        async def each(action: str, interval_ms: int = 0) -> None:
            async def one(name: str) -> None:
                async with few:
                    await node.execute(name, action, agent, interval_ms=interval_ms)

            await asyncio.gather(*(one(name) for name in names))
            await asyncio.sleep(5)

        await each("start")
        await each("monitor", 1_000)
        await each("stop")
        await node.kill(signal.SIGTERM)
        seen = json.loads((node.root / "passes.json").read_text())
        longest = ", ".join(f"{each:.1f}" for each in seen["longest_ms"][:8])
        print(f"{resources} Dummies, {seen['count']} passes of ha-lrm; CPU of the longest (goal: {PASS_MS}):")
        print(f"  {longest} ms (and the first one, before it serves: {seen['first_ms']:.0f} ms)")
    return float(seen["longest_ms"][0]) <= PASS_MS


def cluster(root: Path, resources: int) -> bool:
    """Three whole nodes that start `resources` Dummies, probe them before, and monitor each every 10 s."""
    agent, monitor = 'class="ocf" provider="hacluster" type="Dummy"', 'name="monitor" interval="10s"'
    primitives = "".join(
        f'<primitive id="d{n}" {agent}><operations><op id="m{n}" {monitor}/></operations></primitive>'
        for n in range(resources)
    )
    options = '<nvpair id="o1" name="stonith-enabled" value="false"/>'
    document = (
        '<cib admin_epoch="0" epoch="1" num_updates="0" validate-with="pacemaker-3.9"><configuration>'
        f'<crm_config><cluster_property_set id="options">{options}</cluster_property_set></crm_config>'
        f"<nodes/><resources>{primitives}</resources><constraints/></configuration><status/></cib>"
    )
    nodes = LocalCluster(root, 3, keepalive_ms=1_000, deadtime_ms=15_000, cib=document).nodes
    reached = True
    try:
        for node in nodes:
            node.modules["lrm"] = "benchmarks.lrm.measured"
            node.start()
        deadline_s = time.monotonic() + CLUSTER_S_MAX
        while sum(node.log("lrm").count("event=lrm.operation_begun") for node in nodes) < 4 * resources:
            assert time.monotonic() < deadline_s, (
                f"not within {CLUSTER_S_MAX} s: three probes and a start each"
            )
            time.sleep(0.5)
        time.sleep(CLUSTER_MONITORS_S)
        print(f"{resources} Dummies on three nodes, monitored every 10 s: the longest passes of ha-lrm, CPU:")
        for node in nodes:
            node.kill("lrm", number=signal.SIGTERM)
            seen = json.loads((node.root / "passes.json").read_text())
            longest = ", ".join(f"{each:.1f}" for each in seen["longest_ms"][:5])
            print(f"  {node.name}: {longest} ms of {seen['count']} (goal: {PASS_MS} ms)")
            reached = reached and float(seen["longest_ms"][0]) <= PASS_MS
    finally:
        for node in nodes:
            node.power_cut()
            clear_cgroups(node.paths, node.name)
    return reached


def command(*words: str) -> None:
    subprocess.run(words, check=True, timeout=30)


async def run(count: int, *, realtime: bool) -> bool:
    """All of it; whether the goals were reached that do not depend on how busy the machine is."""
    reached = True
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if count:
            await throughput(Path(folder), count)
        reached = await passes(Path(folder), 67) and reached
        reached = await asyncio.to_thread(cluster, Path(folder) / "c", 200) and reached
        if os.geteuid() == 0 and (HEARTBEAT / "IPaddr2").exists():
            reached = await addresses(Path(folder), 20, realtime=realtime) and reached
    return reached


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="an address as on a machine with nothing else to do: lrm-exec and agents too (with chrt)",
    )
    given = parser.parse_args()
    sys.exit(0 if asyncio.run(run(given.count, realtime=given.realtime)) else 1)
