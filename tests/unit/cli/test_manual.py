"""What these pages say hacli prints is what it prints: console blocks are run, in order."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.runner import hacli

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "docs" / name
    for name in (
        "quickstart.md",
        "manual/changes.md",
        "manual/commands.md",
        "manual/configure.md",
        "manual/heartbeat.md",
        "manual/simulate.md",
        "manual/verify.md",
        "manual/why.md",
    )
]
HOSTS = "172.16.20.31 node1.nyist.com\n172.16.20.32 node2.nyist.com\n"


def commands(text: str) -> Iterator[tuple[str, str]]:
    """(command, expected output) of all console blocks."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_console_blocks(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "deploy/examples/heartbeat-v1", tmp_path / "ha.d")
    (tmp_path / "hosts").write_text(HOSTS)
    found = list(commands(page.read_text()))
    for command, output in found:
        words = shlex.split(command, comments=True)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            monkeypatch.setenv(name, value)
        elif words[0] == "cat":
            if not Path(words[1]).exists():
                Path(words[1]).write_text(output)
            assert Path(words[1]).read_text() == output, command
        else:
            assert words[0] == "hacli", command
            _status, text = hacli(words[1:])
            assert text == output, f"{page}: {command}"
    assert found, f"{page} shows nothing"
