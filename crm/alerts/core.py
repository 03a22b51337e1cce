"""From events and the `<alerts>` section to calls of alert agents: who is told what, and how. Pure.

Each node tells of its own operations and attributes, and of every node and every fencing it hears of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, assert_never

from crm.cib.model import Element
from crm.scheduler.rules import Context, Elements, merge_sets
from hacluster.digits import is_count
from hacluster.durations import parse_ms
from hacluster.vocabulary.operation import ExecutionStatus, OperationResult

TIMEOUT_MS: Final = 30_000
TIMESTAMP_FORMAT: Final = "%H:%M:%S.%06N"
VERSION: Final = "2.1.5"
"""Of Pacemaker's interface to alert agents; they compare it."""

TIMEOUT_MS_MAX: Final = 3_600_000
"""No alert agent has longer, whatever the configuration says: one that hangs keeps others waiting."""

_NANOSECONDS: Final = re.compile(r"%%|%0*(\d{0,2})N")
_NS: Final = 1_000_000_000
_FENCE_ACTIONS: Final = frozenset({"on", "off", "reboot", "status", "list"})
_OF_PACEMAKER: Final = ("CRM_alert_", "CRM_notify_")
"""Each value has both names: scripts that were written for ClusterMon know the second one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeChanged:
    """A node is a member now, or lost."""

    node: str
    node_id: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fenced:
    """A fencing has ended; `rc` is 0 or Pacemaker's exit code for a failure."""

    target: str
    action: str
    rc: int
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An operation of this node's has ended."""

    result: OperationResult


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeChanged:
    """A transient attribute of this node's has another value; empty: it was removed."""

    name: str
    value: str


Event = NodeChanged | Fenced | Ended | AttributeChanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Run this program. `alert` is the alert's id; `path` is what the configuration says, not checked."""

    alert: str
    path: str
    environment: Mapping[str, str]
    timeout_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipient:
    """One program and whom it is to tell (empty: nobody in particular)."""

    alert: str
    path: str
    value: str
    kinds: frozenset[str]
    attributes: frozenset[str]  # empty: all of them
    variables: Mapping[str, str]
    timeout_ms: int
    timestamp_format: str


@dataclass(slots=True)
class Alerts:
    """The alerts of one node. `node` is its name."""

    node: str
    node_id: str
    sequence: int = 0
    _known: Element | None = None
    _recipients: tuple[_Recipient, ...] = field(default=())

    def handle(self, event: Event, configuration: Element, wall_ns: int) -> list[Call]:
        """The calls for one event, in the order of the configuration. `wall_ns`: since 1970."""
        section = configuration.child("alerts")
        if section is None or not section.children:
            return []
        kind, variables = _described(event, self.node, self.node_id)
        if not variables:
            return []
        self.sequence += 1
        recipients = self._read(configuration, wall_ns // _NS)
        return [
            _call(recipient, kind, variables, self.sequence, wall_ns)
            for recipient in recipients
            if kind in recipient.kinds
            and not (
                kind == "attribute"
                and recipient.attributes
                and variables["attribute_name"] not in recipient.attributes
            )
        ]

    def _read(self, configuration: Element, now_s: int) -> tuple[_Recipient, ...]:
        """Read once a configuration; one with rules is read each time."""
        section = configuration.child("alerts")
        has_rules = section is not None and any(item.tag == "rule" for item in section.walk())
        if configuration is not self._known or has_rules:
            self._known, self._recipients = configuration, _recipients(configuration, now_s)
        return self._recipients


def format_time(text: str, wall_ns: int) -> str:
    """strftime with GNU date's %N: nanoseconds, or with a width so many of their digits. UTC is local here.

    Widths have two digits at most. A format that cannot be used gives the default one's text.
    """
    digits = f"{wall_ns % _NS:09}"

    def fraction(match: re.Match[str]) -> str:
        width = int(match[1] or 9) if match[1] is not None else 0
        return digits[:width].ljust(width, "0") if width else match[0]

    filled = _NANOSECONDS.sub(fraction, text)
    moment = datetime.fromtimestamp(wall_ns // _NS, UTC).astimezone()
    try:
        return moment.strftime(filled)
    except (ValueError, UnicodeError):
        return format_time(TIMESTAMP_FORMAT, wall_ns)


def _recipients(configuration: Element, now_s: int) -> tuple[_Recipient, ...]:
    elements = Elements(configuration)
    context = Context(now_s=now_s, recheck=lambda _at_s: None)
    found: list[_Recipient] = []
    section = configuration.child("alerts")
    for alert in section.all("alert") if section is not None else ():
        kinds, attributes = _selected(alert)
        receivers: tuple[Element | None, ...] = alert.all("recipient") or (None,)
        for receiver in receivers:
            meta: dict[str, str] = {}
            variables: dict[str, str] = {}
            for parent in (receiver, alert):  # what the recipient says counts before what the alert says
                merge_sets(meta, parent, "meta_attributes", context, elements)
                merge_sets(variables, parent, "instance_attributes", context, elements)
            if meta.get("enabled", "true").lower() in ("false", "no", "off", "0", "n"):
                continue
            found.append(
                _Recipient(
                    alert=alert.id,
                    path=alert.get("path"),
                    value=receiver.get("value") if receiver is not None else "",
                    kinds=kinds,
                    attributes=attributes,
                    variables=variables,
                    timeout_ms=_timeout_ms(meta.get("timeout", "")),
                    timestamp_format=meta.get("timestamp-format") or TIMESTAMP_FORMAT,
                )
            )
    return tuple(found)


def _selected(alert: Element) -> tuple[frozenset[str], frozenset[str]]:
    """Which kinds of events, and of attributes' which names. Without a choice all but attributes'."""
    select = alert.child("select")
    if select is None or not select.children:
        return frozenset({"node", "fencing", "resource"}), frozenset()
    tags = {
        "select_nodes": "node",
        "select_fencing": "fencing",
        "select_resources": "resource",
        "select_attributes": "attribute",
    }
    kinds = frozenset(tags[child.tag] for child in select.children if child.tag in tags)
    chosen = select.child("select_attributes")
    names = (
        frozenset(one.get("name") for one in chosen.all("attribute")) if chosen is not None else frozenset()
    )
    return kinds, names


def _timeout_ms(text: str) -> int:
    try:
        return min(parse_ms(text) or TIMEOUT_MS, TIMEOUT_MS_MAX)
    except ValueError:
        return TIMEOUT_MS


def _described(event: Event, node: str, node_id: str) -> tuple[str, dict[str, str]]:
    """The kind and the CRM_alert_* values without the prefix; no values: nobody is told."""
    match event:
        case NodeChanged():
            return "node", {"node": event.node, "nodeid": event.node_id, "desc": event.state}
        case Fenced():
            values = {"node": event.target, "task": event.action, "desc": event.text, "rc": str(event.rc)}
            return "fencing", values
        case AttributeChanged():
            values = {"attribute_name": event.name, "attribute_value": event.value}
            return "attribute", {"node": node, "nodeid": node_id, **values}
        case Ended(result):
            return "resource", _resource(result, node)
        case _:
            assert_never(event)


def _resource(result: OperationResult, node: str) -> dict[str, str]:
    """An operation's values; none for a probe that found what was expected, and for what did not happen."""
    operation = result.operation
    target_rc = _target_rc(operation.transition_key)
    unseen = (ExecutionStatus.NOT_RUN, ExecutionStatus.PENDING, ExecutionStatus.CANCELLED)
    if result.status in unseen or operation.action in _FENCE_ACTIONS:
        return {}
    is_probe = operation.action == "monitor" and operation.interval_ms == 0
    if is_probe and result.status is ExecutionStatus.DONE and result.rc == target_rc:
        return {}
    text = result.exit_reason
    if not text:
        done = result.status is ExecutionStatus.DONE
        text = _RC_NAMES.get(result.rc, "unknown error") if done else _STATUS_NAMES[result.status]
    return {
        "node": node,
        "rsc": str(operation.resource),
        "task": operation.action,
        "interval": str(operation.interval_ms),
        "target_rc": str(target_rc),
        "status": str(int(result.status)),
        "rc": str(result.rc),
        "exec_time": str(result.executed_ms),
        "desc": text,
    }


def _target_rc(transition_key: str) -> int:
    """Pacemaker's ACTION:TRANSITION:EXPECTED_RC:UUID."""
    parts = transition_key.split(":")
    return int(parts[2]) if len(parts) > 2 and is_count(parts[2]) else 0


def _call(recipient: _Recipient, kind: str, values: Mapping[str, str], sequence: int, wall_ns: int) -> Call:
    told = {
        "kind": kind,
        "version": VERSION,
        "recipient": recipient.value,
        "node_sequence": str(sequence),
        "timestamp": format_time(recipient.timestamp_format, wall_ns),
        "timestamp_epoch": str(wall_ns // _NS),
        "timestamp_usec": str(wall_ns % _NS // 1_000),
        **values,
    }
    environment = {f"{one}{name}": value for one in _OF_PACEMAKER for name, value in told.items() if value}
    chosen = {n: v for n, v in recipient.variables.items() if v and not n.startswith(_OF_PACEMAKER)}
    return Call(
        alert=recipient.alert,
        path=recipient.path,
        environment={**chosen, **environment},
        timeout_ms=recipient.timeout_ms,
    )


_RC_NAMES: Final = {
    0: "ok",
    1: "error",
    2: "invalid parameter",
    3: "unimplemented feature",
    4: "insufficient privileges",
    5: "not installed",
    6: "not configured",
    7: "not running",
    8: "promoted",
    9: "promoted (failed)",
    190: "degraded",
    191: "promoted (degraded)",
}

_STATUS_NAMES: Final = {
    ExecutionStatus.NOT_RUN: "Not run",
    ExecutionStatus.UNKNOWN: "Result lost",
    ExecutionStatus.PENDING: "pending",
    ExecutionStatus.DONE: "complete",
    ExecutionStatus.CANCELLED: "Cancelled",
    ExecutionStatus.TIMEOUT: "Timed Out",
    ExecutionStatus.NOT_SUPPORTED: "NOT SUPPORTED",
    ExecutionStatus.ERROR: "Error",
    ExecutionStatus.ERROR_HARD: "Hard error",
    ExecutionStatus.ERROR_FATAL: "Fatal error",
    ExecutionStatus.NOT_INSTALLED: "Not installed",
    ExecutionStatus.NOT_CONNECTED: "Internal communication failure",
    ExecutionStatus.INVALID: "Cannot execute now",
    ExecutionStatus.NO_FENCE_DEVICE: "No fence device",
    ExecutionStatus.NO_SECRETS: "CIB secrets unavailable",
}
