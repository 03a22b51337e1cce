"""The terminal side of the shell: prompt, history, completion."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from cli.completion import candidates, current_cib, explained
from cli.redaction import holds_secret
from crm.cib.model import Element

if TYPE_CHECKING:
    from cli.shell import Shell

CACHE_S: Final = 5.0


def _history() -> History:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hacluster"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "hacli_history"
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return DiscreetHistory(str(path))


class DiscreetHistory(FileHistory):
    """A history on disk without lines that hold secrets: those are known until the shell ends."""

    def store_string(self, string: str) -> None:
        """Called with each line."""
        if not holds_secret(string):
            super().store_string(string)


class _FromTree(Completer):
    """Completions from the command tree; the CIB is read again when it is older than a few seconds."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._cib: Element | None = None
        self._read_s = -CACHE_S

    def get_completions(self, document: Document, _complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        words = text.split()
        if not words or text[-1:].isspace():
            words.append("")
        level = self._shell.levels[-1]
        texts = explained(words)
        for one in candidates(level, words, self._current()):
            yield Completion(one, start_position=-len(words[-1]), display_meta=texts.get(one))

    def _current(self) -> Element | None:
        if self._shell.context.workspace is not None:
            return self._shell.context.workspace.cib
        if time.monotonic() - self._read_s > CACHE_S:
            self._cib = current_cib(self._shell.context)
            self._read_s = time.monotonic()
        return self._cib


class Prompt:
    """Reads lines from a terminal."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._session: PromptSession[str] = PromptSession(
            history=_history(), completer=_FromTree(shell), complete_while_typing=False
        )

    def read(self) -> str | None:
        """The next command with its continuation lines; None at the end of input. ^C gives an empty line."""
        try:
            text = self._session.prompt(self._text())
            while text.endswith("\\"):
                text += "\n" + self._session.prompt("   > ")
        except KeyboardInterrupt:
            return ""
        except EOFError:
            return None
        return text

    def _text(self) -> str:
        options = self._shell.context.options
        place = options.shadow or (
            Path(options.cib_file).name if options.cib_file else f"live/{os.uname().nodename}"
        )
        workspace = self._shell.context.workspace
        mark = "*" if workspace is not None and workspace.changed else ""
        return f"hacli({place}{mark}){'/'.join(one.name for one in self._shell.levels[1:])}# "

    def confirm(self, question: str) -> bool:
        """Ask until y or n; ^C and the end of input are no."""
        while True:
            try:
                answer = PromptSession[str]().prompt(f"{question} (y/n) ").strip().lower()
            except (KeyboardInterrupt, EOFError):
                return False
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")
