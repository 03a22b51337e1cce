"""Recurring operations: those for the role to be run, others are cancelled."""

from __future__ import annotations

from typing import Final

from crm.scheduler.actions import find_or_make, key_of, make_for_task
from crm.scheduler.model import Action, Node, Operation, Rel, Resource, Role, WorkingSet
from crm.scheduler.relations import order
from crm.scheduler.roles import parse_role
from crm.scheduler.stages.config_changes import cancel_operation

_CANNOT_RECUR: Final = frozenset(
    {"start", "stop", "promote", "demote", "reload-agent", "migrate_to", "migrate_from"}
)
_NOT_RUNNING: Final = "7"
_PROMOTED: Final = "8"
_AFTER: Final = Rel.FIRST_IMPLIES_THEN | Rel.UNRUNNABLE_FIRST_BLOCKS


def create_recurring_actions(work: WorkingSet, resource: Resource) -> None:
    """For each valid configured recurring operation."""
    if resource.blocked or resource.maintenance:
        return
    node = resource.assigned_node
    start: Action | None = None
    here = (
        node is not None
        and not node.maintenance
        and (resource.next_role is not Role.STOPPED or not resource.managed)
    )
    if here:
        start = make_for_task(work, resource, "start", node, optional=True)
    for operation in resource.operations:
        if not _is_recurring(resource, operation):
            continue
        if here and start is not None and node is not None:
            _while_active(work, resource, operation, node, start)
        if parse_role(operation.role) is Role.STOPPED:
            _while_inactive(work, resource, operation)


def _is_recurring(resource: Resource, operation: Operation) -> bool:
    if operation.interval_ms == 0 or not operation.enabled or operation.name in _CANNOT_RECUR:
        return False
    if operation.role and parse_role(operation.role) is Role.UNKNOWN:
        return False
    same = [
        one
        for one in resource.operations
        if one.name == operation.name and one.interval_ms == operation.interval_ms
    ]
    return len(same) == 1


def _key(resource: Resource, operation: Operation) -> str:
    return key_of(resource.id, operation.name, operation.interval_ms)


def _running(resource: Resource, operation: Operation, node: Node) -> list[Action]:
    return [one for one in resource.actions_by_key.get(_key(resource, operation), ()) if one.node is node]


def _wanted_role(resource: Resource, operation: Operation) -> bool:
    role = parse_role(operation.role)
    if role is Role.UNKNOWN:
        return resource.next_role is not Role.PROMOTED
    return role is resource.next_role


def _while_active(
    work: WorkingSet, resource: Resource, operation: Operation, node: Node, start: Action
) -> None:
    if parse_role(operation.role) is Role.STOPPED:
        return
    running = _running(resource, operation, node)
    optional = bool(running) and start.optional and not any(one.reschedule for one in running)
    if not _wanted_role(resource, operation):
        if optional:
            _cancel_for_role(work, resource, operation, node)
        return
    action = find_or_make(work, resource, _key(resource, operation), operation.name, node, optional=optional)
    if not start.runnable or not node.online or node.unclean:
        action.runnable = False
    if resource.next_role is Role.PROMOTED:
        action.meta["op_target_rc"] = _PROMOTED
    if not resource.managed:
        return
    order(work, resource, key_of(resource.id, "start"), None, resource, "", action, _AFTER)
    order(work, resource, key_of(resource.id, "reload-agent"), None, resource, "", action, _AFTER)
    flags = Rel.ORDERED | Rel.UNRUNNABLE_FIRST_BLOCKS
    if resource.next_role is Role.PROMOTED:
        order(work, resource, key_of(resource.id, "promote"), None, resource, "", action, flags)
    elif resource.orig_role is Role.PROMOTED:
        order(work, resource, key_of(resource.id, "demote"), None, resource, "", action, flags)


def _cancel_for_role(work: WorkingSet, resource: Resource, operation: Operation, node: Node) -> None:
    action = cancel_operation(work, resource, node, operation.name, operation.interval_ms)
    then = ""
    if resource.orig_role in {Role.STARTED, Role.UNPROMOTED}:
        if resource.next_role is Role.PROMOTED:
            then = "promote"
        elif resource.next_role is Role.STOPPED:
            then = "stop"
    elif resource.orig_role is Role.PROMOTED:
        then = "demote"
    if then:
        order(
            work,
            resource,
            "",
            action,
            resource,
            key_of(resource.id, then),
            None,
            Rel.UNRUNNABLE_FIRST_BLOCKS,
        )


def _while_inactive(work: WorkingSet, resource: Resource, operation: Operation) -> None:
    if not resource.unique:
        return
    for node in work.nodes:
        running = _running(resource, operation, node)
        if node is resource.assigned_node:
            if running:
                action = cancel_operation(work, resource, node, operation.name, operation.interval_ms)
                order(
                    work,
                    resource,
                    "",
                    action,
                    resource,
                    key_of(resource.id, "start"),
                    None,
                    Rel.UNRUNNABLE_FIRST_BLOCKS,
                )
            continue
        _monitor_stopped(work, resource, operation, node, optional=bool(running))


def _monitor_stopped(
    work: WorkingSet, resource: Resource, operation: Operation, node: Node, *, optional: bool
) -> None:
    action = find_or_make(work, resource, _key(resource, operation), operation.name, node, optional=optional)
    action.meta["op_target_rc"] = _NOT_RUNNING
    if resource.managed:
        for probe in resource.actions_by_key.get(key_of(resource.id, "monitor"), ()):
            if probe.node is node:
                order(work, resource, "", probe, resource, "", action, Rel.UNRUNNABLE_FIRST_BLOCKS)
    for stop in resource.actions_by_key.get(key_of(resource.id, "stop"), ()):
        if stop.node is not node:
            continue
        if not stop.runnable:
            action.runnable = False
        if resource.managed:  # also after a stop that only later turns out to be needed
            order(work, resource, "", stop, resource, "", action, _AFTER)
        elif not stop.optional:
            action.optional = True
    if not node.online or node.unclean:
        action.runnable = False
