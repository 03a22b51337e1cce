"""Actions of a primitive: restarts in place, changes of role, moves."""

from __future__ import annotations

from crm.scheduler.acting.migration import can_migrate, create_migration_actions
from crm.scheduler.acting.recurring import create_recurring_actions
from crm.scheduler.actions import actions_with_task, make_for_task, set_reason
from crm.scheduler.activity import clean_nodes, current_node
from crm.scheduler.model import MultipleActive, Node, Rel, Resource, Role, WorkingSet
from crm.scheduler.relations import order_actions
from crm.scheduler.unfencing import order_after_unfencing, unfence_action

_STOPPED, _STARTED = Role.STOPPED, Role.STARTED
_UNPROMOTED, _PROMOTED = Role.UNPROMOTED, Role.PROMOTED


def next_step(role: Role, target: Role) -> tuple[Role, str]:
    """(the next role on the way to the target, the task that leads there; "" for none)."""
    match role:
        case Role.UNKNOWN:
            return _STOPPED, "stop"
        case Role.STOPPED:
            return (_STARTED, "start") if target is _STARTED else (_UNPROMOTED, "start")
        case Role.STARTED:
            if target is _PROMOTED:
                return _PROMOTED, "promote"
            return (_UNPROMOTED, "") if target is _UNPROMOTED else (_STOPPED, "stop")
        case Role.UNPROMOTED:
            return (_PROMOTED, "promote") if target is _PROMOTED else (_STOPPED, "stop")
        case _:
            return _UNPROMOTED, "demote"


def create_primitive_actions(work: WorkingSet, resource: Resource) -> None:
    """All start, stop, promote, demote, migration and recurring actions."""
    if resource.next_role is Role.UNKNOWN:
        resource.next_role = _STOPPED if resource.assigned is None else _STARTED
    current = current_node(resource)
    for node in resource.dangling_sources:
        stop = make_for_task(work, resource, "stop", node, optional=False)
        stop.migration_abort = True
    target = resource.assigned_node
    moving = (
        current is not None
        and target is not None
        and current is not target
        and resource.next_role >= _STARTED
    )
    need_stop = moving
    migrate = moving and current is not None and can_migrate(resource, current)
    stop_by_state, migrate = _partial_or_multiple(resource, current, migrate=migrate)
    need_stop = need_stop or stop_by_state
    if resource.start_pending:
        start = make_for_task(work, resource, "start", target, optional=True)
        start.always_in_graph = True
    need_promote = False
    if not moving:
        if resource.failed:
            if resource.stop_if_failed:
                need_stop = True
            elif resource.next_role is _PROMOTED:
                need_promote = True
        elif resource.blocked:
            need_stop = True
        elif resource.orig_role > _STARTED and current is not None and target is not None:
            start = make_for_task(work, resource, "start", target, optional=True)
            need_stop = need_stop or not start.optional
    _restart(work, resource, current, need_stop=need_stop, need_promote=need_promote)
    role = resource.orig_role
    while role is not resource.next_role:
        role, task = next_step(role, resource.next_role)
        _step(work, resource, task, target, optional=False)
    create_recurring_actions(work, resource)
    if migrate:
        assert current is not None
        create_migration_actions(work, resource, current)


def _partial_or_multiple(resource: Resource, current: Node | None, *, migrate: bool) -> tuple[bool, bool]:
    """(whether a stop is needed, whether a live migration is possible)."""
    source, target = resource.partial_source, resource.partial_target
    if (
        source is not None
        and target is not None
        and migrate
        and len(resource.active_nodes) == 2
        and current is source
        and resource.assigned_node is target
    ):
        resource.stop_unexpected = False
        return False, migrate
    if source is not None or target is not None:
        resource.partial_source = resource.partial_target = None
        resource.stop_unexpected = False
        return True, False
    active = resource.active_nodes if resource.needs_fencing else clean_nodes(resource)
    resource.stop_unexpected = False
    if len(active) <= 1:
        return False, migrate
    if resource.multiple_active is MultipleActive.STOP_UNEXPECTED:
        resource.stop_unexpected = True
        return True, migrate
    return resource.multiple_active is MultipleActive.STOP_START, migrate


def _restart(
    work: WorkingSet, resource: Resource, current: Node | None, *, need_stop: bool, need_promote: bool
) -> None:
    """Down from the present role and up to it again; optional unless needed."""
    resource.restarting = True
    role = resource.orig_role
    while role is not _STOPPED:
        role, task = next_step(role, _STOPPED)
        _step(work, resource, task, current, optional=not need_stop)
    goal = resource.orig_role
    while Role.UNKNOWN < goal <= resource.next_role and role is not goal and not resource.blocked:
        role, task = next_step(role, goal)
        required = need_stop or (role is _PROMOTED and need_promote)
        _step(work, resource, task, resource.assigned_node, optional=not required)
    resource.restarting = False


def _is_expected(resource: Resource, node: Node | None) -> bool:
    """Where a multiply active resource is to stay untouched."""
    return (
        node is not None
        and resource.stop_unexpected
        and resource.restarting
        and resource.next_role > _STOPPED
        and resource.assigned_node is node
    )


def _step(work: WorkingSet, resource: Resource, task: str, node: Node | None, *, optional: bool) -> None:
    match task:
        case "start":
            _start(work, resource, node, optional=optional)
        case "stop":
            _stop(work, resource, optional=optional)
        case "promote":
            _promote(work, resource, node, optional=optional)
        case "demote":
            for one in resource.active_nodes:
                if not _is_expected(resource, one):
                    make_for_task(work, resource, "demote", one, optional=optional)
        case _:
            pass


def _stop(work: WorkingSet, resource: Resource, *, optional: bool) -> None:
    for node in list(resource.active_nodes):
        if _is_expected(resource, node):
            continue
        if resource.partial_target is not None:
            if node is resource.partial_target and node is resource.assigned_node:
                continue
            optional = False
        stop = make_for_task(work, resource, "stop", node, optional=optional)
        if resource.assigned is None:
            set_reason(stop, "node availability", overwrite=True)
        elif resource.restarting and resource.stop_unexpected:
            set_reason(stop, "being multiply active", overwrite=True)
        if not resource.managed:
            stop.runnable = False
        if resource.needs_unfencing:
            unfence = unfence_action(work, node, optional=True, reason="")
            order_actions(stop, unfence, Rel.THEN_IMPLIES_FIRST)


def _start(work: WorkingSet, resource: Resource, node: Node | None, *, optional: bool) -> None:
    start = make_for_task(work, resource, "start", node, optional=True)
    order_after_unfencing(work, resource, node, start, Rel.FIRST_IMPLIES_THEN)
    if start.runnable and not optional:
        start.optional = False
    if _is_expected(resource, node):
        start.pseudo = True


def _promote(work: WorkingSet, resource: Resource, node: Node | None, *, optional: bool) -> None:
    if node is None:
        return
    if all(start.runnable for start in actions_with_task(resource, "start", node)):
        promote = make_for_task(work, resource, "promote", node, optional=optional)
        if _is_expected(resource, node):
            promote.pseudo = True
        return
    for existing in actions_with_task(resource, "promote", node):
        existing.runnable = False
