"""Fixtures of the tests with real daemons."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.live.lrm_node import LrmNode


@pytest.fixture
def ocf_root(tmp_path: Path) -> Path:
    return tmp_path / "ocf"


@pytest.fixture
async def node(tmp_path: Path, ocf_root: Path) -> AsyncIterator[LrmNode]:
    roots = f"{ocf_root}:/usr/lib/ocf"
    async with LrmNode(tmp_path / "n", environment={"HACLUSTER_OCF_ROOTS": roots}) as node:
        yield node
