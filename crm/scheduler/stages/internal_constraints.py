"""Orderings and colocations that every resource brings along, by its variant."""

from __future__ import annotations

from crm.scheduler.actions import key_of, pseudo_action
from crm.scheduler.colocation import new_colocation
from crm.scheduler.model import (
    Colocation,
    Entry,
    Rel,
    Replica,
    Resource,
    Role,
    Variant,
    WorkingSet,
)
from crm.scheduler.placement.instances import number_of
from crm.scheduler.relations import order, order_tasks
from crm.scheduler.scores import INFINITY
from crm.scheduler.unfencing import order_unfencing

_BUNDLE_CONNECTION_SCORE = 10_000


def add_internal_constraints(work: WorkingSet) -> None:
    """For every top-level resource, in list order."""
    for resource in list(work.resources):
        _add(work, resource)


def _add(work: WorkingSet, resource: Resource) -> None:
    match resource.variant:
        case Variant.PRIMITIVE:
            _primitive(work, resource)
        case Variant.GROUP:
            _group(work, resource)
        case Variant.CLONE:
            _clone(work, resource)
        case _:
            _bundle(work, resource)


# --- primitives


def _primitive(work: WorkingSet, resource: Resource) -> None:
    if not resource.managed:
        return
    order_tasks(
        work,
        resource,
        "stop",
        resource,
        "start",
        Rel.ORDERED | Rel.FIRST_IMPLIES_THEN | Rel.INTERMEDIATE_STOP,
    )
    if resource.top().promotable or resource.orig_role > Role.UNPROMOTED:
        order_tasks(work, resource, "demote", resource, "stop", Rel.PROMOTED_THEN_IMPLIES_FIRST)
        order_tasks(work, resource, "start", resource, "promote", Rel.UNRUNNABLE_FIRST_BLOCKS)
    order_tasks(
        work, resource, "lrm_delete", resource, "monitor", Rel.IF_ON_SAME_NODE | Rel.THEN_CANCELS_FIRST
    )
    if work.unfencing_in_use and resource.needs_unfencing and not resource.is_fence_device:
        for entry in _allowed_nodes(resource):
            order_unfencing(work, resource, entry.node)
    if resource.utilization and work.options.placement != "default":
        _utilization_orders(work, resource, _allowed_nodes(resource))
    if resource.launcher is not None:
        _launched(work, resource, resource.launcher, _allowed_nodes(resource))
    if resource.is_remote_connection or resource.is_fence_device:
        _avoid_remote_nodes(resource)


def _allowed_nodes(resource: Resource) -> list[Entry]:
    return sorted(resource.allowed.values(), key=lambda one: one.node.name)


def _avoid_remote_nodes(resource: Resource) -> None:
    for entry in resource.allowed.values():
        if entry.node.connection is not None:
            entry.add(-INFINITY, "remote_node", entry.node.id)


def _utilization_orders(work: WorkingSet, resource: Resource, allowed: list[Entry]) -> None:
    flags = Rel.IF_ON_SAME_NODE_OR_TARGET
    for node in resource.active_nodes:
        released = pseudo_action(work, f"load_stopped_{node.name}")
        if released.node is None:
            released.node = node
            released.optional = False
        order(work, resource, key_of(resource.id, "stop"), None, None, "", released, flags)
    for entry in allowed:
        released = pseudo_action(work, f"load_stopped_{entry.node.name}")
        if released.node is None:
            released.node = entry.node
            released.optional = False
        for task in ("start", "migrate_to"):
            order(work, None, "", released, resource, key_of(resource.id, task), None, flags)


def _guest_connection_in(launcher: Resource) -> Resource | None:
    for one in launcher.launched:
        if one.is_remote_connection:
            return one
    return None


def _launched(work: WorkingSet, resource: Resource, launcher: Resource, allowed: list[Entry]) -> None:
    connection: Resource | None = None
    if resource.is_remote_connection:
        if not resource.remote_nesting_allowed:
            _avoid_remote_nodes(launcher)
        order_tasks(work, launcher, "monitor", resource, "stop", Rel.ORDERED)
    elif launcher.is_remote_connection:
        connection = launcher
    else:
        connection = _guest_connection_in(launcher)
    if connection is not None:
        for entry in allowed:
            if entry.node.connection is not connection:
                entry.add(-INFINITY, "container", connection.id)
        return
    order_tasks(
        work, launcher, "start", resource, "start", Rel.FIRST_IMPLIES_THEN | Rel.UNRUNNABLE_FIRST_BLOCKS
    )
    order_tasks(work, resource, "stop", launcher, "stop", Rel.THEN_IMPLIES_FIRST)
    score = _BUNDLE_CONNECTION_SCORE if resource.remote_nesting_allowed else INFINITY
    new_colocation(work, Colocation("#resource-with-container", resource, launcher, score))


# --- groups


def _group(work: WorkingSet, group: Resource) -> None:
    if not group.children:
        return
    order_tasks(work, group, "stop", group, "stopped", Rel.UNRUNNABLE_FIRST_BLOCKS)
    order_tasks(work, group, "stopped", group, "start", Rel.ORDERED)
    order_tasks(work, group, "start", group, "running", Rel.UNRUNNABLE_FIRST_BLOCKS)
    promotable = group.top().promotable
    previous: Resource | None = None
    last_active: Resource | None = None
    previous_active = False
    for member in group.children:
        _add(work, member)
        if previous is not None and group.colocated:
            new_colocation(
                work, Colocation("#group-members", member, previous, INFINITY, influence=member.critical)
            )
        _member_with_group(work, group, member, promotable=promotable, first=previous is None)
        if group.ordered and previous is not None:
            _member_after(work, previous, member, previous_active=previous_active, last_active=last_active)
        if member.active_nodes:
            last_active = member
        previous, previous_active = member, bool(member.active_nodes)


def _member_with_group(
    work: WorkingSet, group: Resource, member: Resource, *, promotable: bool, first: bool
) -> None:
    down = Rel.THEN_IMPLIES_FIRST_GRAPHED
    up = Rel.FIRST_IMPLIES_THEN_GRAPHED
    if group.ordered and first:
        down |= Rel.ORDERED
        up = Rel.FIRST_IMPLIES_THEN
    order_tasks(work, group, "stop", member, "stop", down)
    order_tasks(work, member, "stop", group, "stopped", up)
    done = Rel.UNRUNNABLE_FIRST_BLOCKS | Rel.FIRST_IMPLIES_THEN | Rel.FIRST_IMPLIES_THEN_GRAPHED
    if promotable:
        order_tasks(work, group, "demote", member, "demote", down)
        order_tasks(work, member, "demote", group, "demoted", up)
        order_tasks(work, member, "promote", group, "promoted", done)
        order_tasks(work, group, "promote", member, "promote", Rel.THEN_IMPLIES_FIRST_GRAPHED)
    order_tasks(work, group, "start", member, "start", Rel.THEN_IMPLIES_FIRST_GRAPHED)
    order_tasks(work, member, "start", group, "running", done)
    if not group.ordered:
        flags = Rel.FIRST_IMPLIES_THEN | Rel.UNRUNNABLE_FIRST_BLOCKS | Rel.THEN_IMPLIES_FIRST_GRAPHED
        order_tasks(work, group, "start", member, "start", flags)
        if promotable:
            order_tasks(work, group, "promote", member, "promote", flags)


def _member_after(
    work: WorkingSet,
    previous: Resource,
    member: Resource,
    *,
    previous_active: bool,
    last_active: Resource | None,
) -> None:
    up = Rel.FIRST_IMPLIES_THEN | Rel.UNRUNNABLE_FIRST_BLOCKS
    order_tasks(work, previous, "start", member, "start", up)
    order_tasks(work, member, "stop", previous, "stop", Rel.ORDERED | Rel.INTERMEDIATE_STOP)
    if member.active_nodes and not previous_active:
        flags = Rel.THEN_IMPLIES_FIRST | Rel.UNRUNNABLE_FIRST_BLOCKS
        order_tasks(work, member, "stop", previous, "start", flags)
    if member.top().promotable:
        order_tasks(work, previous, "promote", member, "promote", up)
        order_tasks(work, member, "demote", previous, "demote", Rel.ORDERED)
    if member.active_nodes and not previous_active and last_active is not None:
        order_tasks(work, member, "stop", last_active, "stop", Rel.ORDERED)


# --- clones


def _clone(work: WorkingSet, clone: Resource) -> None:
    order_tasks(work, clone, "stopped", clone, "start", Rel.ORDERED)
    order_tasks(work, clone, "start", clone, "running", Rel.UNRUNNABLE_FIRST_BLOCKS)
    order_tasks(work, clone, "stop", clone, "stopped", Rel.UNRUNNABLE_FIRST_BLOCKS)
    if clone.promotable:
        order_tasks(work, clone, "demoted", clone, "stop", Rel.ORDERED)
        order_tasks(work, clone, "running", clone, "promote", Rel.UNRUNNABLE_FIRST_BLOCKS)
    if clone.ordered:
        clone.children.sort(key=number_of)
    for index, instance in enumerate(clone.children):
        _add(work, instance)
        order_tasks(
            work,
            clone,
            "start",
            instance,
            "start",
            Rel.UNRUNNABLE_FIRST_BLOCKS | Rel.THEN_IMPLIES_FIRST_GRAPHED,
        )
        order_tasks(work, instance, "start", clone, "running", Rel.FIRST_IMPLIES_THEN_GRAPHED)
        order_tasks(work, clone, "stop", instance, "stop", Rel.THEN_IMPLIES_FIRST_GRAPHED)
        order_tasks(work, instance, "stop", clone, "stopped", Rel.FIRST_IMPLIES_THEN_GRAPHED)
        if clone.ordered:
            for later in clone.children[index + 1 :]:
                order_tasks(work, instance, "start", later, "start", Rel.ORDERED)
                order_tasks(work, later, "stop", instance, "stop", Rel.ORDERED)
    if clone.promotable:
        _promotable(work, clone)


def restart_orders(work: WorkingSet, clone: Resource) -> None:
    """Demotion before stop before start before promotion, for a promotable collective as a whole."""
    for first, then in (
        ("stopped", "start"),
        ("stopped", "promote"),
        ("demoted", "stop"),
        ("demoted", "start"),
        ("demoted", "promote"),
        ("running", "promote"),
        ("demote", "demoted"),
    ):
        order_tasks(work, clone, first, clone, then, Rel.ORDERED)


def _promotable(work: WorkingSet, clone: Resource) -> None:
    restart_orders(work, clone)
    previous: Resource | None = None
    for instance in clone.children:
        order_tasks(work, instance, "demote", instance, "promote", Rel.ORDERED)
        order_tasks(work, clone, "promote", instance, "promote", Rel.ORDERED)
        order_tasks(work, instance, "promote", clone, "promoted", Rel.ORDERED)
        order_tasks(work, clone, "demote", instance, "demote", Rel.THEN_IMPLIES_FIRST_GRAPHED)
        order_tasks(work, instance, "demote", clone, "demoted", Rel.FIRST_IMPLIES_THEN_GRAPHED)
        if previous is not None and clone.ordered:
            order_tasks(work, previous, "promote", instance, "promote", Rel.ORDERED)
            order_tasks(work, instance, "demote", previous, "demote", Rel.ORDERED)
        previous = instance


# --- bundles


def _bundle(work: WorkingSet, bundle: Resource) -> None:
    data = bundle.bundle
    assert data is not None
    for replica in data.replicas:
        _replica(work, bundle, replica)
    inner = data.child
    if inner is None:
        return
    graphed = Rel.FIRST_IMPLIES_THEN_GRAPHED
    order_tasks(work, bundle, "start", inner, "start", Rel.THEN_IMPLIES_FIRST_GRAPHED)
    order_tasks(work, inner, "running", bundle, "running", graphed)
    order_tasks(work, bundle, "stop", inner, "stop", Rel.THEN_IMPLIES_FIRST_GRAPHED)
    order_tasks(work, inner, "stopped", bundle, "stopped", graphed)
    _add(work, inner)
    if inner.promotable:
        restart_orders(work, bundle)
        order_tasks(work, bundle, "promote", inner, "promote", Rel.THEN_IMPLIES_FIRST_GRAPHED)
        order_tasks(work, inner, "promoted", bundle, "promoted", graphed)
        order_tasks(work, bundle, "demote", inner, "demote", Rel.THEN_IMPLIES_FIRST_GRAPHED)
        order_tasks(work, inner, "demoted", bundle, "demoted", graphed)


def _replica(work: WorkingSet, bundle: Resource, replica: Replica) -> None:
    container = replica.container
    _add(work, container)
    order_tasks(
        work,
        bundle,
        "start",
        container,
        "start",
        Rel.UNRUNNABLE_FIRST_BLOCKS | Rel.THEN_IMPLIES_FIRST_GRAPHED,
    )
    if replica.child is not None:
        order_tasks(work, bundle, "stop", replica.child, "stop", Rel.THEN_IMPLIES_FIRST_GRAPHED)
    order_tasks(work, bundle, "stop", container, "stop", Rel.THEN_IMPLIES_FIRST_GRAPHED)
    order_tasks(work, container, "start", bundle, "running", Rel.FIRST_IMPLIES_THEN_GRAPHED)
    order_tasks(work, container, "stop", bundle, "stopped", Rel.FIRST_IMPLIES_THEN_GRAPHED)
    if replica.ip is not None:
        _add(work, replica.ip)
        order_tasks(
            work,
            replica.ip,
            "start",
            container,
            "start",
            Rel.UNRUNNABLE_FIRST_BLOCKS | Rel.GUEST_ALLOWED,
        )
        order_tasks(work, container, "stop", replica.ip, "stop", Rel.THEN_IMPLIES_FIRST | Rel.GUEST_ALLOWED)
        new_colocation(work, Colocation("#ip-with-container", replica.ip, container, INFINITY))
    if replica.connection is not None:
        _add(work, replica.connection)
