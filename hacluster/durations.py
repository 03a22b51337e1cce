"""Durations as text ("30s", "1500ms", "PT1M30S"; bare numbers are seconds) to and from milliseconds."""

from __future__ import annotations

import re

MS_MAX = 1 << 62
"""What is longer is as long as this: it fits a message's 64 bits and, as seconds, a timer's float."""

_PATTERN = re.compile(r"\s*(\d+)(?:\.(\d+))?\s*([A-Za-z]*)\s*")
_UNITS_US = {
    "us": 1,
    "usec": 1,
    "ms": 1_000,
    "msec": 1_000,
    "": 1_000_000,
    "s": 1_000_000,
    "sec": 1_000_000,
    "m": 60_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "hr": 3_600_000_000,
}


# ISO 8601, "Durations": whole numbers; a year is 365 days and a month 30, as the scheduler has them.
_ISO = re.compile(r"P((?:\d+[YMWD])*)(?:T((?:\d+[HMS])+))?", re.ASCII)
_ISO_DATE_S = {"Y": 365 * 86_400, "M": 30 * 86_400, "W": 7 * 86_400, "D": 86_400}
_ISO_TIME_S = {"H": 3_600, "M": 60, "S": 1}


def parse_ms(text: str) -> int:
    """Milliseconds, rounded down, at most MS_MAX. Raises ValueError saying which units exist."""
    if text.strip().startswith("P"):
        return _iso_ms(text.strip())
    match = _PATTERN.fullmatch(text)
    if match is None or match[3].lower() not in _UNITS_US:
        raise ValueError(f"{text!r} is not a duration: a number and one of us, ms, s, min, h (none means s)")
    unit_us = _UNITS_US[match[3].lower()]
    whole_us = int(match[1]) * unit_us
    if match[2]:
        whole_us += int(match[2]) * unit_us // 10 ** len(match[2])
    return min(whole_us // 1_000, MS_MAX)


def _iso_ms(text: str) -> int:
    match = _ISO.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        raise ValueError(f"{text!r} is not an ISO 8601 duration of whole numbers, as PT1M30S or P1D")
    total_s = 0
    for pieces, units in ((match[1], _ISO_DATE_S), (match[2], _ISO_TIME_S)):
        for amount, unit in re.findall(r"(\d+)([A-Z])", pieces or ""):
            total_s += int(amount) * units[unit]
    return min(total_s * 1_000, MS_MAX)


def render_ms(value_ms: int) -> str:
    """The shortest exact text: 1500 -> "1500ms", 2000 -> "2s"."""
    return f"{value_ms}ms" if value_ms % 1_000 else f"{value_ms // 1_000}s"
