"""Fencing and shutdown actions, and what has to wait for them or is implied by them."""

from __future__ import annotations

from crm.scheduler.acting.notifications import notify_implied_stop
from crm.scheduler.actions import can_fence, fence_action, find_or_make, first_with_task
from crm.scheduler.activity import is_clean
from crm.scheduler.model import Action, Needs, Node, NodeKind, Rel, Resource, WorkingSet
from crm.scheduler.relations import order, order_actions


def schedule_fencing_and_shutdowns(work: WorkingSet) -> None:
    """For each node in order; the DC comes last."""
    managed = any(one.managed for one in work.all_resources())
    fencings: list[Action] = []
    shutdowns: list[Action] = []
    dc_down: Action | None = None
    for node in list(work.nodes):
        if node.kind is NodeKind.GUEST:
            if node.remote_reset and managed and can_fence(work, node):
                _fence_guest(work, node)
            continue
        if node.unclean and managed and can_fence(work, node):
            action = fence_action(work, node, "", optional=False, reason="node is unclean")
            order_against_fencing(work, node, action)
            if node.is_dc:
                dc_down = action
            else:
                _chain(work, fencings, action)
        elif node.online and node.shutdown and node.kind is NodeKind.CLUSTER:
            action = _shut_down(work, node)
            if node.is_dc:
                dc_down = action
            else:
                shutdowns.append(action)
    if dc_down is None:
        return
    if dc_down.task == "do_shutdown":
        for one in shutdowns:
            order_actions(one, dc_down, Rel.ORDERED)
    if work.options.concurrent_fencing or dc_down.task == "do_shutdown":
        for one in fencings:
            order_actions(one, dc_down, Rel.ORDERED)
    elif fencings:
        order_actions(fencings[-1], dc_down, Rel.ORDERED)


def _chain(work: WorkingSet, fencings: list[Action], action: Action) -> None:
    if not work.options.concurrent_fencing and fencings:
        order_actions(fencings[-1], action, Rel.ORDERED)
    fencings.append(action)


def _shut_down(work: WorkingSet, node: Node) -> Action:
    action = find_or_make(work, None, f"do_shutdown-{node.name}", "do_shutdown", node, optional=False)
    action.meta["op_no_wait"] = "true"
    for one in reversed(work.actions):
        resource = one.resource
        if one.task != "stop" or resource is None or one.node is not node:
            continue
        if resource.maintenance or node.maintenance:
            continue
        if not resource.managed and not resource.blocked:
            continue
        one.optional = False
        order(work, resource, "", one, None, "", action, Rel.ORDERED | Rel.UNRUNNABLE_FIRST_BLOCKS)
    return action


# --- guests


def _fence_guest(work: WorkingSet, node: Node) -> None:
    container = node.launcher
    stop: Action | None = None
    kind = "off"
    if container is not None:
        stop = first_with_task(container, "stop")
        if container.actions_by_task.get("start"):
            kind = "reboot"
    fencing = fence_action(work, node, kind, optional=False, reason="guest is unclean")
    fencing.pseudo = True
    fencing.runnable = True
    fencing.optional = False
    flags = Rel.UNRUNNABLE_FIRST_BLOCKS | Rel.FIRST_IMPLIES_THEN
    if stop is not None and stop.pseudo and stop.node is not None:
        parent = fence_action(work, stop.node, "", optional=False, reason="")
        order_actions(parent, fencing, flags)
    elif stop is not None:
        order_actions(stop, fencing, flags)
    elif node.connection is not None:
        leaving = first_with_task(node.connection, "stop")
        if leaving is not None:
            order_actions(leaving, fencing, Rel.ORDERED)
    order_against_fencing(work, node, fencing)


# --- what fencing means for actions


def order_against_fencing(work: WorkingSet, node: Node, fencing: Action) -> None:
    """Order all managed resources' actions against the fencing of a node."""
    for top in work.resources:
        for resource in top.primitives():
            if resource.managed:
                _order_starts(resource, node, fencing)
                _imply_stops(work, resource, node, fencing)


def _order_starts(resource: Resource, node: Node, fencing: Action) -> None:
    for action in reversed(resource.actions):
        if action.needs is Needs.FENCING:
            order_actions(fencing, action, Rel.ORDERED)
        elif (
            action.needs is Needs.QUORUM
            and action.task == "start"
            and node.id in resource.allowed
            and not _known_on(resource, node)
        ):
            order_actions(fencing, action, Rel.ORDERED | Rel.UNRUNNABLE_FIRST_BLOCKS)


def _known_on(resource: Resource, node: Node) -> bool:
    if node.id in resource.probed_nodes:
        return True
    if resource.unique:
        return False
    parent = resource.parent
    while parent is not None:
        if node.id in parent.probed_nodes:
            return True
        parent = parent.parent
    return False


def _imply_stops(work: WorkingSet, resource: Resource, node: Node, fencing: Action) -> None:
    top = resource.top()
    order_implicit = resource.needs_fencing or node.kind is NodeKind.GUEST
    bundled = resource.is_in_bundle()
    for action in [one for one in resource.actions_by_task.get("stop", ()) if one.node is node][::-1]:
        action.pseudo = True
        action.runnable = True
        if order_implicit:
            if not bundled:
                order_actions(fencing, action, Rel.GUEST_ALLOWED)
            parent_stop = _first_stop(top)
            if parent_stop is not None:
                order_actions(fencing, parent_stop, Rel.GUEST_ALLOWED)
        if resource.notify:
            notify_implied_stop(work, resource, action, fencing)
    for action in [one for one in resource.actions_by_task.get("demote", ()) if one.node is node][::-1]:
        if is_clean(node) and not resource.failed:
            continue
        action.pseudo = True
        action.runnable = True
        if bundled:
            continue
        if order_implicit:
            order_actions(fencing, action, Rel.GUEST_ALLOWED | Rel.ORDERED)


def _first_stop(top: Resource) -> Action | None:
    found = top.actions_by_task.get("stop", ())
    return found[-1] if found else None
