from __future__ import annotations

from pathlib import Path

import pytest

from tests.datadriven import run_file
from tests.unit.cli.runner import Bench

SCENARIOS = Path(__file__).parents[2] / "scenarios" / "cli"


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.txt")), ids=lambda path: path.stem)
def test_cli(path: Path, tmp_path: Path, rewrite: bool) -> None:
    run_file(path, Bench(tmp_path).handle, rewrite=rewrite)
