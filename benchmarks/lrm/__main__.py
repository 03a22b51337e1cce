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
import tempfile
import time
from pathlib import Path

from agents.catalog import our_ocf_root
from hacluster import rpc
from hacluster.v1 import lrm_pb2
from tests.live.lrm_node import LrmNode, an_agent

HEARTBEAT = Path("/usr/lib/ocf/resource.d/heartbeat")
SH_DUMMY = """
start|monitor|stop) state=$HA_RSCTMP/$OCF_RESOURCE_INSTANCE
    case $1 in
        start) touch $state; exit 0 ;;
        stop) rm -f $state; exit 0 ;;
    esac
    test -e $state || exit 7
    exit 0 ;;
"""


class Measured:
    """Latencies in seconds, of operations and of other calls meanwhile."""

    def __init__(self) -> None:
        self.begun: dict[int, float] = {}
        self.operations: list[float] = []
        self.pings: list[float] = []
        self.elapsed = 0.0
        self.done = asyncio.Condition()

    def summary(self, name: str) -> str:
        rate = len(self.operations) / self.elapsed
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
    measured = Measured()
    stream = node.stub.History(lrm_pb2.HistoryRequest())

    async def read() -> None:
        async for event in stream:
            began = measured.begun.pop(event.result.call_id, None) if event.HasField("result") else None
            if began is not None:
                measured.operations.append(time.perf_counter() - began)
                async with measured.done:
                    measured.done.notify_all()

    async def resource(name: str, operations: int) -> None:
        for _ in range(operations):
            began = time.perf_counter()
            reply = await node.execute(name, "monitor", agent)
            measured.begun[reply.call_id] = began
            async with measured.done:
                while reply.call_id in measured.begun:
                    await measured.done.wait()

    async def ping() -> None:
        while True:
            began = time.perf_counter()
            await rpc.call(node.stub.Status, lrm_pb2.LrmStatusRequest(), timeout_ms=5_000, who="ha-lrm")
            measured.pings.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)

    reader, pinger = asyncio.create_task(read()), asyncio.create_task(ping())
    await asyncio.sleep(0.1)
    began = time.perf_counter()
    await asyncio.gather(*(resource(f"r{number}", count // parallel) for number in range(parallel)))
    measured.elapsed = time.perf_counter() - began
    pinger.cancel()
    stream.cancel()
    await asyncio.gather(reader, pinger, return_exceptions=True)
    return measured


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


async def addresses(root: Path, count: int) -> None:
    """What taking over an address costs: start and monitor of our IPaddr and of IPaddr2, in a namespace.

    CPU is that of lrm-exec and all agents: the figure that counts on a busy machine.
    """
    name = f"bench-lrm-{os.getpid()}"
    command("ip", "netns", "add", name)
    try:
        command("ip", "-n", name, "link", "set", "lo", "up")
        command("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        command("ip", "-n", name, "addr", "add", "10.77.0.1/24", "dev", "eth0")
        command("ip", "-n", name, "link", "set", "eth0", "up")
        command("ip", "-n", name, "link", "set", "eth1", "up")
        async with LrmNode(root / "a", prefix=("nsenter", f"--net=/run/netns/{name}")) as node:
            await node.accept()
            medians, costs = {}, {}
            print("an address, start, monitor and stop:")
            for agent in ("ocf:hacluster:IPaddr", "ocf:heartbeat:IPaddr2"):
                took: dict[str, list[float]] = {"start": [], "monitor": [], "stop": []}
                await node.run("ip", "monitor", agent, ip="10.77.0.9")  # its meta-data is known from now on
                before_s = cpu_s(node.exec_pid)
                for _ in range(count):
                    for action, seconds in took.items():
                        began = time.perf_counter()
                        result = await node.run("ip", action, agent, ip="10.77.0.9")
                        seconds.append(time.perf_counter() - began)
                        assert result.rc == 0, result
                over = [
                    start + monitor for start, monitor in zip(took["start"], took["monitor"], strict=True)
                ]
                medians[agent] = percentile(over, 50)
                costs[agent] = (cpu_s(node.exec_pid) - before_s) / count * 1_000
                figures = "   ".join(
                    f"{action} p50 {percentile(s, 50):6.1f} ms" for action, s in took.items()
                )
                print(f"  {agent:28} {figures}   CPU of all three {costs[agent]:6.1f} ms")
            ours, sh = medians.values()
            print(f"  start and monitor p50: ours {ours:.1f} ms (goal: 10), IPaddr2 : ours = {sh / ours:.1f}")
            cheap, dear = costs.values()
            print(f"  CPU, IPaddr2 : ours = {dear / cheap:.1f}")
    finally:
        command("ip", "netns", "delete", name)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its children that have ended (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


async def passes(root: Path, resources: int) -> None:
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
        print(
            f"{resources} Dummies, {seen['count']} passes of ha-lrm's loop; the longest (goal: 20 ms), CPU:"
        )
        print(f"  {longest} ms (and the first one, before it serves: {seen['first_ms']:.0f} ms)")


def command(*words: str) -> None:
    subprocess.run(words, check=True, timeout=30)


async def run(count: int) -> None:
    """All of it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if count:
            await throughput(Path(folder), count)
        await passes(Path(folder), 67)
        if os.geteuid() == 0 and (HEARTBEAT / "IPaddr2").exists():
            await addresses(Path(folder), 20)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=400)
    asyncio.run(run(parser.parse_args().count))
