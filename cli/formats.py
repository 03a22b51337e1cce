"""What the answers for programs look like: what the schemas in docs/schemas are made from. Pure.

A shape is a type's name ("?" behind it: or null), a mapping of keys to shapes, or a list with the shape of
its items. A key is only ever added; a change of meaning makes a new version of the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cli.output import VERSION

_CHANGE: Final = {
    "section": "string",
    "kind": "string",
    "id": "string",
    "change": "string",
    "before": "string",
    "after": "string",
}
_STEP: Final = {
    "word": "string",
    "subject": "string",
    "details": "string",
    "reason": "string",
    "blocked": "boolean",
    "asked": "boolean",
    "served": "boolean",
    "interrupts": "boolean",
}
_PLACE: Final = {"node": "string", "role": "string", "failed": "boolean"}
_RESOURCE: Final = {"id": "string", "places": [_PLACE]}

_ENTRY: Final = {
    "index": "integer",
    "term": "string",
    "basis": "string",
    "kind": "string",
    "author": "string",
    "version": "string",
}
_LOSS: Final = {"place": "string", "unknown": "boolean", "missing_bytes": "integer", "changes": [_ENTRY]}
_REPORT: Final = {
    "report": "string",
    "path": "string",
    "node": "string",
    "saved_s": "integer",
    "answered": "integer",
    "entries": [{**_ENTRY, "left": "string"}],
}

SHAPES: Final[Mapping[str, Any]] = {
    "agent": {"agent": "string"},
    "agents": {"agents": ["string"]},
    "attributes": {"of": "string", "attributes": [{"name": "string", "value": "string"}]},
    "cib-copies": {
        "newest": "string",
        "copies": [
            {
                "place": "string",
                "readable": "boolean",
                "damage": "string",
                "torn": "boolean",
                "missing_bytes": "integer",
                "newest": "boolean",
                "changed_s": "integer",
                "version": "string",
                "index": "integer",
                "term": "string",
                "committed": "integer",
                "digest": "string",
                "votes": "boolean",
            }
        ],
        "lost": [_LOSS],
    },
    "cib-history": {
        "place": "string",
        "damage": "string",
        "snapshot_index": "integer",
        "snapshot_version": "string",
        "entries": [{**_ENTRY, "committed": "boolean"}],
    },
    "cib-orphan": {**_REPORT, "base_known": "boolean", "changes": [_CHANGE]},
    "cib-orphan-applied": {"report": "string", "left": ["string"]},
    "cib-orphans": {"reports": [_REPORT], "damaged": [{"path": "string", "damage": "string"}]},
    "cib-recovered": {
        "source": "string",
        "folder": "string",
        "version": "string",
        "aside": "string",
        "lost": [_LOSS],
    },
    "constraints": {
        "resource": "string",
        "constraints": [{"id": "string", "kind": "string", "text": "string"}],
    },
    "diff": {"changes": [_CHANGE]},
    "drift": {"changes": [_CHANGE]},
    "events": {"events": [{"at_s": "integer", "kind": "string", "about": "string", "what": "string"}]},
    "failcount": {"resource": "string", "node": "string", "failures": "string"},
    "fence-devices": {
        "nodes": [{"name": "string", "levels": [{"devices": ["string"], "executors": ["string"]}]}]
    },
    "fence-history": {
        "fencings": [
            {
                "target": "string",
                "action": "string",
                "state": "string",
                "device": "string",
                "changed_s": "integer",
                "text": "string",
            }
        ]
    },
    "findings": {
        "findings": [{"severity": "string", "where": "string", "what": "string", "remedy": "string"}]
    },
    "health": {"healthy": "boolean", "problems": ["string"]},
    "locate": {"resource": "string", "nodes": ["string"]},
    "nodes": {
        "nodes": [
            {
                "name": "string",
                "id": "string",
                "type": "string",
                "state": "string",
                "attributes": [{"kind": "string", "name": "string", "value": "string"}],
            }
        ]
    },
    "operations": {
        "operations": [
            {
                "resource": "string",
                "node": "string",
                "operation": "string",
                "interval_ms": "integer",
                "rc": "string",
                "exec_ms": "string",
                "reason": "string",
            }
        ]
    },
    "options": {"options": [{"name": "string", "value": "string", "summary": "string"}]},
    "plan": {
        "changes": [_CHANGE],
        "side_effects": ["string"],
        "steps": [_STEP],
        "anyway": [_STEP],
        "order": ["string"],
        "maintenance": "boolean",
    },
    "properties": {"properties": [{"name": "string", "value": "string"}]},
    "quorum": {
        "quorate": "boolean",
        "waiting_for_all": "boolean",
        "basis": "string",
        "dc": "string",
        "view": "string",
        "votes_total": "integer",
        "votes_present": "integer",
        "nodes": [{"name": "string", "state": "string", "votes": "integer?"}],
    },
    "resources": {"resources": [_RESOURCE]},
    "revisions": {
        "revisions": [
            {"revision": "string", "at": "string", "by": "string", "program": "string", "reason": "string"}
        ]
    },
    "services": {"services": [{"name": "string", "summary": "string"}]},
    "service": {
        "name": "string",
        "summary": "string",
        "parameters": [{"name": "string", "summary": "string", "default": "string?"}],
    },
    "shadows": {"shadows": [{"name": "string", "in_use": "boolean"}]},
    "status": {
        "cluster": "string",
        "node": "string",
        "dc": "string?",
        "term": "string?",
        "view": "string?",
        "quorate": "boolean",
        "stopped": "boolean",
        "age_ms": "integer",
        "basis": "string",
        "cib": "string",
        "transition": {
            "number": "integer",
            "state": "string",
            "done": "integer",
            "actions": "integer",
            "running": ["string"],
            "waits": ["string"],
        },
        "nodes": [{"name": "string", "state": "string", "online": "boolean"}],
        "resources": [_RESOURCE],
        "failed_actions": [
            {
                "resource": "string",
                "operation": "string",
                "interval_ms": "integer",
                "node": "string",
                "rc": "integer",
                "reason": "string",
            }
        ],
        "notices": ["string"],
        "reminders": ["string"],
    },
    "survive": {
        "complete": "boolean",
        "losses": [
            {
                "lost": ["string"],
                "settled": "boolean",
                "transitions": "integer",
                "unserved": [{"resource": "string", "reasons": ["string"]}],
            }
        ],
    },
    "tickets": {"tickets": [{"id": "string", "granted": "string", "standby": "string"}]},
    "transition": {
        "now_s": "integer",
        "recheck_by_s": "integer",
        "have_quorum": "boolean",
        "summary": ["string"],
        "actions": [
            {
                "id": "integer",
                "kind": "string",
                "key": "string",
                "operation": "string",
                "resource": "string",
                "node": "string",
                "inputs": ["integer"],
                "priority": "integer",
                "reason": "string",
            }
        ],
        "resources": [
            {
                "id": "string",
                "role": "string",
                "next_role": "string",
                "nodes": ["string"],
                "next_node": "string",
            }
        ],
    },
    "transitions": {
        "transitions": [
            {
                "number": "integer",
                "started_s": "integer",
                "term": "string",
                "cause": "string",
                "actions": "integer",
                "outcome": "string",
            }
        ]
    },
    "why": {
        "subject": "string",
        "answer": "string",
        "facts": [{"kind": "string", "text": "string"}],
        "remedies": [{"commands": ["string"], "outcome": "string"}],
        "tried": "integer",
    },
    "version": {"version": "string", "digest": "string"},
}
# Formats whose objects have more keys than are promised.
_OPEN: Final = frozenset({"agent", "tickets", "transition", "why"})


def schema(name: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of a format."""
    shape = {"format": "string", **SHAPES[name]}
    made = _schema(shape, open_=name in _OPEN)
    made["properties"]["format"] = {"const": f"hacluster.{name}/{VERSION}"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"hacluster.{name}/{VERSION}",
    } | made


def _schema(shape: Any, *, open_: bool) -> dict[str, Any]:
    if isinstance(shape, str):
        plain = shape.rstrip("?")
        return {"type": [plain, "null"] if shape.endswith("?") else plain}
    if isinstance(shape, list):
        return {"type": "array", "items": _schema(shape[0], open_=open_)}
    return {
        "type": "object",
        "properties": {key: _schema(one, open_=open_) for key, one in shape.items()},
        "required": list(shape),
        "additionalProperties": open_,
    }


def misfits(name: str, data: Any) -> list[str]:
    """Where a document is not of its format; for tests, and for whoever wants to be sure."""
    return list(_misfits({"format": "string", **SHAPES[name]}, data, name, open_=name in _OPEN))


def _misfits(shape: Any, data: Any, where: str, *, open_: bool) -> list[str]:
    kinds: dict[str, type] = {"string": str, "integer": int, "boolean": bool}
    if isinstance(shape, str):
        if data is None and shape.endswith("?"):
            return []
        wanted = kinds[shape.rstrip("?")]
        good = isinstance(data, wanted) and (wanted is bool or not isinstance(data, bool))
        return [] if good else [f"{where}: {data!r} is no {shape}"]
    if isinstance(shape, list):
        if not isinstance(data, list):
            return [f"{where}: no list"]
        return [
            text
            for index, one in enumerate(data)
            for text in _misfits(shape[0], one, f"{where}[{index}]", open_=open_)
        ]
    if not isinstance(data, dict):
        return [f"{where}: no object"]
    found = [f"{where}.{key} is missing" for key in shape if key not in data]
    found += [f"{where}.{key} is not promised" for key in data if key not in shape and not open_]
    for key in shape:
        if key in data:
            found += _misfits(shape[key], data[key], f"{where}.{key}", open_=open_)
    return found
