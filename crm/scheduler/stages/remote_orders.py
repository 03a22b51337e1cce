"""Actions on remote and guest nodes wait for the connection, and the connection's stop waits for them."""

from __future__ import annotations

from typing import Final

from crm.scheduler.actions import key_of, request_fencing
from crm.scheduler.activity import current_node
from crm.scheduler.model import Action, NodeKind, Rel, Resource, Role, WorkingSet
from crm.scheduler.relations import order
from crm.scheduler.remote_state import ConnectionState, connection_state

_KNOWN_TASKS: Final = frozenset(
    {"start", "stop", "promote", "demote", "monitor", "migrate_to", "migrate_from"}
)


def order_remote_connections(work: WorkingSet) -> None:
    """For every action, newest first."""
    if not work.have_remote_nodes:
        return
    for action in reversed(list(work.actions)):
        resource = action.resource
        if resource is None:
            continue
        if action.task == "clear_failcount" and resource.is_remote_connection:
            order(
                work,
                resource,
                "",
                action,
                resource,
                key_of(resource.id, "start"),
                None,
                Rel.ORDERED,
            )
            continue
        node = action.node
        if node is None or node.kind is NodeKind.CLUSTER or node.connection is None or action.pseudo:
            continue
        if action.task == "start":
            for other in resource.actions_by_task.get("stop", ()):
                if other.node is not None and other.node is not node:
                    _before(work, node.connection, "start", other, Rel.ORDERED)
        if node.kind is NodeKind.GUEST:
            _behind_guest(work, action, node.connection)
        else:
            _behind_remote(work, action, node.connection)


def _before(work: WorkingSet, connection: Resource, task: str, action: Action, flags: int) -> None:
    """The connection's task before the action."""
    order(
        work,
        connection,
        key_of(connection.id, task),
        None,
        action.resource,
        "",
        action,
        flags | Rel.GUEST_ALLOWED,
    )


def _start_before(work: WorkingSet, connection: Resource, action: Action, flags: int) -> None:
    _before(work, connection, "start", action, flags | Rel.UNRUNNABLE_FIRST_BLOCKS)


def _before_stop(work: WorkingSet, connection: Resource, action: Action, flags: int) -> None:
    """The action before the connection's stop."""
    order(
        work,
        action.resource,
        "",
        action,
        connection,
        key_of(connection.id, "stop"),
        None,
        flags | Rel.GUEST_ALLOWED,
    )


def _behind_guest(work: WorkingSet, action: Action, connection: Resource) -> None:
    container = connection.launcher
    node = action.node
    assert node is not None
    failed = container is not None and container.failed
    if failed:
        request_fencing(work, node, "container failed")
    match action.task:
        case "start" | "promote":
            if container is not None:
                _start_before(work, container, action, Rel.FIRST_IMPLIES_THEN)
            _start_before(work, connection, action, 0)
        case "stop" | "demote" | "migrate_to" | "migrate_from":
            if not failed:
                _before_stop(work, connection, action, 0)
        case _:
            if action.interval_ms == 0:
                _start_before(work, connection, action, 0)
            elif action.task in _KNOWN_TASKS:
                _start_before(work, connection, action, Rel.FIRST_IMPLIES_THEN)


def _behind_remote(work: WorkingSet, action: Action, connection: Resource) -> None:
    node = action.node
    assert node is not None
    state = connection_state(node)
    match action.task:
        case "start" | "promote":
            flags = Rel.FIRST_IMPLIES_THEN if state is ConnectionState.FAILED else 0
            _start_before(work, connection, action, flags)
        case "stop" | "migrate_to" | "migrate_from":
            if state is ConnectionState.ALIVE:
                _before_stop(work, connection, action, Rel.THEN_IMPLIES_FIRST)
            elif state is ConnectionState.FAILED:
                request_fencing(work, node, "resources are active but connection is unrecoverable")
            elif connection.next_role is Role.STOPPED:
                _before_stop(work, connection, action, Rel.THEN_IMPLIES_FIRST)
            else:
                _start_before(work, connection, action, 0)
        case "demote":
            if state in {ConnectionState.RESTING, ConnectionState.UNKNOWN}:
                _start_before(work, connection, action, 0)
        case _:
            _other_behind_remote(work, action, connection, state)


def _other_behind_remote(
    work: WorkingSet, action: Action, connection: Resource, state: ConnectionState
) -> None:
    node = action.node
    assert node is not None
    if action.interval_ms > 0:
        _start_before(work, connection, action, Rel.FIRST_IMPLIES_THEN)
        return
    if action.task == "monitor" and state is ConnectionState.FAILED:
        reason = "resources are in unknown state and connection is unrecoverable"
        request_fencing(work, node, reason)
    elif state is ConnectionState.STOPPED and current_node(connection) is not None:
        _before_stop(work, connection, action, Rel.UNRUNNABLE_FIRST_BLOCKS)
    else:
        _start_before(work, connection, action, 0)
