"""Scenario files: commands and what they answer, in one text file that can be rewritten and reviewed.

A file is a list of blocks, separated by blank lines:

    # what this step shows
    command word key=value key="with spaces"
    more input, any number of lines
    ----
    the expected answer, up to a blank line

With `pytest --rewrite` the answers become what the code says now: read the diff before committing it.
An answer that contains blank lines is written between two lines of "----" and two more.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SEPARATOR = "----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One block's first line, taken apart, and the lines below it; `place` is FILE:LINE."""

    name: str
    words: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    input: str = ""
    place: str = ""


@dataclass(slots=True)
class _Block:
    comments: list[str]
    command: list[str]
    expected: str
    line: int


def run_file(path: Path, handle: Callable[[Command], str], *, rewrite: bool) -> None:
    """Run every block through `handle`; compare the answers, or write them into the file."""
    blocks = list(_blocks(path.read_text().splitlines()))
    assert blocks, f"{path} has no blocks"
    answers = [handle(_command(block, path)).rstrip("\n") for block in blocks]
    if rewrite:
        texts = [_text(block, answer) for block, answer in zip(blocks, answers, strict=True)]
        path.write_text("\n\n".join(texts) + "\n")
        return
    for block, answer in zip(blocks, answers, strict=True):
        where = f"{path}:{block.line}: {' '.join(block.command[:1])}"
        assert answer == block.expected, f"{where}\n--- expected\n{block.expected}\n--- is\n{answer}"


def _command(block: _Block, path: Path) -> Command:
    words = shlex.split(block.command[0])
    options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    return Command(
        name=words[0],
        words=tuple(word for word in words[1:] if "=" not in word),
        options=options,
        input="\n".join(block.command[1:]),
        place=f"{path}:{block.line}",
    )


def _text(block: _Block, answer: str) -> str:
    lines = [*block.comments, *block.command, SEPARATOR]
    if "" in answer.split("\n")[:-1] and answer:
        lines += [SEPARATOR, answer, SEPARATOR, SEPARATOR]
    elif answer:
        lines.append(answer)
    return "\n".join(lines)


def _blocks(lines: list[str]) -> Iterator[_Block]:
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        comments: list[str] = []
        command: list[str] = []
        start = at
        while at < len(lines) and lines[at] != SEPARATOR:
            (comments if lines[at].startswith("#") and not command else command).append(lines[at])
            at += 1
        if not command:  # a comment at the end of the file
            return
        at += 1
        double = at < len(lines) and lines[at] == SEPARATOR
        at += double
        end = at
        while end < len(lines) and not _ends(lines, end, double):
            end += 1
        yield _Block(
            [line for line in comments if line.strip()],
            [line for line in command if line.strip()],
            "\n".join(lines[at:end]),
            start + 1,
        )
        at = end + (2 if double else 0)


def _ends(lines: list[str], at: int, double: bool) -> bool:
    return lines[at : at + 2] == [SEPARATOR, SEPARATOR] if double else not lines[at].strip()
