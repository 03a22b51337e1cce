"""The scenario runner itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datadriven import Command, run_file

TEXT = """\
# says what it was given
echo one at=5 name="two words"
below
----
echo/one/5/two words/below

lines
----
----
a

b
----
----

nothing
----
"""


def answer(command: Command) -> str:
    if command.name == "lines":
        return "a\n\nb"
    if command.name == "nothing":
        return ""
    return "/".join([command.name, *command.words, *command.options.values(), command.input])


def test_reads_and_compares(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text(TEXT)
    run_file(path, answer, rewrite=False)
    path.write_text(TEXT.replace("two words/below", "three words/below"))
    with pytest.raises(AssertionError, match=r"x\.txt:1"):
        run_file(path, answer, rewrite=False)


def test_rewriting_restores_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text(TEXT.replace("two words/below", "wrong").replace("a\n\nb", "c"))
    run_file(path, answer, rewrite=True)
    assert path.read_text() == TEXT
