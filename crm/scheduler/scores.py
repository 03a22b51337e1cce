"""Scores: integers saturating at ±INFINITY, and where each contribution to one came from."""

from __future__ import annotations

import re
from typing import Final

INFINITY: Final = 1_000_000

# A contribution to a score: (what was added, kind of rule, id of its origin, the contribution before it).
# The chain is immutable, so a table copied or restored keeps or drops reasons at no cost.
Why = tuple[int, str, str, "Why | None"]

_LEADING_INTEGER = re.compile(r"\s*([+-]?\d+)")
_WORDS: Final = {"INFINITY": INFINITY, "+INFINITY": INFINITY, "-INFINITY": -INFINITY}


def add(left: int, right: int) -> int:
    """The sum of two scores: -INFINITY wins over everything, then INFINITY, else clamped."""
    if left <= -INFINITY or right <= -INFINITY:
        return -INFINITY
    if left >= INFINITY or right >= INFINITY:
        return INFINITY
    total = left + right
    if total >= INFINITY:
        return INFINITY
    return total if total > -INFINITY else -INFINITY


def clamp(value: int) -> int:
    """The value within ±INFINITY."""
    return max(-INFINITY, min(INFINITY, value))


def parse_or_none(text: str) -> int | None:
    """The score a text means, None where it is no score (health words are the caller's matter)."""
    if text in _WORDS:
        return _WORDS[text]
    match = _LEADING_INTEGER.match(text)
    return None if match is None else clamp(int(match[1][:32]))


def parse(text: str | None, default: int = 0) -> int:
    """The score a text means; `default` where there is none or it is no number ("1.0" is 1)."""
    if text is None:
        return default
    value = parse_or_none(text)
    return default if value is None else value


def render(score: int) -> str:
    """The readable form: "INFINITY", "-INFINITY" or the number."""
    if score >= INFINITY:
        return "INFINITY"
    if score <= -INFINITY:
        return "-INFINITY"
    return str(score)
