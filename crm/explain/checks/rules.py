"""Rules that are never true: contradictions in themselves, times that are over, nodes that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from crm.cib.model import Element
from crm.cib.schema import Problem
from crm.explain.checks.finding import resources, section, warning
from crm.scheduler.dates import civil, instant_s
from crm.scheduler.scores import INFINITY
from crm.scheduler.values import integer_or_none
from hacluster.digits import is_count

_PARTS: Final = ("rule", "expression", "date_expression", "rsc_expression", "op_expression")


@dataclass(frozen=True, slots=True)
class _Known:
    """What a rule is judged by: the time, the names of nodes, and the agent it belongs to."""

    now_s: int
    nodes: frozenset[str]
    agent: tuple[str, str, str] | None = None


def check(cib: Element, now_s: int, nodes: frozenset[str]) -> Iterator[Problem]:
    """Every outermost rule that cannot be true, now or later."""
    known = _Known(now_s, nodes)
    holders = [
        *section(cib, "crm_config").children,
        *section(cib, "rsc_defaults").children,
        *section(cib, "op_defaults").children,
        *section(cib, "constraints").children,
    ]
    for holder in holders:
        yield from _in(holder, holder.id, known)
    for one in resources(cib):
        agent = None
        if one.tag == "primitive" and not one.get("template"):
            agent = (one.get("class"), one.get("provider"), one.get("type"))
        own = _Known(now_s, nodes, agent)
        for part in one.all("meta_attributes", "instance_attributes", "utilization"):
            yield from _in(part, one.id, own)


def _in(holder: Element, where: str, known: _Known) -> Iterator[Problem]:
    for item in holder.children:
        if item.tag != "rule":
            if item.tag in ("lifetime", "attributes"):
                yield from _in(item, where, known)
            continue
        name = item.id or item.get("id-ref") or "without an id"
        for one in (part for part in item.walk() if part.tag == "date_expression"):
            for text in filter(None, (one.get("start"), one.get("end"))):
                if instant_s(text) is None:
                    yield warning(
                        where, f"{text!r} in the rule {name} is no date", "write it as 2030-12-31T18:00Z"
                    )
        reason = never(item, known)
        if reason:
            what = f"the rule {name} is never true: {reason}"
            yield warning(where, what, "correct it, or remove what depends on it")


def never(rule: Element, known: _Known) -> str:
    """Why a rule can never be true (from now on); empty when it can, or that is not known."""
    if rule.get("id-ref"):
        return ""
    parts = [part for part in rule.children if part.tag in _PARTS]
    if not parts:
        return "it asks for nothing"
    reasons = [_part(part, known) for part in parts]
    if rule.get("boolean-op").lower() == "or":
        return "; ".join(dict.fromkeys(reasons)) if all(reasons) else ""
    return next((reason for reason in reasons if reason), "") or _contradiction(parts)


def _part(part: Element, known: _Known) -> str:
    match part.tag:
        case "rule":
            return never(part, known)
        case "date_expression":
            return _date(part, known.now_s)
        case "rsc_expression":
            return _agent(part, known.agent)
        case "expression":
            return _node(part, known.nodes)
        case _:
            return ""


def _node(part: Element, nodes: frozenset[str]) -> str:
    if part.get("attribute") != "#uname" or part.get("operation") != "eq" or not nodes:
        return ""
    return "" if part.get("value").lower() in nodes else f"there is no node {part.get('value')!r}"


def _agent(part: Element, agent: tuple[str, str, str] | None) -> str:
    if agent is None:
        return ""
    for name, own in zip(("class", "provider", "type"), agent, strict=True):
        if part.get(name) and part.get(name) != own:
            return f"{name} is {own}, not {part.get(name)}"
    return ""


def _date(part: Element, now_s: int) -> str:
    start, end = instant_s(part.get("start") or None), instant_s(part.get("end") or None)
    operation = part.get("operation", "in_range")
    if operation in ("in_range", "lt") and end is not None and end <= now_s:
        return f"{part.get('end')} is over"
    if operation == "in_range" and start is not None and end is not None and end < start:
        return f"{part.get('end')} is before {part.get('start')}"
    spec = part.child("date_spec")
    if operation == "date_spec" and spec is not None and spec.get("years"):
        last = spec.get("years").rpartition("-")[2]
        year = civil(now_s).year
        if is_count(last) and int(last) < year:
            return f"the year {last} is over"
    return ""


# --- contradictions between expressions of an "and"


def _contradiction(parts: list[Element]) -> str:
    by_name: dict[str, list[Element]] = {}
    for part in parts:
        if part.tag == "expression" and part.get("value-source", "literal") == "literal":
            by_name.setdefault(part.get("attribute"), []).append(part)
    return next((reason for name, some in by_name.items() if (reason := _clash(name, some))), "")


def _clash(name: str, some: list[Element]) -> str:
    def values(operation: str) -> list[str]:
        return [one.get("value") for one in some if one.get("operation") == operation]

    operations = {one.get("operation") for one in some}
    if "not_defined" in operations and operations & {"defined", "eq", "lt", "lte", "gt", "gte"}:
        return f"{name} would have to be set and not set"
    equal = set(values("eq"))
    if len(equal) > 1:
        return f"{name} would have to be {' and '.join(sorted(equal))}"
    if equal & set(values("ne")):
        return f"{name} would have to be {equal.pop()} and not"
    low, high = -INFINITY * 1000, INFINITY * 1000
    for operation, step in (("gt", 1), ("gte", 0)):
        for text in values(operation):
            number = integer_or_none(text)
            low = max(low, number + step) if number is not None else low
    for operation, step in (("lt", -1), ("lte", 0)):
        for text in values(operation):
            number = integer_or_none(text)
            high = min(high, number + step) if number is not None else high
    number = integer_or_none(next(iter(equal))) if equal else None
    if low > high or (number is not None and not low <= number <= high):
        return f"no number is what {name} would have to be"
    return ""
