"""Records of the journal to and from JSON. One line a record: no whitespace, keys short enough to read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import OperationId, ResourceId, Term, ViewId
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult
from lrm.journal.records import (
    Accepted,
    Begun,
    Concluded,
    Disarmed,
    Forgotten,
    Observed,
    Record,
    RecurringKey,
    Remembered,
    Reported,
    Spawned,
    TermSeen,
    Watermarks,
)

_KINDS: Mapping[str, type[Record]] = {
    kind.__name__: kind
    for kind in (
        *(TermSeen, Accepted, Begun, Spawned, Concluded, Observed),
        *(Disarmed, Forgotten, Remembered, Reported, Watermarks),
    )
}


_FIELDS: dict[type, tuple[str, ...] | None] = {}
_NAME_LISTS = ("private_parameters", "reloadable_parameters", "restart_parameters")


class BadRecord(ValueError):
    """A line that is no record of ours."""


def encode(record: Record) -> bytes:
    """One line, without its end."""
    return json.dumps([type(record).__name__, _plain(record)], separators=(",", ":")).encode()


def decode(line: bytes) -> Record:
    """The record. Raises BadRecord."""
    try:
        kind, values = json.loads(line)
        return _KINDS[kind](**{name: _value(name, value) for name, value in values.items()})
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadRecord(f"not a record: {error!r}") from error


def _plain(value: object) -> Any:
    if isinstance(value, (str, int)):
        return value
    names = _names(value)
    if names is not None:
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return dict(value)
    return value  # tuples are lists in JSON


def _names(value: object) -> tuple[str, ...] | None:
    """The fields of a dataclass's instance; None for anything else."""
    kind = type(value)
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(each.name for each in fields(kind)) if is_dataclass(kind) else None
    return _FIELDS[kind]


def _operation_id(value: Mapping[str, Any]) -> OperationId:
    return OperationId(Term(**value["term"]), value["transition"], value["action"])


def _operation(value: Mapping[str, Any]) -> Operation:
    return Operation(**{**value, "agent": AgentName(**value["agent"])})


def _result(value: Mapping[str, Any]) -> OperationResult:
    built = {
        "id": _operation_id(value["id"]),
        "operation": _operation(value["operation"]),
        "status": ExecutionStatus(value["status"]),
        **{name: tuple(value[name]) for name in _NAME_LISTS},
    }
    return OperationResult(**{**value, **built})


_VALUES: Mapping[str, Callable[[Any], Any]] = {
    "term": lambda value: Term(**value),
    "view": lambda value: ViewId(**value),
    "id": _operation_id,
    "operation": _operation,
    "result": _result,
    "resource": ResourceId,
    "key": lambda value: RecurringKey(ResourceId(value["resource"]), value["action"], value["interval_ms"]),
}


def _value(name: str, value: Any) -> Any:
    return _VALUES[name](value) if value is not None and name in _VALUES else value
