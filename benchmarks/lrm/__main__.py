"""`python -m benchmarks.lrm`: operations through ha-lrm, from Execute to the result on the History stream.

Prints operations per second and latency for our Dummy in the warm host, the same agent executed, and a sh
Dummy; how long other calls have to wait meanwhile; and the ratios of warm to executed and sh.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from hacluster import rpc
from hacluster.v1 import lrm_pb2
from tests.live.lrm_node import LrmNode, an_agent

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


async def run(count: int) -> None:
    """All of it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        root = Path(folder)
        executed = root / "ocf/resource.d/test/Executed"
        sh = an_agent(root / "ocf", "Sh", SH_DUMMY.strip())
        import agents.catalog

        ours = agents.catalog.our_ocf_root() / "resource.d/hacluster/Dummy"
        executed.write_text(ours.read_text().replace("exec ", "exec ", 1))
        executed.chmod(0o755)
        environment = {"HACLUSTER_OCF_ROOTS": f"{root}/ocf:/usr/lib/ocf"}
        async with LrmNode(root / "n", environment=environment) as node:
            await node.accept()
            for name in ("ocf:hacluster:Dummy", "ocf:test:Executed", sh):
                for _ in range(5):
                    await node.run("warm-up", "monitor", name)
            for parallel in (1, 16):
                print(f"{parallel} resource(s) at once:")
                rates = {}
                for label, agent in (
                    ("ours, warm host", "ocf:hacluster:Dummy"),
                    ("ours, executed", "ocf:test:Executed"),
                    ("a sh agent", sh),
                    ("ocf:heartbeat:Dummy (sh)", "ocf:heartbeat:Dummy"),
                ):
                    measured = await measure(node, agent, count, parallel)
                    print("  " + measured.summary(label))
                    rates[label] = percentile(measured.operations, 50)
                for label in list(rates)[1:]:
                    print(f"  latency, {label} : warm = {rates[label] / rates['ours, warm host']:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=400)
    asyncio.run(run(parser.parse_args().count))
