"""`hacli history log`: the logs of nodes by time: this one's, and others' by ssh."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cli import elsewhere
from cli.commands.changes import this_node
from cli.commands.report import logs, moment
from cli.context import EXIT_OK, Context, UsageError
from cli.past import Past

LOG_AGE_S: Final = 24 * 3600
LOG_WITHIN_S: Final = 120
_USAGE: Final = "history log [-f FROM] [-t TO] [-n NODE,…|all] [WORD]…"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?(?:Z|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    from_s: int
    to_s: int
    nodes: tuple[str, ...]
    words: tuple[str, ...]


def log(context: Context, words: Sequence[str]) -> int:
    """`log [-f FROM] [-t TO] [-n NODES] [WORD]…`: lines with one of the words, of this node unless named."""
    past = context.past or Past()
    wanted = _wanted(words, past)
    nodes = elsewhere.chosen(context, wanted.nodes, everybody=("all", "--all"))
    me = this_node(context) if nodes else ""
    lines: list[tuple[str, str]] = []
    problems: list[str] = []
    if not nodes or me in nodes:
        mark = f"{me:12} " if nodes else ""
        lines += [(stamp, mark + text) for stamp, text in _own(context, wanted, problems)]
    for node in nodes:
        if node != me:
            try:
                lines += _theirs(context, node, wanted)
            except elsewhere.NotReached as error:
                problems.append(str(error))
    shown = [text for _stamp, text in sorted(lines, key=lambda one: one[0]) if past.shows(text)]
    for problem in problems:
        context.warning(problem)
    for text in shown:
        context.print(text)
    if not shown:
        context.info("no line of the logs (journal, or files below the root) fits")
    return EXIT_OK


def _wanted(words: Sequence[str], past: Past) -> _Wanted:
    now_s = int(time.time())
    times = {"-f": past.from_s or now_s - LOG_AGE_S, "-t": past.to_s or now_s}
    nodes: list[str] = []
    rest, found = list(words), []
    while rest:
        word = rest.pop(0)
        if word not in (*times, "-n", "--nodes"):
            found.append(word)
            continue
        if not rest:
            raise UsageError(
                what=f"{word} needs a time" if word in times else f"{word} needs nodes", usage=_USAGE
            )
        if word in times:
            times[word] = moment(rest.pop(0))
        else:
            nodes.append(rest.pop(0))
    return _Wanted(from_s=times["-f"], to_s=times["-t"], nodes=tuple(nodes) or past.nodes, words=tuple(found))


def _own(context: Context, wanted: _Wanted, problems: list[str]) -> Iterator[tuple[str, str]]:
    """The lines of this node that fit, with their times."""
    for name, text in logs(context, wanted.from_s, wanted.to_s, problems):
        place = name.partition("/")[2].partition(".")[0]
        for stamp, line in _stamped(text):
            fits = not wanted.words or any(word in line for word in wanted.words)
            if fits and _within(stamp, wanted):
                yield stamp, f"{place:13} {line}"


def _theirs(context: Context, node: str, wanted: _Wanted) -> list[tuple[str, str]]:
    """What hacli finds there for the same question. Raises NotReached."""
    words = ["history", "log", "-f", f"@{wanted.from_s}", "-t", f"@{wanted.to_s}", *wanted.words]
    answer = elsewhere.hacli(context, node, words, within_s=LOG_WITHIN_S)
    text = answer.checked("hacli history log").decode(errors="replace")
    return [(stamp, f"{node:12} {line}") for stamp, line in _stamped(text)]


def _stamped(text: str) -> Iterator[tuple[str, str]]:
    """Lines with their time; one without is of the time of the line before it."""
    stamp = ""
    for line in text.splitlines():
        stamp = _stamp(line) or stamp
        yield stamp, line


def _stamp(line: str) -> str:
    """The time in UTC as text that sorts; empty for a line without one."""
    match = _TIME.search(line)
    if match is None:
        return ""
    try:
        at = datetime.fromisoformat(match[0].replace("Z", "+00:00"))
    except ValueError:
        return ""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _within(stamp: str, wanted: _Wanted) -> bool:
    if not stamp:
        return True
    at_s = datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()
    return wanted.from_s <= at_s < wanted.to_s + 1
