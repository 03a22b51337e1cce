"""Regular expressions of the configuration, POSIX's extended ones as Pacemaker takes them. Pure.

They are matched by RE2, whose time grows with the length of the name and never exponentially: whoever may
write a constraint must not be able to stop the scheduler, or the fencing of a node, by "(a+)+$". What RE2
takes otherwise than regcomp() of the GNU C library is translated or refused here, with a reason.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, Protocol

import re2

_LONGEST: Final = 16_384  # characters
_BRACKETS: Final = 200
_STEPS: Final = 1_000  # more than its own length: what repetitions such as {1,50} may add
_MEMORY: Final = 2 << 20  # bytes, for each of _KEPT
_KEPT: Final = 64
_BOUNDS: Final = re.compile(r"\{([0-9]*)(,?)([0-9]*)\}")
_SPECIAL: Final = frozenset(".[]()*+?{}|^$\\")
_WORDS: Final = frozenset("wWsSbB")  # the GNU C library's own
_ANCHORS: Final = frozenset(("^", "$", r"\b", r"\B"))


class _Invalid(ValueError):
    """No expression, or one that cannot be matched in bounded time; the text says which and why."""


class Match(Protocol):
    """Where an expression fits: as of the standard library."""

    def __getitem__(self, group: Literal[0]) -> str: ...
    def groups(self) -> tuple[str | None, ...]:
        """What each bracket fits."""

    def span(self) -> tuple[int, int]:
        """From where to where."""


class Pattern(Protocol):
    """A compiled expression."""

    def search(self, text: str) -> Match | None:
        """The leftmost fit, of these the longest."""


def problem(text: str) -> str:
    """Why the text fits nothing; empty for an expression."""
    found = _tried(text)
    return found if isinstance(found, str) else ""


def compiled(text: str) -> Pattern | None:
    """To be searched for; None where it is no expression, which then fits nothing."""
    found = _tried(text)
    return None if isinstance(found, str) else found


@lru_cache(maxsize=_KEPT)
def _tried(text: str) -> Pattern | str:
    try:
        return _compiled(text)
    except _Invalid as invalid:
        return str(invalid)


def _compiled(text: str) -> Pattern:
    if len(text) > _LONGEST:
        raise _Invalid(f"it has {len(text)} characters; {_LONGEST} are allowed")
    options = re2.Options()
    options.posix_syntax = options.longest_match = options.dot_nl = True
    options.perl_classes = options.word_boundary = True  # \w \s \b, which the GNU C library has too
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        found = re2.compile(_translated(text), options)
        size: int = found.programsize
    except re2.error as error:
        said = error.args[0] if error.args else b""
        raise _Invalid(said.decode(errors="replace") or "too many brackets or repetitions") from None
    except UnicodeError:
        raise _Invalid("it has characters that are none of Unicode") from None
    if size > _STEPS + 2 * len(text):
        raise _Invalid(f"its repetitions come to {size} steps; {_STEPS} are allowed: use * or + instead")
    pattern: Pattern = found
    return pattern


def _translated(text: str) -> str:
    """In RE2's words."""
    parts: list[str] = []
    brackets = depth = at = 0
    while at < len(text):
        character, start = text[at], at
        at += 1
        if character in "*+?{" and parts[-1:] and parts[-1] in _ANCHORS:
            raise _Invalid(f"nothing is repeated at {start + 1}")
        match character:
            case "\\":
                parts.append(_escaped(text[at : at + 1]))
                at += 1
            case "[":
                at = _end_of_bracket(text, at)
                parts.append(text[start:at].replace("\\", "\\\\"))
            case "{":
                bounds = _BOUNDS.match(text, start)
                if bounds is None or not (bounds[1] or bounds[3]):
                    raise _Invalid(
                        f"the repetition at {start + 1} is not of the form {{2}}, {{2,}} or {{2,5}}"
                    )
                if any(len(bound.lstrip("0")) > 4 for bound in (bounds[1], bounds[3])):
                    raise _Invalid(f"the repetition at {start + 1} is too often")  # RE2 would read it as text
                parts.append(f"{{{bounds[1] or '0'}{bounds[2]}{bounds[3]}}}")
                at = bounds.end()
            case "(":
                depth += 1
                brackets += 1
                if brackets > _BRACKETS:
                    raise _Invalid(f"it has more than {_BRACKETS} brackets")
                parts.append(character)
            case ")":
                parts.append(character if depth else r"\)")
                depth = max(depth - 1, 0)
            case _:
                parts.append(character)
    return "".join(parts)


def _escaped(character: str) -> str:
    if not character:
        raise _Invalid("it ends with a backslash")
    if character in "123456789":
        raise _Invalid(f"\\{character} (what an earlier bracket fits) cannot be matched in bounded time")
    if character in "<>`'":
        raise _Invalid(f"\\{character} is not known; use \\b, ^ or $")
    if character in _WORDS or character in _SPECIAL:
        return "\\" + character
    return re.escape(character)


def _end_of_bracket(text: str, at: int) -> int:
    """After the `]` of a bracket expression whose `[` is before `at`. A `]` that comes first is in it."""
    start = at
    at += text.startswith("^", at)
    at += text.startswith("]", at)
    while at < len(text) and text[at] != "]":
        kind = text[at : at + 2]
        if kind in ("[.", "[="):
            raise _Invalid(f"{kind} in a bracket is not known; name the characters")
        if kind == "[:":
            end = text.find(":]", at + 2)
            at = end + 1 if end >= 0 else len(text)
        at += 1
    if at >= len(text):
        raise _Invalid(f"the bracket at {start} is not closed")
    return at + 1
