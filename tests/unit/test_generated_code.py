"""The committed wire code is what proto/ generates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_wire_code_is_current(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "proto/generate.py"), str(tmp_path)],
        check=True,
        capture_output=True,
        timeout=100,
    )
    for made in sorted((tmp_path / "hacluster/v1").iterdir()):
        if made.suffix in {".py", ".pyi"}:
            assert made.read_text() == (ROOT / "hacluster/v1" / made.name).read_text(), (
                f"{made.name} differs: run `make proto` and commit the result"
            )
