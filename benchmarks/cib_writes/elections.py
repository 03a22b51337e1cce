"""From a new view to an established DC, three real replicas: `python -m benchmarks.cib_writes.elections`."""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path

import structlog

from tests.cib_lab import Lab, lab, until

ROUNDS = 60


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(dir=os.environ.get("HACLUSTER_BENCH_DIR")) as folder:
        asyncio.run(measure(Path(folder)))


async def measure(folder: Path) -> None:
    async with lab(folder, 3) as cluster:
        await until(lambda: all(cluster.shell(node)._core is not None for node in cluster.nodes))
        cluster.view([1, 2, 3])
        await cluster.dc(1, 2, 3)
        await report(cluster, "the same three", [[1, 2, 3]])
        await report(cluster, "a member goes, a member comes", [[1, 2], [2, 3]])


async def report(cluster: Lab, what: str, views: list[list[int]]) -> None:
    """Give the views in turn; a new view ends every reign at once, so the next one established is its own."""
    taken = []
    for number in range(ROUNDS):
        members = views[number % len(views)]
        began = time.perf_counter()
        cluster.view(members)
        async with asyncio.timeout(10):
            while True:
                reigns = [cluster.shell(node).dc for node in members]
                if any(dc.is_me and dc.established for dc in reigns):
                    break
                await asyncio.sleep(0.0005)
        taken.append((time.perf_counter() - began) * 1_000)
    taken.sort()
    print(f"{what}: p50 {statistics.median(taken):.1f} ms, p99 {taken[len(taken) * 99 // 100]:.1f} ms")


if __name__ == "__main__":
    main()
