"""Where the time of an event went: the daemons' logs, cut into spans. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

_VIEW: Final = "messaging.view_installed"
_SILENT: Final = "messaging.node_silent"
_BEGUN: Final = "crm.transition_begun"
_OPERATION_BEGUN: Final = "lrm.operation_begun"
_OPERATION_ENDED: Final = "lrm.operation_ended"


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a log; `at_ns` on the clock of the caller's choice."""

    at_ns: int
    node: str
    event: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an event: from `begin_ns` for `ms`."""

    label: str
    begin_ns: int
    ms: float


def record_from(node: str, line: Mapping[str, Any], *, wall_minus_clock_ns: int) -> Record | None:
    """A log line as JSON; None for lines without a time."""
    try:
        wall = datetime.fromisoformat(str(line["timestamp"])).timestamp()
    except (KeyError, ValueError):
        return None
    at_ns = int(wall * 1e9) - wall_minus_clock_ns
    return Record(at_ns, node, str(line.get("event", "")), line)


def _first(records: Iterable[Record], event: str, since_ns: int) -> Record | None:
    return next((each for each in records if each.event == event and each.at_ns >= since_ns), None)


def _operation(record: Record) -> tuple[str, str, str]:
    return record.node, str(record.fields.get("resource", "")), str(record.fields.get("operation", ""))


def operations(records: Sequence[Record], since_ns: int, until_ns: int) -> list[Span]:
    """Starts, stops, promotions and demotions that ran in that time, as their LRM logged them."""
    begun: dict[tuple[str, str, str], int] = {}
    spans = []
    for record in records:
        key = _operation(record)
        if record.event == _OPERATION_BEGUN:
            begun[key] = record.at_ns
        elif record.event == _OPERATION_ENDED and key in begun:
            begin_ns = begun.pop(key)
            node, resource, operation = key
            if since_ns <= begin_ns <= until_ns and operation.partition("_")[0] != "monitor":
                label = f"{operation} {resource} ({node.partition('.')[0]})"
                spans.append(Span(label, begin_ns, (record.at_ns - begin_ns) / 1e6))
    return sorted(spans, key=lambda span: span.begin_ns)


class Cause(StrEnum):
    """What an event began with."""

    LOSS = "loss"  # of a node: it must be detected
    BOOT = "boot"  # of nodes: they must come up and become members
    ORDER = "order"  # or a resource's failure: what comes before the transition is its decision


def spans(records: Sequence[Record], since_ns: int, until_ns: int, cause: Cause) -> list[Span]:
    """From the cause at `since_ns` to the page at `until_ns`: detection, decision, actions, first page."""
    ordered = sorted(records, key=lambda record: record.at_ns)
    result = _until_view(ordered, since_ns, until_ns, cause)
    mark = since_ns + sum(int(span.ms * 1e6) for span in result)
    actions = operations(ordered, since_ns, until_ns)
    begun = _first(ordered, _BEGUN, mark)
    if begun and begun.at_ns <= until_ns:
        result.append(Span("decision", mark, (begun.at_ns - mark) / 1e6))
        mark = begun.at_ns
    for action in actions:
        if action.begin_ns - mark > 1_000_000:
            label = "probes" if _probed(ordered, mark, action.begin_ns) else "between"
            result.append(Span(label, mark, (action.begin_ns - mark) / 1e6))
        result.append(action)
        mark = max(mark, action.begin_ns + int(action.ms * 1e6))
    if until_ns > mark:
        result.append(Span("first page", mark, (until_ns - mark) / 1e6))
    return result


def _until_view(records: Sequence[Record], since_ns: int, until_ns: int, cause: Cause) -> list[Span]:
    """What comes before the view that is decided in."""
    views = [each for each in records if each.event == _VIEW and since_ns <= each.at_ns <= until_ns]
    if not views or cause is Cause.ORDER:
        return []
    if cause is Cause.BOOT:
        begun = _first(records, _BEGUN, views[0].at_ns)
        before = [view for view in views if begun is None or view.at_ns <= begun.at_ns]
        return [Span("boot", since_ns, (before[-1].at_ns - since_ns) / 1e6)]
    silent = _first(records, _SILENT, since_ns)
    if silent is None or silent.at_ns > views[0].at_ns:
        return [Span("membership", since_ns, (views[0].at_ns - since_ns) / 1e6)]
    return [
        Span("detection", since_ns, (silent.at_ns - since_ns) / 1e6),
        Span("membership", silent.at_ns, (views[0].at_ns - silent.at_ns) / 1e6),
    ]


def _probed(records: Sequence[Record], since_ns: int, until_ns: int) -> bool:
    return any(
        each.event == _OPERATION_BEGUN
        and each.fields.get("operation") == "monitor"
        and since_ns <= each.at_ns <= until_ns
        for each in records
    )
