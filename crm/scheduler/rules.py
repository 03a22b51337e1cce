"""Rules and sets of nvpairs: which hold now (Pacemaker Explained, "Rules")."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from crm.cib.model import Element
from crm.scheduler import scores, values
from crm.scheduler.values import civil, instant_s

_DAY_S: Final = 86_400
_SUBMATCH = re.compile(r"%(\d)")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE_UNITS: Final = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a rule may look at. `attributes` are a node's; None where no node is meant.

    `parameters` and `meta` are a resource's, for value-source: only rules of location constraints have them.
    """

    now_s: int
    recheck: Callable[[int], None]
    attributes: Mapping[str, str] | None = None
    parameters: Mapping[str, str] | None = None
    meta: Mapping[str, str] | None = None
    agent: tuple[str, str, str] | None = None  # class, provider, type
    operation: tuple[str, int] | None = None  # name, interval in ms
    submatches: tuple[str, ...] = ()


class Elements:
    """Follows id-ref: finds elements of the configuration by tag and id."""

    def __init__(self, root: Element | None) -> None:
        self._by_id: dict[tuple[str, str], Element] = {}
        for item in root.walk() if root is not None else ():
            name = item.attributes.get("id")
            if name is not None:
                self._by_id.setdefault((item.tag, name), item)

    def find(self, tag: str, name: str) -> Element | None:
        """The first element with that tag and id."""
        return self._by_id.get((tag, name))

    def resolve(self, item: Element) -> Element | None:
        """The element itself, or the one its id-ref names; None for a reference that leads nowhere."""
        reference = item.attributes.get("id-ref")
        return item if reference is None else self._by_id.get((item.tag, reference))


def holds(rule: Element, context: Context, elements: Elements) -> bool:
    """Evaluate a <rule>. "and" stops at the first failure, "or" at the first pass."""
    return _rule(rule, context, elements, 0)


def _rule(rule: Element, context: Context, elements: Elements, depth: int) -> bool:
    found = elements.resolve(rule)
    if found is None or depth > 50:
        return False
    any_of = found.get("boolean-op").lower() == "or"
    parts = [part for part in found.children if part.tag in _EVALUATE or part.tag == "rule"]
    for part in parts:
        if part.tag == "rule":
            passed = _rule(part, context, elements, depth + 1)
        else:
            passed = _EVALUATE[part.tag](part, context)
        if passed is any_of:
            return any_of
    return not any_of or not parts


def _expression(item: Element, context: Context) -> bool:
    name = _SUBMATCH.sub(lambda match: _submatch(context, int(match[1])), item.get("attribute"))
    if context.attributes is None:
        return False
    actual = context.attributes.get(name)
    operator = item.get("operation")
    if operator in {"defined", "not_defined"}:
        return (actual is not None) is (operator == "defined")
    wanted: str | None = item.attributes.get("value")
    source = item.get("value-source", "literal")
    if wanted is not None and source in {"param", "meta"}:
        table = context.parameters if source == "param" else context.meta
        wanted = (table or {}).get(wanted)
    if actual is None or wanted is None:
        both = actual is None and wanted is None
        return both if operator == "eq" else not both if operator == "ne" else False
    order = _compare(actual, wanted, _type_of(item, operator, actual, wanted))
    return {
        "eq": order == 0,
        "ne": order != 0,
        "lt": order < 0,
        "lte": order <= 0,
        "gt": order > 0,
        "gte": order >= 0,
    }.get(operator, False)


def _submatch(context: Context, index: int) -> str:
    return context.submatches[index] if index < len(context.submatches) else ""


def _type_of(item: Element, operator: str, actual: str, wanted: str) -> str:
    given = item.get("type").lower()
    if given:
        return given
    if operator in {"eq", "ne"}:
        return "string"
    return "number" if "." in actual or "." in wanted else "integer"


def _compare(left: str, right: str, kind: str) -> int:
    match kind:
        case "integer":
            a, b = values.integer_or_none(left), values.integer_or_none(right)
            if a is not None and b is not None:
                return (a > b) - (a < b)
        case "number":
            x, y = _NUMBER.match(left), _NUMBER.match(right)
            if x is not None and y is not None:
                return (float(x[0]) > float(y[0])) - (float(x[0]) < float(y[0]))
        case "version":
            return _compare_versions(left, right)
        case _:
            pass
    a_text, b_text = left.lower(), right.lower()
    return (a_text > b_text) - (a_text < b_text)


def _compare_versions(left: str, right: str) -> int:
    a = [values.integer(part) for part in left.split(".")]
    b = [values.integer(part) for part in right.split(".")]
    length = max(len(a), len(b))
    a += [0] * (length - len(a))
    b += [0] * (length - len(b))
    return (a > b) - (a < b)


def _date_expression(item: Element, context: Context) -> bool:
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


def _rsc_expression(item: Element, context: Context) -> bool:
    if context.agent is None:
        return False
    return all(
        item.attributes.get(name) in {None, actual}
        for name, actual in zip(("class", "provider", "type"), context.agent, strict=True)
    )


def _op_expression(item: Element, context: Context) -> bool:
    if context.operation is None or item.get("name") != context.operation[0]:
        return False
    interval = item.attributes.get("interval")
    return interval is None or values.interval_ms(interval) == context.operation[1]


_EVALUATE: Final[Mapping[str, Callable[[Element, Context], bool]]] = {
    "expression": _expression,
    "date_expression": _date_expression,
    "rsc_expression": _rsc_expression,
    "op_expression": _op_expression,
}


def sets_of(parent: Element | None, tag: str, elements: Elements, first_id: str = "") -> list[Element]:
    """The nvpair sets of an element by falling precedence: score, then the later; `first_id` before all."""
    if parent is None:
        return []
    found = [resolved for item in parent.all(tag) if (resolved := elements.resolve(item)) is not None]
    if len(found) > 1:
        found.reverse()
        found.sort(
            key=lambda item: (
                item.id != first_id or not first_id,
                -scores.parse(item.attributes.get("score")),
            )
        )
    return found


def merge_sets(
    into: dict[str, str],
    parent: Element | None,
    tag: str,
    context: Context,
    elements: Elements,
    *,
    first_id: str = "",
) -> None:
    """Add the nvpairs of all sets that hold to `into`; a name already there keeps its value."""
    for one in sets_of(parent, tag, elements, first_id):
        if all(holds(rule, context, elements) for rule in one.all("rule")[:1]):
            _merge_pairs(into, one, elements)


def _merge_pairs(into: dict[str, str], one: Element, elements: Elements) -> None:
    for item in one.children:
        if item.tag == "attributes":
            _merge_pairs(into, item, elements)
        elif item.tag == "nvpair":
            pair = elements.resolve(item)
            if pair is None:
                continue
            name, value = item.attributes.get("name") or pair.get("name"), pair.attributes.get("value")
            if name and value is not None and value != "#default" and name not in into:
                into[name] = value


def has_rules(parent: Element, tag: str, elements: Elements) -> bool:
    """True if some set of the element depends on a rule."""
    return any(one.child("rule") is not None for one in sets_of(parent, tag, elements))
