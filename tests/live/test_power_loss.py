"""All nodes lose power at once, and with it all that was not synced: no acknowledged write is lost."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.soak import careless
from tests.soak.disk import Disk, in_own_mounts
from tests.soak.power_loss import Lost, site

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]
ROUNDS = 4


@pytest.fixture(autouse=True)
def _loop_devices(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a disk that loses what was not synced needs root")
    try:
        in_own_mounts(lambda: Disk(tmp_path / "probe.img", tmp_path / "probe").close())
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"there are no loop devices with ext4 here: {error}")


def written(folder: Path, **more: Any) -> int:
    """So many were acknowledged in some rounds. Raises Lost."""
    with site(random.Random(7), folder, **more) as made:
        for _ in range(ROUNDS):
            made.round()
        made.check()
        return made.ledger.acknowledged


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    assert in_own_mounts(lambda: written(tmp_path)) >= 3, "each writer wrote"


@pytest.mark.parametrize("left_out", careless.LEFT_OUT)
def test_a_sync_left_out_is_found(left_out: str, tmp_path: Path) -> None:
    with pytest.raises(Lost):
        in_own_mounts(lambda: written(tmp_path, left_out=left_out, lost_after_s=5))
