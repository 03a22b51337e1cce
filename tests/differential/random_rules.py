"""Random rules: expressions of every kind, dates, nested rules."""

from __future__ import annotations

from crm.cib.model import Element, element
from tests.differential.draw import Draw

SCORES = ("INFINITY", "-INFINITY", "0", "1", "50", "100", "-50", "2000")
ROLES = ("Promoted", "Unpromoted", "Started", "Stopped")
_DATES = ("2005-01-01", "2023-318", "2023-11-14T22:13:20Z", "2023-11-20T00:00:00Z", "2030-06-01 12:00:00Z")
_NODE_EXPRESSIONS: tuple[dict[str, str], ...] = (
    {"attribute": "site", "operation": "eq", "value": "east"},
    {"attribute": "site", "operation": "ne", "value": "EAST"},
    {"attribute": "rank", "operation": "gt", "value": "2", "type": "number"},
    {"attribute": "rank", "operation": "lte", "value": "3", "type": "integer"},
    {"attribute": "rank", "operation": "gte", "value": "2.5"},
    {"attribute": "release", "operation": "lt", "value": "1.10", "type": "version"},
    {"attribute": "release", "operation": "eq", "value": "1.2", "type": "version"},
    {"attribute": "#uname", "operation": "eq", "value": "n1"},
    {"attribute": "#uname", "operation": "ne", "value": "n2", "type": "string"},
    {"attribute": "#kind", "operation": "eq", "value": "cluster"},
    {"attribute": "#is_dc", "operation": "eq", "value": "true"},
    {"attribute": "#cluster-name", "operation": "eq", "value": "lab"},
    {"attribute": "#site-name", "operation": "eq", "value": "lab"},
    {"attribute": "missing", "operation": "not_defined"},
    {"attribute": "missing", "operation": "defined"},
    {"attribute": "missing", "operation": "lt", "value": "1"},
    {"attribute": "rank", "operation": "defined"},
    {"attribute": "rank", "operation": "eq", "value": "level", "value-source": "param"},
    {"attribute": "rank", "operation": "gte", "value": "priority", "value-source": "meta", "type": "integer"},
)
_AGENTS: tuple[dict[str, str], ...] = (
    {"class": "ocf", "provider": "pacemaker", "type": "Dummy"},
    {"class": "ocf", "provider": "heartbeat"},
    {"provider": "pacemaker", "type": "Stateful"},
    {"provider": "heartbeat"},
    {"class": "stonith"},
)
_AGENTS_OF_ANY_PROVIDER: tuple[dict[str, str], ...] = ({"class": "ocf"}, {"type": "Stateful"})
"""Seldom: what a missing provider means has changed."""
_SPECS: tuple[dict[str, str], ...] = (
    {"hours": "9-17"},
    {"hours": "22"},
    {"weekdays": "1-5"},
    {"weekdays": "2", "hours": "20-"},
    {"months": "11"},
    {"monthdays": "-13"},
    {"years": "2023"},
    {"yeardays": "300-330"},
    {"weekyears": "2023", "weeks": "46"},
    {"hours": "22", "minutes": "13", "seconds": "20"},
)


class RandomRules:
    """Rules for one CIB."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    def node_rule(self, owner: str, attributes: dict[str, str]) -> Element:
        """A rule for a location constraint, with what it gives (score, role) in `attributes`."""
        return self._rule(owner, attributes, ("node", "node", "node", "date"), depth=0)

    def date_rule(self, owner: str) -> Element:
        """A rule for a set of meta attributes or options."""
        return self._rule(owner, {}, ("date",), depth=0)

    def resource_rule(self, owner: str) -> Element:
        """A rule for rsc_defaults."""
        return self._rule(owner, {}, ("rsc", "date"), depth=0)

    def operation_rule(self, owner: str) -> Element:
        """A rule for op_defaults."""
        return self._rule(owner, {}, ("rsc", "op", "op", "date"), depth=0)

    def _rule(self, owner: str, attributes: dict[str, str], kinds: tuple[str, ...], depth: int) -> Element:
        draw = self._draw
        name = draw.id(f"{owner}-rule-")
        values = {"id": name, **attributes}
        count = 2 if draw.chance(0.3) else 1
        if count > 1 or draw.chance(0.1):
            values["boolean-op"] = draw.pick(("and", "or"))
        children = []
        for _ in range(count):
            if depth < 2 and draw.may("nested-rules", 0.2):
                children.append(self._rule(owner, {}, kinds, depth + 1))
            else:
                children.append(self._expression(draw.pick(kinds), draw.id(f"{name}-e")))
        return element("rule", values, *children)

    def _expression(self, kind: str, name: str) -> Element:
        draw = self._draw
        match kind:
            case "rsc":
                values = draw.pick(_AGENTS if draw.chance(0.97) else _AGENTS_OF_ANY_PROVIDER)
                return element("rsc_expression", {"id": name, **values})
            case "op":
                values = draw.pick(
                    ({"name": "monitor"}, {"name": "start"}, {"name": "monitor", "interval": "10s"})
                )
                return element("op_expression", {"id": name, **values})
            case "date":
                return self._date(name) if draw.on("dates") else self._date_spec(name)
            case _:
                return element("expression", {"id": name, **draw.pick(_NODE_EXPRESSIONS)})

    def _date_spec(self, name: str) -> Element:
        spec = {"id": f"{name}-spec", **self._draw.pick(_SPECS)}
        return element("date_expression", {"id": name, "operation": "date_spec"}, element("date_spec", spec))

    def _date(self, name: str) -> Element:
        draw = self._draw
        kind = draw.pick(("gt", "lt", "in_range", "in_range", "duration", "date_spec"))
        match kind:
            case "gt":
                return element("date_expression", {"id": name, "operation": kind, "start": draw.pick(_DATES)})
            case "lt":
                return element("date_expression", {"id": name, "operation": kind, "end": draw.pick(_DATES)})
            case "in_range":
                start, end = sorted(draw.some(range(len(_DATES)), 2))
                values = {"id": name, "operation": kind, "start": _DATES[start], "end": _DATES[end]}
                if draw.chance(0.3):
                    values.pop(draw.pick(("start", "end")))
                return element("date_expression", values)
            case "duration":
                duration = draw.pick(({"years": "20"}, {"hours": "2"}, {"months": "3", "days": "2"}))
                return element(
                    "date_expression",
                    {"id": name, "operation": "in_range", "start": draw.pick(_DATES)},
                    element("duration", {"id": f"{name}-d", **duration}),
                )
            case _:
                return self._date_spec(name)
