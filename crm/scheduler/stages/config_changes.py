"""Configuration changed since an operation was run: restart, reload, reschedule, cancel, clean up."""

from __future__ import annotations

from collections.abc import Sequence

from crm.cib.model import Element
from crm.scheduler import checks, history, operations
from crm.scheduler.actions import find_or_make, key_of, make_for_task, set_reason, set_task
from crm.scheduler.activity import is_available
from crm.scheduler.basic_actions import stop_on
from crm.scheduler.checks import Difference, needs_remote_name
from crm.scheduler.failures import clear_fail_count, fail_count
from crm.scheduler.model import Action, Node, ParameterCheck, Rel, Resource, WorkingSet
from crm.scheduler.readings import Reading
from crm.scheduler.relations import order
from crm.scheduler.unfencing import trigger_unfencing

_START_LIKE = frozenset({"monitor", "start", "promote", "migrate_from"})
_CHANGED = "resource definition change"


class _Namesakes:
    """The primitives one history is about: all instances of an anonymous clone have the same."""

    __slots__ = ("_active", "_agents", "_all", "_removed")

    def __init__(self) -> None:
        self._all: list[Resource] = []
        self._active: dict[Node, list[Resource]] = {}
        self._agents: set[tuple[str, str, str]] = set()
        self._removed = False

    def add(self, resource: Resource) -> None:
        """One more; the order stays."""
        self._all.append(resource)
        for node in resource.active_nodes:
            self._active.setdefault(node, []).append(resource)
        self._agents.add((resource.agent_class, resource.provider, resource.agent_type))
        self._removed |= resource.removed

    def concerned(self, reading: Reading, node: Node) -> Sequence[Resource]:
        """Those for which a history on a node may mean something: all, or those that are active there."""
        if self._removed or self._agents != {reading.agent}:
            return self._all
        return self._active.get(node, ())


def handle_config_changes(work: WorkingSet) -> None:
    """Compare each usable node's history with the configuration."""
    by_name: dict[str, _Namesakes] = {}
    for resource in work.all_resources():
        if not resource.is_primitive:
            continue
        for name in {resource.id: None, resource.history_id or resource.id: None}:
            found_by = by_name.get(name)
            if found_by is None:
                found_by = by_name[name] = _Namesakes()
            found_by.add(resource)
    states: dict[str, Element] = {}
    status = work.cib.child("status")
    for state in status.all("node_state") if status is not None else ():
        states.setdefault(state.get("uname"), state)
    for node in list(work.nodes):
        if not node.maintenance and not is_available(node):
            continue
        found = states.get(node.name)
        section = found.path("lrm", "lrm_resources") if found is not None else None
        for item in section.all("lrm_resource") if section is not None else ():
            reading = work.readings.of(item)
            if not reading.entries:
                continue
            namesakes = by_name.get(item.id)
            for resource in namesakes.concerned(reading, node) if namesakes is not None else ():
                _compare_history(work, resource, node, reading)


def _compare_history(work: WorkingSet, resource: Resource, node: Node, reading: Reading) -> None:
    if resource.removed:
        top = resource.top()
        if not (top.is_clone and not top.unique):
            schedule_cleanup(work, resource, node, optional=False)
        return
    changed = reading.agent != (resource.agent_class, resource.provider, resource.agent_type)
    active = node in resource.active_nodes
    if changed:
        trigger_unfencing(work, resource, node, "Device definition changed", None)
        if active:
            stop_on(work, resource, node, optional=False)
            resource.start_pending = True
        schedule_cleanup(work, resource, node, optional=False)
    if not active:
        return
    if reading.start < reading.stop:
        return
    for facts in reading.entries[max(0, reading.start) :]:
        _check_entry(work, resource, node, facts.item)


def _check_entry(work: WorkingSet, resource: Resource, node: Node, entry: Element) -> None:
    task, interval = history.task_of(entry), history.interval_ms(entry)
    if interval > 0 and (resource.maintenance or node.maintenance):
        cancel_by_history(work, resource, node, entry, task, interval, "maintenance mode")
        return
    if interval == 0 and task not in _START_LIKE:
        return
    if needs_remote_name(resource):
        work.parameter_checks.append(ParameterCheck(resource, node, entry, failed=False))
        return
    check_definition(work, resource, node, entry)


def check_definition(work: WorkingSet, resource: Resource, node: Node, entry: Element) -> None:
    """Act on a changed definition; a fail count is then cleared, too."""
    changed = _definition_changed(work, resource, node, entry)
    if changed and fail_count(work, resource, node, effective=True)[0] > 0:
        clear_fail_count(work, resource, node, "action definition changed")


def _definition_changed(work: WorkingSet, resource: Resource, node: Node, entry: Element) -> bool:
    task, interval = history.task_of(entry), history.interval_ms(entry)
    if interval > 0 and operations.find_operation(resource, task, interval, include_disabled=False) is None:
        if work.options.cancel_removed_actions:
            cancel_by_history(work, resource, node, entry, task, interval, "orphan")
        return True  # what is no longer configured counts as changed, whether it is cancelled or not
    task = checks.start_like_task(task, interval)
    match checks.compare(work, resource, entry, node).difference:
        case Difference.SAME | Difference.PRIVATE_ONLY:
            return False
        case Difference.RESTART:
            _force_restart(work, resource, node, task, interval)
        case _:
            if interval > 0:
                key = key_of(resource.id, task, interval)
                action = find_or_make(work, resource, key, task, node, optional=True)
                action.reschedule = True
                reason = "Device parameters changed (reschedule)"
                trigger_unfencing(work, resource, node, reason, None)
            elif "op-restart-digest" in entry.attributes:
                schedule_reload(work, resource, node)
            else:
                _force_restart(work, resource, node, task, interval)
    return True


def _force_restart(work: WorkingSet, resource: Resource, node: Node, task: str, interval: int) -> None:
    key = key_of(resource.id, task, interval)
    action = find_or_make(work, resource, key, task, None, optional=False)
    set_reason(action, _CHANGED, overwrite=True)
    trigger_unfencing(work, resource, node, "Device parameters changed", None)


def schedule_reload(work: WorkingSet, resource: Resource, node: Node) -> None:
    """Have the agent take changed parameters without a restart."""
    if not resource.managed or resource.failed:
        return
    if resource.start_pending:
        stop_on(work, resource, node, optional=False)
        return
    resource.reload = True
    trigger_unfencing(work, resource, node, "Device parameters changed (reload)", None)
    reload = make_for_task(work, resource, "reload-agent", node, optional=False)
    set_reason(reload, _CHANGED)
    flags = Rel.ORDERED | Rel.THEN_CANCELS_FIRST
    order(work, None, "", reload, resource, key_of(resource.id, "stop"), None, flags)
    order(work, None, "", reload, resource, key_of(resource.id, "demote"), None, flags)


def schedule_cleanup(work: WorkingSet, resource: Resource, node: Node, *, optional: bool) -> None:
    """Have the resource's history and registration on a node removed."""
    if resource.failed or node.unclean or not node.online:
        return
    delete = make_for_task(work, resource, "delete", node, optional=optional)
    flags = Rel.FIRST_IMPLIES_THEN if optional else Rel.ORDERED
    order(work, resource, key_of(resource.id, "stop"), None, resource, "", delete, flags)
    order(work, resource, "", delete, resource, key_of(resource.id, "start"), None, flags)


def cancel_operation(work: WorkingSet, resource: Resource, node: Node, task: str, interval_ms: int) -> Action:
    """Turn a recurring operation into its cancellation."""
    key = key_of(resource.id, task, interval_ms)
    action = find_or_make(work, resource, key, task, node, optional=False)
    set_task(action, "cancel")
    action.cancel_task = task
    action.optional = False
    action.meta["operation"] = task
    action.meta["interval"] = str(interval_ms)
    return action


def cancel_by_history(
    work: WorkingSet,
    resource: Resource,
    node: Node,
    entry: Element,
    task: str,
    interval_ms: int,
    reason: str,
) -> None:
    """Cancel an operation found in the history, after a stop."""
    action = cancel_operation(work, resource, node, task, interval_ms)
    set_reason(action, reason)
    action.meta["call_id"] = entry.get("call-id")
    order(work, resource, key_of(resource.id, "stop"), None, resource, "", action, Rel.ORDERED)


def run_parameter_checks(work: WorkingSet) -> None:
    """The comparisons that had to wait until containers had their nodes."""
    pending, work.parameter_checks = work.parameter_checks, []
    for one in pending:
        if not one.failed:
            check_definition(work, one.resource, one.node, one.element)
            continue
        difference = checks.compare(work, one.resource, one.element, one.node).difference
        if difference not in {Difference.SAME, Difference.UNKNOWN}:
            clear_fail_count(work, one.resource, one.node, "resource parameters have changed")
