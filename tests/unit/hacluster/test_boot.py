from __future__ import annotations

from pathlib import Path

from hacluster.boot import boot_token
from hacluster.paths import Paths


def test_the_token_lasts_for_a_boot(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    first = boot_token(paths)
    assert boot_token(paths) == first
    assert len(first) == 64
    (paths.run / "boot-seed").unlink()
    assert boot_token(paths) != first
