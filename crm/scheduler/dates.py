"""Dates as people write them (ISO 8601), and the rules that depend on them.

Apart from `values` because few clusters have rules with dates: it is loaded where one is met. Nothing here
raises: what cannot be read becomes None.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from crm.cib.model import Element
from crm.scheduler import values

if TYPE_CHECKING:
    from crm.scheduler.rules import Context

_CALENDAR = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})$")
_ORDINAL = re.compile(r"(\d{4})-?(\d{3})$")
_WEEK = re.compile(r"(\d{4})-?W(\d{1,2})(?:-?(\d))?$")
_CLOCK = re.compile(r"(\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?(?:[.,]\d+)?\s*(Z|[+-]\d{1,2}(?::?\d{2})?)?$")
_EPOCH: Final = date(1970, 1, 1)
_DAY_S: Final = 86_400
_DATE_UNITS: Final = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")


def day_number(text: str) -> int | None:
    """Days since 1970 of a calendar, ordinal or week date."""
    text = text.strip()
    try:
        if match := _CALENDAR.match(text):
            return (date(int(match[1]), int(match[2]), int(match[3])) - _EPOCH).days
        if match := _ORDINAL.match(text):
            return (date(int(match[1]), 1, 1) + timedelta(days=int(match[2]) - 1) - _EPOCH).days
        if match := _WEEK.match(text):
            return (date.fromisocalendar(int(match[1]), int(match[2]), int(match[3] or 1)) - _EPOCH).days
    except (ValueError, OverflowError):
        return None
    return None


def instant_s(text: str | None) -> int | None:
    """Seconds since 1970 of an ISO 8601 date with an optional time (UTC without an offset)."""
    if text is None:
        return None
    head, _, tail = text.strip().replace("T", " ", 1).partition(" ")
    days = day_number(head)
    if days is None:
        return None
    if not tail.strip():
        return days * _DAY_S
    match = _CLOCK.match(tail.strip())
    if match is None:
        return None
    clock = int(match[1]) * 3600 + int(match[2] or 0) * 60 + int(match[3] or 0)
    return days * _DAY_S + clock - _offset_s(match[4])


def _offset_s(zone: str | None) -> int:
    if not zone or zone == "Z":
        return 0
    digits = zone[1:].replace(":", "")
    hours = int(digits[:2])
    minutes = int(digits[2:4] or 0)
    value = hours * 3600 + minutes * 60
    return -value if zone[0] == "-" else value


def civil(at_s: int) -> date:
    """The UTC date of an instant (years 1 to 9999)."""
    days = max(-719_162, min(2_932_896, at_s // _DAY_S))
    return _EPOCH + timedelta(days=days)


def date_expression(item: Element, context: Context) -> bool:
    """True where a <date_expression> holds at the context's time."""
    now = context.now_s
    start = instant_s(item.attributes.get("start"))
    end = instant_s(item.attributes.get("end"))
    match item.get("operation", "in_range"):
        case "in_range":
            return _in_range(item, context, start, end)
        case "gt":
            if start is None:
                return False
            if now > start:
                return True
            context.recheck(start + 1)
            return False
        case "lt":
            if end is None or now >= end:
                return False
            context.recheck(end)
            return True
        case "date_spec":
            spec = item.child("date_spec")
            return spec is not None and matches_date_spec(spec, now)
        case _:
            return False


def _in_range(item: Element, context: Context, start: int | None, end: int | None) -> bool:
    length = item.child("duration")
    if end is None and start is not None and length is not None:
        end = add_duration(start, length)
    if start is None and end is None:
        return False
    if start is not None and context.now_s < start:
        context.recheck(start)
        return False
    if end is not None:
        if context.now_s > end:
            return False
        context.recheck(end + 1)
    return True


def add_duration(start_s: int, length: Element) -> int:
    """An instant plus a <duration>; months and years keep the day of month where it exists."""
    years, months, weeks, days, hours, minutes, secs = (
        max(-1_000_000, min(1_000_000, values.integer(length.attributes.get(unit)))) for unit in _DATE_UNITS
    )
    day = civil(start_s)
    month_index = day.year * 12 + day.month - 1 + years * 12 + months
    year, month = max(1, min(9999, month_index // 12)), month_index % 12 + 1
    from calendar import monthrange  # with what it loads, costly for a run without such a rule

    moved = day.replace(year=year, month=month, day=min(day.day, monthrange(year, month)[1]))
    shift = (moved - day).days + weeks * 7 + days
    return start_s + shift * _DAY_S + hours * 3600 + minutes * 60 + secs


def matches_date_spec(spec: Element, now_s: int) -> bool:
    """True if every given range contains its part of the instant (UTC)."""
    day = civil(now_s)
    clock = now_s % _DAY_S
    week_year, week, weekday = day.isocalendar()
    parts = {
        "years": day.year,
        "months": day.month,
        "monthdays": day.day,
        "hours": clock // 3600,
        "minutes": clock // 60 % 60,
        "seconds": clock % 60,
        "yeardays": day.timetuple().tm_yday,
        "weekyears": week_year,
        "weeks": week,
        "weekdays": weekday,
    }
    return all(_in_values(text, parts[name]) for name, text in spec.attributes.items() if name in parts)


def _in_values(text: str, value: int) -> bool:
    low, dash, high = text.strip().partition("-")
    if not dash:
        return values.integer(low, -1) == value
    if low and value < values.integer(low, value):
        return False
    return not (high and value > values.integer(high, value))
