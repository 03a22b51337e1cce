"""What the language's description asks for, tried line by line on the same small site."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.grammar.definitions import parse_text
from cli.grammar.document import empty_cib
from cli.grammar.load import load
from crm.cib import codec
from tests.datadriven import Command, run_file
from tests.unit.cli.runner import Bench

FOLDER = Path(__file__).parents[2] / "scenarios" / "checklist"


def test_checklist(tmp_path: Path, rewrite: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "HACLUSTER_ROOT"):
        monkeypatch.setenv(name, str(tmp_path / name))
    bench = Bench(tmp_path)
    site = codec.render(
        load(empty_cib(), parse_text((FOLDER / "site.crm").read_text(), "site"), source="site").cib
    )

    def handle(command: Command) -> str:
        if command.name == "site":
            bench.cib.write_text(site)
            return ""
        return bench.handle(command)

    run_file(FOLDER / "language.txt", handle, rewrite=rewrite)
