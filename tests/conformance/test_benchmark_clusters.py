"""The clusters that the scheduler's benchmark makes by itself are CIBs for an installed crm_simulate, too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.scheduler import built_in
from crm.cib.codec import parse
from tests.differential.oracle import available, decide


@pytest.mark.parametrize("state", built_in.STATES)
def test_they_are_scheduled(state: str) -> None:
    started = {
        key
        for _, task, key, _ in decide(parse(built_in.cluster(3, 30, state).encode())).actions
        if task == "start"
    }
    assert ("p0n0_start_0" in started) == (state == "fresh")


@pytest.mark.skipif(not available(), reason="there is no crm_simulate to compare with")
@pytest.mark.parametrize("state", built_in.STATES)
def test_crm_simulate_takes_them(state: str, tmp_path: Path) -> None:
    file = tmp_path / "cib.xml"
    file.write_text(built_in.cluster(3, 30, state))
    ended = subprocess.run(
        ["crm_simulate", "-R", "-x", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
