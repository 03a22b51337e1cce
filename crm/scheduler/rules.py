"""Rules and sets of nvpairs: which hold now (Pacemaker Explained, "Rules")."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from crm.cib.model import Element
from crm.scheduler import scores, values
from hacluster.records import record

_SUBMATCH = re.compile(r"%(\d)")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@record(frozen=True, kw_only=True)
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
    from crm.scheduler.dates import (
        date_expression,
    )  # with what it loads, costly for a run without such a rule

    return date_expression(item, context)


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
