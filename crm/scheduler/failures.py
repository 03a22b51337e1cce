"""Failures: fail counts, their expiry, and what a failed operation leads to."""

from __future__ import annotations

import re
from typing import Final

from crm.cib.model import Element
from crm.scheduler import history, scores, values
from crm.scheduler.actions import fence_action, find_or_make, key_of
from crm.scheduler.checks import Difference, compare, needs_remote_name
from crm.scheduler.model import (
    Action,
    FailCounts,
    Node,
    ParameterCheck,
    Rel,
    Resource,
    Variant,
    WorkingSet,
)
from crm.scheduler.operations import parameters_for
from crm.scheduler.relations import order_actions

_ATTRIBUTE = re.compile(r"(fail-count|last-failure)-(.+)#[^#]+_\d+$")
_NUMBER = re.compile(r":\d+$")
NESTING_MAX: Final = 5  # containers within containers; a configured cycle ends here
_MASKED: Final = frozenset({5, 2})
_STATUS_NOT_INSTALLED: Final = 7
_NEVER_EXPIRE_PROBES: Final = frozenset({0, 7, 8, 190, 191})


def without_number(name: str) -> str:
    """The name of an instance without ":N"."""
    return _NUMBER.sub("", name)


def failure_name(resource: Resource) -> str:
    """The name under which a resource's failures are counted."""
    name = resource.history_id or resource.id
    return name if resource.unique else without_number(name)


def _counts_of(work: WorkingSet, node: Node) -> FailCounts:
    found = work.fail_counts.get(node.id)
    if found is not None:
        return found
    found = FailCounts()
    for attribute, value in node.attributes.items():
        match = _ATTRIBUTE.match(attribute)
        if match is None:
            continue
        name = match[2]
        for table, key in ((found.exact, name), (found.without_number, without_number(name))):
            count, last = table.get(key, (0, 0))
            if match[1] == "fail-count":
                count = scores.add(count, scores.parse(value))
            else:
                last = max(last, values.integer(value))
            table[key] = (count, last)
    work.fail_counts[node.id] = found
    return found


def node_has_failures(work: WorkingSet, node: Node) -> bool:
    """True if some resource has a fail count there."""
    return any(count > 0 for count, _ in _counts_of(work, node).exact.values())


def fail_count(
    work: WorkingSet,
    resource: Resource,
    node: Node,
    *,
    effective: bool,
    launched: bool = False,
    entry: Element | None = None,
    depth: int = 0,
) -> tuple[int, int]:
    """(count, time of the last failure); with `effective` an expired count is 0."""
    counts = _counts_of(work, node)
    table = counts.exact if resource.unique else counts.without_number
    count, last = table.get(failure_name(resource), (0, 0))
    if count > 0 and resource.failure_timeout_ms > 0 and _blocks(work, resource, node, entry):
        resource.failure_timeout_ms = 0
    timeout_s = values.seconds(resource.failure_timeout_ms)
    if effective and last > 0 and timeout_s > 0 and work.now_s > last + timeout_s:
        count = 0
    if launched and resource.launched and depth < NESTING_MAX and not resource.is_in_bundle():
        for one in resource.launched:
            more = fail_count(work, one, node, effective=effective, launched=True, depth=depth + 1)
            count = scores.add(count, more[0])
    return count, last


def _blocks(work: WorkingSet, resource: Resource, node: Node, entry: Element | None) -> bool:
    name = without_number(resource.history_id or resource.id)
    for operation in resource.operations:
        if operation.element.attributes.get("on-fail") != "block":
            continue
        if entry is not None:
            entries: tuple[Element, ...] = (entry,)
        else:
            found = work.histories.get((node.name, name)) or work.histories.get((node.name, resource.id))
            entries = found.all("lrm_rsc_op") if found is not None else ()
        for item in entries:
            if _is_matched_failure(name, operation.name, operation.interval_ms, item):
                return True
    return False


def _is_matched_failure(name: str, task: str, interval_ms: int, item: Element) -> bool:
    if history.task_of(item) != task or history.interval_ms(item) != interval_ms:
        return False
    if item.id == key_of(name, "last_failure"):
        return True
    return item.id == key_of(name, task, interval_ms) and history.rc_of(item) != history.expected_rc(item)


def is_masked_probe(item: Element) -> bool:
    """A probe whose failure only means that the resource cannot run there."""
    if not history.is_probe(item):
        return False
    return history.rc_of(item) in _MASKED or history.status_of(item) == _STATUS_NOT_INSTALLED


def clear_fail_count(work: WorkingSet, resource: Resource, node: Node, reason: str) -> Action:
    """Schedule the clearing of a fail count."""
    action = find_or_make(
        work, resource, key_of(resource.id, "clear_failcount"), "clear_failcount", node, optional=False
    )
    action.meta["op_no_wait"] = "true"
    action.reason = reason
    return action


def check_expiry(work: WorkingSet, resource: Resource, node: Node, item: Element) -> bool:
    """True if this entry is a failure too old to matter; may schedule the clearing of the fail count."""
    if history.status_of(item) == _STATUS_NOT_INSTALLED:
        return False
    is_last_failure = item.id.endswith("_last_failure_0")
    task, interval = history.task_of(item), history.interval_ms(item)
    timeout_s = values.seconds(resource.failure_timeout_ms)
    ran = history.last_change_s(item)
    expired = False
    unexpired_count = 0
    if timeout_s > 0 and ran is not None:
        if work.now_s >= ran + timeout_s and not _timeout_ignored(work, resource, task, interval):
            expired = True
        unexpired_count, last = fail_count(work, resource, node, effective=True, entry=item)
        if unexpired_count:
            work.recheck(last + timeout_s + 1)
    reason = ""
    if expired:
        if fail_count(work, resource, node, effective=False, entry=item)[0]:
            if unexpired_count == 0:
                reason = "it expired"
            else:
                expired = False
        elif is_last_failure and resource.reconnect_interval_ms:
            reason = "reconnect interval is set"
    if not expired and is_last_failure and _parameters_changed(work, resource, node, item, task):
        reason = "resource parameters have changed"
    if reason:
        action = clear_fail_count(work, resource, node, reason)
        if work.options.fencing_enabled and resource.reconnect_interval_ms:
            _after_remote_fencing(work, action, resource)
    if expired and task == "monitor" and interval == 0 and history.rc_of(item) in _NEVER_EXPIRE_PROBES:
        expired = False
    return expired


def _timeout_ignored(work: WorkingSet, resource: Resource, task: str, interval_ms: int) -> bool:
    if not (resource.reconnect_interval_ms and work.options.fencing_enabled):
        return False
    if task != "monitor" or interval_ms == 0:
        return False
    node = work.nodes_by_name.get(resource.id)
    return node is not None and not node.remote_was_fenced


def _parameters_changed(work: WorkingSet, resource: Resource, node: Node, item: Element, task: str) -> bool:
    if task not in {"start", "monitor"}:
        return False
    if needs_remote_name(resource) and parameters_for(work, resource, node).get("addr") == "#uname":
        work.parameter_checks.append(ParameterCheck(resource, node, item, failed=True))
        return False
    return compare(work, resource, item, node).difference not in {
        Difference.SAME,
        Difference.UNKNOWN,
    }


def _after_remote_fencing(work: WorkingSet, action: Action, resource: Resource) -> None:
    node = work.nodes_by_name.get(resource.id)
    if node is not None:
        fencing = fence_action(work, node, "", optional=True, reason="")
        order_actions(fencing, action, Rel.FIRST_IMPLIES_THEN)


def threshold_reached(work: WorkingSet, resource: Resource, node: Node) -> Resource | None:
    """What has to be banned from a node for its failures: the resource or its whole clone, or nothing."""
    assert resource.variant is Variant.PRIMITIVE
    if resource.failure_ignored or resource.migration_threshold == 0:
        return None
    for action in resource.actions_by_task.get("clear_failcount", ()):
        if action.node is node:
            return None
    count = fail_count(work, resource, node, effective=True, launched=True)[0]
    if count <= 0 or count < resource.migration_threshold:
        return None
    return resource if resource.unique else resource.top()
