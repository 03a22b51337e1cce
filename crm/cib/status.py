"""The `<status>` section in Pacemaker's form: membership, operation history and transient attributes.

Also the rules for the attributes that count failures (`fail-count-RSC#TASK_INTERVAL`, `last-failure-...`).
What one operation looks like is in `history.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from crm.cib.history import failed, recorded_task
from crm.cib.model import Element
from hacluster.digits import is_count
from hacluster.vocabulary.operation import OperationResult

INFINITY_SCORE: Final = 1_000_000
INFINITY: Final = "INFINITY"
FAIL_COUNT: Final = "fail-count-"
LAST_FAILURE: Final = "last-failure-"
BOOT: Final = "boot-token"
"""Our own attribute of <node_state>: that a node is down is said of one boot of it."""
FENCED_BY: Final = "fenced-by"
"""As BOOT: which devices (or who) confirmed that this boot is over."""
LIED: Final = "fenced-yet-alive"
"""As FENCED_BY, when the node has been heard in that boot since."""
FORGIVEN: Final = "fenced-yet-let-in"
"""As LIED, when an operator has let it in all the same."""
SHUTDOWN: Final = "shutdown"
"""Transient attribute of a node that wants to leave: seconds since 1970, "0" or absent otherwise."""

_NOT_IN_AN_ID: Final = re.compile(r"[^A-Za-z0-9_.-]")
_COUNTED_ONCE: Final = frozenset({"promote", "demote"})


class Join(StrEnum):
    """How far a node has come with the DC."""

    MEMBER = "member"
    PENDING = "pending"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What the status section says of one node. Instants are wall clock, whole seconds; 0: it is not.

    `member_since_s`: in the membership view (in_ccm). `online_since_s`: it can run operations (crmd).
    `expected_up`: it did not leave cleanly. `held`: nothing may be started there and nothing of its be
    recovered, because its LRM has not answered yet. `boot_token`: of the boot this is about. `fenced_by`:
    what confirmed that it is over; `lied`: and was wrong; `forgiven`: and was let in all the same.
    """

    id: str
    name: str
    member_since_s: int = 0
    online_since_s: int = 0
    join: Join = Join.DOWN
    expected_up: bool = False
    held: bool = False
    boot_token: str = ""
    fenced_by: tuple[str, ...] = ()
    lied: bool = False
    forgiven: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    resources: tuple[Element, ...] = ()


def status_section(
    nodes: Iterable[NodeFacts], *, for_scheduler: bool = False, tickets: Element | None = None
) -> Element:
    """The `<status>` element.

    A held node is shown as pending. For the scheduler it is in maintenance instead: what it is thought to
    run counts as running there, whether fencing is enabled or not.
    """
    states = tuple(_node_state(node, for_scheduler) for node in nodes)
    return Element("status", {}, states if tickets is None else (*states, tickets))


def _node_state(node: NodeFacts, for_scheduler: bool) -> Element:
    join, attributes = node.join, node.attributes
    if node.held:
        join = Join.PENDING
        if for_scheduler:
            join, attributes = Join.MEMBER, {**attributes, "maintenance": "true"}
    children = []
    if node.resources:
        children.append(Element("lrm", {"id": node.id}, (Element("lrm_resources", {}, node.resources),)))
    if attributes:
        children.append(transient_attributes(node.id, attributes))
    described = {
        "id": node.id,
        "uname": node.name,
        "in_ccm": str(node.member_since_s),
        "crmd": str(node.online_since_s),
        "crm-debug-origin": "status_section",
        "join": join.value,
        "expected": "member" if node.expected_up else "down",
    }
    if node.boot_token:
        described[BOOT] = node.boot_token[:16]
    if node.fenced_by:
        what = LIED if node.lied else FORGIVEN if node.forgiven else FENCED_BY
        described[what] = " ".join(node.fenced_by)
    return Element("node_state", described, tuple(children))


def transient_attributes(node_id: str, attributes: Mapping[str, str]) -> Element:
    """The `<transient_attributes>` of one node, by name."""
    pairs = tuple(
        Element(
            "nvpair",
            {"id": f"status-{node_id}-{_NOT_IN_AN_ID.sub('.', name)}", "name": name, "value": value},
        )
        for name, value in sorted(attributes.items())
    )
    inner = Element("instance_attributes", {"id": f"status-{node_id}"}, pairs)
    return Element("transient_attributes", {"id": node_id}, (inner,))


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureOffsets:
    """What a failed start or stop sets the fail count to: INFINITY, or "1" for counting one up."""

    start: str = INFINITY
    stop: str = INFINITY


def failure_names(resource: str, task: str, interval_ms: int) -> tuple[str, str]:
    """The names of the fail-count and the last-failure attribute of one operation."""
    operation = f"{resource}#{task}_{interval_ms}"
    return f"{FAIL_COUNT}{operation}", f"{LAST_FAILURE}{operation}"


def failure_of(attribute: str) -> tuple[str, str, int] | None:
    """The resource, task and interval that a fail-count or last-failure attribute is about; else None."""
    for prefix in (FAIL_COUNT, LAST_FAILURE):
        if attribute.startswith(prefix):
            resource, _, operation = attribute.removeprefix(prefix).rpartition("#")
            task, _, interval = operation.rpartition("_")
            if resource and task and is_count(interval):
                return resource, task, int(interval)
    return None


def counts(task: str, interval_ms: int) -> bool:
    """Whether failures of this operation are counted: not those of probes, migrations and notifications."""
    return interval_ms > 0 or task in _COUNTED_ONCE or task in ("start", "stop")


def failure_changes(
    result: OperationResult,
    attributes: Mapping[str, str],
    *,
    now_s: int,
    offsets: FailureOffsets,
) -> dict[str, str]:
    """Attributes to set for a failed result, as Pacemaker's controller does; empty when it is none.

    With on-fail=ignore only the time of the failure is kept. The time is never before the failure's own, so
    that a later DC with another clock does not count it again.
    """
    operation = result.operation
    task = recorded_task(result)
    if not failed(result) or not counts(task, operation.interval_ms):
        return {}
    count_name, time_name = failure_names(operation.resource, task, operation.interval_ms)
    changes = {time_name: str(max(now_s, result.last_change_s))}
    if operation.meta.get("on_fail") != "ignore":
        changes[count_name] = _counted(
            attributes.get(count_name, "0"), _offset(task, operation.interval_ms, offsets)
        )
    return changes


def uncounted_failures(
    failures: Iterable[Element], attributes: Mapping[str, str], offsets: FailureOffsets
) -> dict[str, str]:
    """Attributes to set for failures in a history that no DC has counted: none saw them happen."""
    changes: dict[str, str] = {}
    for entry in failures:
        resource = entry.id.removesuffix("_last_failure_0")
        task, interval_ms = entry.get("operation"), int(entry.get("interval", "0"))
        count_name, time_name = failure_names(resource, task, interval_ms)
        happened_s = int(entry.get("last-rc-change", "0"))
        if counts(task, interval_ms) and _number(attributes.get(time_name, "0")) < happened_s:
            changes[time_name] = str(happened_s)
            changes[count_name] = _counted(
                attributes.get(count_name, "0"), _offset(task, interval_ms, offsets)
            )
    return changes


def failure_attributes(
    attributes: Mapping[str, str], resource: str, task: str = "", interval_ms: int = 0
) -> tuple[str, ...]:
    """The names of attributes that count failures of a resource (or only of one of its operations)."""
    if task:
        wanted = failure_names(resource, task, interval_ms)
        return tuple(name for name in wanted if name in attributes)
    prefixes = (f"{FAIL_COUNT}{resource}#", f"{LAST_FAILURE}{resource}#")
    return tuple(name for name in sorted(attributes) if name.startswith(prefixes))


def _offset(task: str, interval_ms: int, offsets: FailureOffsets) -> str:
    if interval_ms == 0 and task == "start":
        return offsets.start
    if interval_ms == 0 and task == "stop":
        return offsets.stop
    return "1"


def _counted(before: str, offset: str) -> str:
    if offset.lstrip("+").upper() == INFINITY or before.lstrip("+").upper() == INFINITY:
        return INFINITY
    total = _number(before) + 1
    return INFINITY if total >= INFINITY_SCORE else str(total)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return INFINITY_SCORE if text.lstrip("+").upper() == INFINITY else 0


def history_of(status: Element, node: str) -> tuple[Element, ...]:
    """The `<lrm_resource>` elements of a node in a status section."""
    for state in status.all("node_state"):
        if state.get("uname") == node:
            resources = state.path("lrm", "lrm_resources")
            return resources.all("lrm_resource") if resources is not None else ()
    return ()
