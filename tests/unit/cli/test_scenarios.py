from __future__ import annotations

from pathlib import Path

import pytest

from tests.datadriven import run_file
from tests.unit.cli.runner import Bench

SCENARIOS = Path(__file__).parents[2] / "scenarios" / "cli"


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.txt")), ids=lambda path: path.stem)
def test_cli(path: Path, tmp_path: Path, rewrite: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HACLUSTER_ROOT", str(tmp_path / "root"))
    run_file(path, Bench(tmp_path).handle, rewrite=rewrite)
