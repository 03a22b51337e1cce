"""The interactive shell and batches of commands: lines, levels, and when changes are written."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from cli.context import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Context, UsageError
from cli.dispatch import find_command, find_level, run_words, shortened
from cli.grammar.lexer import Line, logical_lines, split_words
from cli.levels import ROOT, Level
from cli.session import finish_session
from hacluster.errors import HaError

_UP = ("up", "back", "end")
_QUIT = ("quit", "exit", "bye")


@dataclass(slots=True)
class Shell:
    """A stack of levels and the lines that are run in it."""

    context: Context
    levels: list[Level] = field(default_factory=lambda: [ROOT])
    status: int = EXIT_OK
    done: bool = False

    def enter(self, level: Level) -> None:
        """Go one level down; a session begins with its first entry."""
        self.levels.append(level)
        if level.session:
            self.context.open_workspace()

    def leave(self) -> int:
        """Go up. Leaving a session writes what is pending, or asks."""
        level = self.levels.pop() if len(self.levels) > 1 else ROOT
        if not level.session:
            return EXIT_OK
        status = self._end_session()
        self.context.workspace = None
        return status

    def _end_session(self) -> int:
        workspace = self.context.workspace
        if workspace is None:
            return EXIT_OK
        asks = self.context.interactive and workspace.changed
        if asks and not self.context.confirm("There are changes that are not committed. Commit them?"):
            return EXIT_OK
        return finish_session(self.context)

    def run_line(self, line: Line) -> int:
        """Run one logical line; the status of it."""
        self.context.line = line
        if line.is_xml and self.levels[-1].session:
            return run_words(self.context, self.levels[-1], ("xml", line.xml))
        try:
            words = split_words(line.text)
        except HaError as error:
            self.context.point(error)
            self.context.error(str(error))
            return EXIT_FAILED
        word = words[0].lower()
        if word in _QUIT:
            self.done = True
            return EXIT_OK
        if word == "cd":
            return self._go(words[1:])
        if word in _UP:
            return self.leave()
        if word == "ls":
            self.context.print("  ".join(self.levels[-1].names()))
            return EXIT_OK
        return self._run_here(words)

    def _go(self, words: tuple[str, ...]) -> int:
        """`cd [PATH]`: levels and `..`, as of folders; without a path, or before a `/`, to the root."""
        if len(words) > 1:
            self.context.error(
                str(UsageError(what="name one level", usage="cd [LEVEL | .. | /LEVEL | ../LEVEL]"))
            )
            return EXIT_USAGE
        path = words[0] if words else "/"
        status = self._to_the_root() if path.startswith("/") else EXIT_OK
        for part in path.split("/"):
            if status != EXIT_OK:
                break
            if part == "..":
                status = self.leave()
            elif part not in ("", "."):
                status = self._enter_named(part)
        return status

    def _enter_named(self, name: str) -> int:
        if find_level(self.levels[-1], name) is None and find_level(ROOT, name) is None:
            self.context.error(f"there is no level {name!r} (see `help`)")
            return EXIT_USAGE
        return self._run_here((name,))

    def _to_the_root(self) -> int:
        """Leave all levels, as far as that goes."""
        while (depth := len(self.levels)) > 1:
            status = self.leave()
            if status != EXIT_OK or len(self.levels) == depth:
                return status
        return EXIT_OK

    def _run_here(self, words: tuple[str, ...]) -> int:
        """A level by itself is entered; else it is a command here, or from the root."""
        level = self.levels[-1]
        below = find_level(level, words[0])
        if self.context.options.strict and not self.context.interactive:
            short = shortened(level, words) or shortened(ROOT, words)
            if short is not None:
                self.context.error(f"{short[0]!r} is short for {short[1]!r}, and --strict wants that")
                return EXIT_USAGE
        root_below = find_level(ROOT, words[0]) if level is not ROOT else None
        if below is None and find_command(level, words[0]) is None and root_below is not None:
            below, level = root_below, ROOT
        if below is not None and len(words) == 1:
            try:
                self.enter(below)
            except HaError as error:
                self.context.error(str(error))
                return EXIT_FAILED
            return EXIT_OK
        if level is not self.levels[-1] and self.levels[-1].session and below is not None and below.session:
            words, level = words[1:], self.levels[-1]
        if (
            level is not ROOT
            and below is None
            and words[0] == "status"
            and find_command(level, "status") is None
        ):
            level = ROOT
        return run_words(self.context, level, words)

    def run_batch(self, text: str, source: str) -> int:
        """Run all lines. Nothing of a session with an error in it is written; the first error's status."""
        self.context.source_name = source
        for line in logical_lines(text):
            self.context.place = f"{source}:{line.number}"
            status = self.run_line(line)
            self.context.place = ""
            if status != EXIT_OK:
                self.status = self.status or status
                if self.context.workspace is None:
                    break
                self.context.workspace.failed = True
                if line.text.split()[0] == "commit":
                    self.context.workspace = None
                    break
            if self.done:
                break
        while len(self.levels) > 1:
            status = self.leave()
            self.status = self.status or status
        return self.status


def read_script(name: str) -> str:
    """A file, or standard input for "-". Raises UsageError."""
    if name == "-":
        return sys.stdin.read().removeprefix("\ufeff")
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(what=f"{name}: {getattr(error, 'strerror', None) or error}") from None


def run_script(context: Context, name: str, start: Level = ROOT) -> int:
    """Run the commands of a file or of standard input."""
    shell = Shell(context)
    if start is not ROOT:
        shell.enter(start)
    return shell.run_batch(read_script(name), "standard input" if name == "-" else name)


def interact(context: Context, start: Level = ROOT) -> int:
    """The interactive shell: prompt, history, completion. The status of the last command."""
    from cli.prompt import Prompt

    context.interactive = True
    shell = Shell(context)
    prompt = Prompt(shell)
    context.ask = prompt.confirm
    if start is not ROOT:
        shell.enter(start)
    status = EXIT_OK
    while not shell.done:
        text = prompt.read()
        if text is None:
            break
        for line in logical_lines(text):
            status = shell.run_line(line)
    while len(shell.levels) > 1:
        left = shell.leave()
        status = status or left
    return status if status != EXIT_USAGE else EXIT_FAILED
