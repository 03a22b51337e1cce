"""Configuration writes on three replicas in one process, real disks, gRPC and TLS on loopback.

`python -m benchmarks.cib_writes [SECONDS] [RESOURCES]`. First one writer, each write waiting for the former;
then 32 at once. An OK means: fsynced at a majority and stored by every member in sync. The ratio is the
median write to the median of three fdatasyncs at once on the same disk, which the three nodes share here:
what the protocol adds to the least it could cost. With HACLUSTER_BENCH_DIR=/dev/shm there is no disk.

The CPU that this process spent during a write, of all writers and all three nodes, is what a write takes on a
core that nobody else wants.
"""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import structlog

from crm.cib.model import Element, element
from crm.replica.events import Outcome
from hacluster.collector import keep_out_of_collections
from tests.cib_lab import Lab, lab, until

NODES = 3
WRITERS = 32


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    resources = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(dir=os.environ.get("HACLUSTER_BENCH_DIR")) as folder:
        alone_ms = fdatasync_ms(Path(folder), 1)
        sync_ms = fdatasync_ms(Path(folder), NODES)
        load = os.getloadavg()[0]
        print(f"{NODES} nodes, {resources} resources, load {load:.0f}; fdatasync p50 {alone_ms:.2f} ms,")
        print(f"of {NODES} at once on this one disk, as each write needs here, {sync_ms:.2f} ms")
        asyncio.run(measure(Path(folder), seconds, resources, sync_ms))


def fdatasync_ms(folder: Path, at_once: int) -> float:
    """The median of appending 500 bytes durably to each of `at_once` files of this disk."""
    names = [folder / f"probe{number}" for number in range(at_once)]
    descriptors = [os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in names]

    def append(descriptor: int) -> None:
        os.write(descriptor, b"x" * 500)
        os.fdatasync(descriptor)

    taken = []
    with ThreadPoolExecutor(at_once) as threads:
        for _ in range(200):
            began = time.perf_counter()
            list(threads.map(append, descriptors))
            taken.append((time.perf_counter() - began) * 1_000)
    for descriptor in descriptors:
        os.close(descriptor)
    return statistics.median(taken)


def a_configuration(resources: int) -> Element:
    primitives = (
        element(
            "primitive",
            {"id": f"r{number}", "class": "ocf", "provider": "heartbeat", "type": "Dummy"},
            element(
                "operations", {}, element("op", {"id": f"r{number}-m", "name": "monitor", "interval": "10s"})
            ),
        )
        for number in range(resources)
    )
    return element("configuration", {}, element("crm_config"), element("resources", {}, *primitives))


async def measure(folder: Path, seconds: float, resources: int, sync_ms: float) -> None:
    async with lab(folder, NODES) as cluster:
        await until(lambda: all(cluster.shell(node)._core is not None for node in cluster.nodes))
        cluster.view([1, 2, 3])
        dc = await cluster.dc(1, 2, 3)
        other = 2 if dc != 2 else 3
        keep_out_of_collections()  # as ha-crm does
        outcome = await cluster.shell(dc).write(a_configuration(resources), author="bench")
        assert outcome.outcome is Outcome.OK, outcome
        for where, node in (("at the DC", dc), ("at a follower", other)):
            for writers in (1, WRITERS):
                await report(cluster, where, node, writers, seconds, sync_ms)


async def report(cluster: Lab, where: str, node: int, writers: int, seconds: float, sync_ms: float) -> None:
    taken: list[float] = []
    worked: list[float] = []
    end = time.perf_counter() + seconds

    async def write(number: int) -> None:
        shell = cluster.shell(node)
        while time.perf_counter() < end:
            began, began_cpu_s = time.perf_counter(), time.process_time()
            note = element("tag", {"id": f"w{number}", "at": str(len(taken))})
            if shell.dc.is_me:
                outcome = await shell.write(partial(Element.with_child, child=note), author="bench")
            else:
                outcome = await shell.write(shell.configuration.with_child(note), author="bench")
            assert outcome.outcome is Outcome.OK, outcome
            taken.append((time.perf_counter() - began) * 1_000)
            worked.append((time.process_time() - began_cpu_s) * 1_000)

    began, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(write(number) for number in range(writers)))
    cpu_ms = (time.process_time() - cpu_s) * 1_000 / len(taken)
    rate = len(taken) / (time.perf_counter() - began)
    p50, p99 = statistics.median(taken), the_99th(taken)
    print(
        f"{where:14} {writers:3} writers: {rate:7.0f} writes/s, p50 {p50:6.2f} ms, p99 {p99:6.2f} ms "
        f"({the_99th(worked):.1f} of this process's CPU), "
        f"p50 / fdatasync = {p50 / sync_ms:.1f}, CPU of all three {cpu_ms:.2f} ms a write"
    )


def the_99th(values: list[float]) -> float:
    """The percentile."""
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


if __name__ == "__main__":
    main()
