"""One client asks for more watches and writes than there are; `tests.soak.exhaustion` does it longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.local_cluster import LocalCluster, until
from tests.soak.exhaustion import ready, run

pytestmark = [pytest.mark.alone, pytest.mark.slow]


async def test_a_client_that_asks_for_everything(tmp_path: Path) -> None:
    """deadtime is 1 s: nobody is lost by it."""
    cluster = LocalCluster(tmp_path, 3, deadtime_ms=1_000, initdead_ms=10_000)
    cluster.start()
    try:
        until(ready(cluster), 30, "a cluster")
        await run(cluster, watches=400, seconds=3)
    finally:
        cluster.stop()
