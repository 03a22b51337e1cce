"""Node attributes, fail counts and failed actions: the sections that crm_mon and crm_simulate add. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from crm.scheduler import history
from crm.scheduler.failures import fail_count
from crm.scheduler.model import Node, WorkingSet
from crm.scheduler.scores import render
from crm.scheduler.values import natural_key

_HIDDEN: Final = ("#", "fail-count-", "last-failure-", "shutdown", "terminate", "standby", "maintenance")
RC_WORDS: Final = {
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
STATUS_WORDS: Final = {
    -1: "pending",
    0: "complete",
    1: "cancelled",
    2: "Timed Out",
    3: "Not supported",
    4: "Error",
    5: "Hard error",
    6: "No fence device",
    7: "Not installed",
    8: "Not connected",
    9: "Invalid",
}


def visible_attributes(node: Node) -> list[tuple[str, str]]:
    """Name and value of those that the cluster does not use itself, by name."""
    return sorted((name, value) for name, value in node.attributes.items() if not name.startswith(_HIDDEN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """How often a resource failed on a node; `last` as people write times, empty for never."""

    resource: str
    removed: bool
    threshold: int
    count: int
    last: str


def histories(work: WorkingSet) -> Iterator[tuple[Node, list[Failures]]]:
    """Nodes where something has a fail count."""
    for node in work.nodes:
        found: dict[str, Failures] = {}
        for top in work.resources:
            for one in top.primitives():
                count, last_s = fail_count(work, one, node, effective=False)
                name = one.id if one.unique else one.id.partition(":")[0]
                if count and name not in found:
                    last = _time(last_s) if last_s else ""
                    found[name] = Failures(
                        resource=name,
                        removed=one.removed,
                        threshold=one.migration_threshold,
                        count=count,
                        last=last,
                    )
        if found:
            yield node, list(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAction:
    """One line of "Failed Resource Actions"."""

    key: str
    node: str
    rc: int
    rc_text: str
    call: str
    status_text: str
    exit_reason: str
    changed_s: int | None
    queue_ms: str
    exec_ms: str
    interval_ms: int
    task: str


def failures(work: WorkingSet) -> list[FailedAction]:
    """The failed operations that count, by key and node."""
    found = [
        FailedAction(
            key=one.element.get("operation_key") or one.key,
            node=one.node.name,
            rc=one.rc,
            rc_text=RC_WORDS.get(one.rc, "unknown"),
            call=one.element.get("call-id"),
            status_text=STATUS_WORDS.get(history.status_of(one.element) or 0, "unknown"),
            exit_reason=one.element.get("exit-reason"),
            changed_s=history.last_change_s(one.element),
            queue_ms=one.element.get("queue-time", "0"),
            exec_ms=one.element.get("exec-time", "0"),
            interval_ms=history.interval_ms(one.element),
            task=history.task_of(one.element),
        )
        for one in work.failed_operations
        if not one.masked_probe
    ]
    return sorted(found, key=lambda one: (natural_key(one.key), natural_key(one.node)))


def attribute_lines(work: WorkingSet) -> Iterator[str]:
    """ "Node Attributes" with its heading; nothing where no node that is online has any."""
    heading = ["  * Node Attributes:"]
    for node in work.nodes:
        pairs = visible_attributes(node)
        if node.online and pairs:
            yield from heading
            heading.clear()
            yield f"    * Node: {node.name}:"
            yield from (f"      * {name:<32}\t: {value:<10}" for name, value in pairs)


def fail_count_lines(work: WorkingSet) -> Iterator[str]:
    """ "Migration Summary", with its heading, and the failed actions when there are any."""
    yield "  * Migration Summary:"
    for node, found in histories(work):
        yield f"    * Node: {node.name}:"
        for one in found:
            threshold = str(one.threshold) if one.threshold >= 1_000_000 else render(one.threshold)
            last = f" last-failure='{one.last}'" if one.last else ""
            counts = f"migration-threshold={threshold} fail-count={render(one.count)}"
            yield f"      * {one.resource}: {counts}{last}"
    failed = failures(work)
    if failed:
        yield ""
        yield "  * Failed Resource Actions:"
        yield from (f"    * {_failure_text(one)}" for one in failed)


def _failure_text(one: FailedAction) -> str:
    text = f"{one.key} on {one.node} '{one.rc_text}' ({one.rc}): call={one.call}, status='{one.status_text}'"
    if one.exit_reason:
        text += f", exitreason='{one.exit_reason}'"
    if one.changed_s is not None:
        text += f", last-rc-change='{_time(one.changed_s)}', queued={one.queue_ms}ms, exec={one.exec_ms}ms"
    return text


def _time(at_s: int) -> str:
    return time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(at_s))
