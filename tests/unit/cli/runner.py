"""hacli run in this process on a CIB file."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from cli.__main__ import main
from cli.grammar.document import empty_cib
from crm.cib import codec
from tests.datadriven import Command


def hacli(words: Sequence[str]) -> tuple[int, str]:
    """Exit status, and what was printed (errors included, in order)."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = main(words)
    return status, out.getvalue()


class Bench:
    """A folder with a CIB file, for the commands of a scenario."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cib = folder / "cib.xml"
        self.cib.write_text(codec.render(empty_cib()))

    def handle(self, command: Command) -> str:
        """One block: `run` (each line is a command line), `script`, `load METHOD`, `cib`, `show`, and
        `file NAME`, `settle NODE…`.
        """
        match command.name:
            case "cib":
                self.cib.write_text(f"<cib><configuration>{command.input}</configuration></cib>")
                return ""
            case "run":
                answers = (self._run(shlex.split(line)) for line in command.input.splitlines())
                return "\n".join(answer for answer in answers if answer)
            case "script":
                (self.folder / "script").write_text(command.input)
                return self._run(["-f", "script"])
            case "load":
                (self.folder / "text").write_text(command.input)
                return self._run(["configure", "load", *command.words, "text"])
            case "file":
                (self.folder / command.words[0]).write_text(command.input + "\n")
                return ""
            case "settle":  # the nodes named are there, and everything runs where it should
                nodes = [word for name in command.words for word in ("-u", name)]
                for _ in range(3):
                    answer = self._run(["simulate", "-x", "cib.xml", "-q", "true", *nodes, "-X", "-Q"])
                    assert not answer, answer
                return ""
            case "show":
                return self._run(["configure", "show", *command.words])
            case _:
                raise AssertionError(f"{command.place}: no such command")

    def _run(self, words: Sequence[str]) -> str:
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            status, text = hacli(["--cib-file", "cib.xml", *words])
        finally:
            os.chdir(before)
        text = text.rstrip("\n")
        return text + ("\n" * bool(text) + f"exit {status}" if status else "")
