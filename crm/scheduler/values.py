"""Reading values leniently, as people write them: booleans, numbers, durations, names in natural order.

Nothing here raises: what cannot be read becomes the default the rule names.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

TIMEOUT_DEFAULT_MS: Final = 20_000
INTERVAL_MAX_MS: Final = 0xFFFF_FFFF
"""About 50 days: longer intervals are this one, as in Pacemaker."""

_TRUE: Final = frozenset({"true", "on", "yes", "y", "1"})
_FALSE: Final = frozenset({"false", "off", "no", "n", "0"})
_UNITS_US: Final = {
    "": 1_000_000,
    "s": 1_000_000,
    "sec": 1_000_000,
    "ms": 1_000,
    "msec": 1_000,
    "us": 1,
    "usec": 1,
    "m": 60_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "hr": 3_600_000_000,
}
_DURATION = re.compile(r"\s*([+-]?\d+)(?:\.\d*)?\s*([A-Za-z]*)\s*$")
_ISO_DURATION = re.compile(r"P((?:\d+[YMWDHS])*)(?:T((?:\d+[YMWHS])+))?", re.ASCII)
_ISO_PIECE = re.compile(r"(\d+)([YMWDHS])")
_LEADING_INTEGER = re.compile(r"\s*([+-]?\d+)")
_DIGITS = re.compile(r"(\d+)")
_DAY_S: Final = 86_400
_ISO_UNITS_S: Final = {
    "Y": 365 * _DAY_S,
    "M": 30 * _DAY_S,
    "W": 7 * _DAY_S,
    "D": _DAY_S,
    "H": 3600,
    "S": 1,
}
_VALUE_MAX: Final = 1 << 62
_NUMBER_DIGITS_MAX: Final = 4000
"""`int` refuses texts of more than 4300 digits."""


def boolean(text: str | None) -> bool | None:
    """True or False as written, None where it is neither."""
    if text is None:
        return None
    lowered = text.strip().lower()
    if lowered in _TRUE:
        return True
    return False if lowered in _FALSE else None


def is_true(text: str | None, *, default: bool = False) -> bool:
    """The truth of an optional text; a missing or invalid one is the default."""
    value = boolean(text)
    return default if value is None else value


def integer(text: str | None, default: int = 0) -> int:
    """The leading integer of a text, within 64 bits."""
    value = _leading_integer(text) if text is not None else None
    return default if value is None else value


def integer_or_none(text: str | None) -> int | None:
    """The leading integer, None where there is none."""
    return _leading_integer(text) if text is not None else None


@lru_cache(maxsize=16384)
def _leading_integer(text: str) -> int | None:
    match = _LEADING_INTEGER.match(text)
    return None if match is None else max(-_VALUE_MAX, min(_VALUE_MAX, int(match[1][:32])))


@lru_cache(maxsize=4096)
def duration_ms(text: str | None) -> int | None:
    """Milliseconds; None where the text is missing or no duration. Negative ones are 0."""
    if text is None:
        return None
    if text.lstrip().startswith("P"):
        return _iso_duration_ms(text.strip())
    match = _DURATION.match(text)
    if match is None or match[2].lower() not in _UNITS_US:
        return None
    return min(max(0, int(match[1][:32]) * _UNITS_US[match[2].lower()] // 1000), _VALUE_MAX)


def _iso_duration_ms(text: str) -> int | None:
    """Whole numbers with their units, to the end; None for anything else, as "PT1.5S"."""
    match = _ISO_DURATION.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        return None
    total_s = 0
    for in_time, pieces in enumerate(match.groups("")):
        for amount, unit in _ISO_PIECE.findall(pieces):
            unit_s = 60 if in_time and unit == "M" else _ISO_UNITS_S[unit]
            total_s += int(amount[:12]) * unit_s
    return min(total_s * 1000, _VALUE_MAX)


def interval_ms(text: str | None) -> int:
    """An interval: 0 where missing or invalid, at most what 32 bits hold."""
    return min(duration_ms(text) or 0, INTERVAL_MAX_MS)


def timeout_ms(text: str | None) -> int:
    """An operation's timeout: 20 s where missing, invalid or 0."""
    return duration_ms(text) or TIMEOUT_DEFAULT_MS


def seconds(ms: int) -> int:
    """Milliseconds to seconds: at least 1 unless 0, else the nearest."""
    if ms <= 0:
        return 0
    return 1 if ms < 1000 else (ms + 500) // 1000


@lru_cache(maxsize=65536)
def natural_key(name: str) -> tuple[tuple[int, int, int, str], ...]:
    """A sort key: runs of digits compare as numbers, other characters without case."""
    parts: list[tuple[int, int, int, str]] = []
    for part in _DIGITS.split(name):
        if part.isascii() and part.isdigit() and len(part) <= _NUMBER_DIGITS_MAX:
            parts.append((0, int(part), len(part), ""))
        else:
            parts.extend((1, 0, 0, letter) for letter in part.lower())
    return tuple(parts)


def natural_sort_key(name: str) -> tuple[tuple[tuple[int, int, int, str], ...], str]:
    """As `natural_key`; equal ones fall back to bytes, so the order is total."""
    return natural_key(name), name
