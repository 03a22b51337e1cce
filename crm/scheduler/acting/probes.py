"""Probes: is a resource active where its state is not known? (Pacemaker Explained, "Resource discovery")."""

from __future__ import annotations

from typing import Final

from crm.scheduler.actions import find_or_make, key_of, request_fencing
from crm.scheduler.activity import is_active, location
from crm.scheduler.failures import clear_fail_count, fail_count
from crm.scheduler.model import (
    Action,
    Node,
    NodeKind,
    ProbeMode,
    Rel,
    Resource,
    Role,
    Variant,
    WorkingSet,
)
from crm.scheduler.placement.instances import number_of
from crm.scheduler.relations import order, order_tasks
from crm.scheduler.remote_state import ConnectionState, connection_state
from crm.scheduler.unfencing import order_after_unfencing

_NOT_RUNNING: Final = "7"
_PROMOTED: Final = "8"


def schedule_probes(work: WorkingSet) -> None:
    """For each usable node, in order, every top-level resource."""
    for node in list(work.nodes):
        if not node.online:
            failed = connection_state(node) is ConnectionState.FAILED
            if node.kind is NodeKind.REMOTE and node.connection is not None and failed:
                request_fencing(work, node, "the connection is unrecoverable")
            continue
        if node.unclean or node.discovery_disabled:
            continue
        for resource in list(work.resources):
            create_probe(work, resource, node)


def create_probe(work: WorkingSet, resource: Resource, node: Node) -> bool:
    """Probe a resource on a node by its variant's rule; True if something was created."""
    match resource.variant:
        case Variant.PRIMITIVE:
            return _probe_primitive(work, resource, node)
        case Variant.GROUP:
            return _probe_all(work, resource.children, node)
        case Variant.CLONE:
            return _probe_clone(work, resource, node)
        case _:
            return _probe_bundle(work, resource, node)


def _probe_all(work: WorkingSet, resources: list[Resource], node: Node) -> bool:
    created = False
    for resource in resources:
        created = create_probe(work, resource, node) or created
    return created


def _probe_clone(work: WorkingSet, clone: Resource, node: Node) -> bool:
    if clone.exclusive_probes:
        entry = clone.allowed.get(node.id)
        if entry is None or entry.probe_mode is not ProbeMode.EXCLUSIVE:
            clone.allowed.pop(node.id, None)
            return False
    clone.children.sort(key=number_of)
    if clone.unique:
        return _probe_all(work, clone.children, node)
    key = node.id
    chosen = next((one for one in clone.children if key in one.probed_nodes), None)
    if chosen is None:
        chosen = next((one for one in clone.children if location(one, current=False) is node), None)
    if chosen is None and clone.children:
        chosen = clone.children[0]
    return chosen is not None and create_probe(work, chosen, node)


def _probe_bundle(work: WorkingSet, bundle: Resource, node: Node) -> bool:
    data = bundle.bundle
    assert data is not None
    created = False
    for replica in data.replicas:
        if replica.ip is not None and create_probe(work, replica.ip, node):
            created = True
        if replica.child is not None and replica.node is node and create_probe(work, replica.child, node):
            created = True
        if create_probe(work, replica.container, node):
            created = True
            if data.per_host == 1:
                for other in data.replicas:
                    if other is not replica:
                        order_tasks(
                            work,
                            replica.container,
                            "monitor",
                            other.container,
                            "start",
                            Rel.ORDERED | Rel.IF_ON_SAME_NODE,
                        )
        connection = replica.connection
        if connection is not None and create_probe(work, connection, node):
            created = True
            probes = connection.actions_by_key.get(key_of(connection.id, "monitor"), ())
            for probe in [one for one in probes if one.node is node][:1]:
                order(
                    work,
                    replica.container,
                    key_of(replica.container.id, "start"),
                    None,
                    connection,
                    "",
                    probe,
                    Rel.NESTED_REMOTE_PROBE,
                )
    return created


def _guest_in(resource: Resource) -> bool:
    return any(one.is_remote_connection for one in resource.launched)


def _may_probe(work: WorkingSet, resource: Resource, node: Node) -> bool:
    if not work.options.startup_probes or resource.removed or node.id in resource.probed_nodes:
        return False
    if node.kind is not NodeKind.CLUSTER:
        if resource.is_fence_device or resource.is_remote_connection:
            return False
        if node.kind is NodeKind.GUEST and _guest_in(resource):
            return False
    if resource.launcher is not None and not resource.is_remote_connection:
        return False
    entry = resource.allowed.get(node.id)
    if (resource.exclusive_probes or resource.top().exclusive_probes) and (
        entry is None or entry.probe_mode is not ProbeMode.EXCLUSIVE
    ):
        return False
    mode = entry.probe_mode if entry is not None else node.probe_mode
    return mode is not ProbeMode.NEVER


def _guest_will_stop(node: Node, container: Resource) -> bool:
    return (
        node.remote_reset
        or node.unclean
        or container.failed
        or container.next_role is Role.STOPPED
        or (
            container.assigned is not None
            and bool(container.active_nodes)
            and container.assigned.node not in container.active_nodes
        )
    )


def _probe_primitive(work: WorkingSet, resource: Resource, node: Node) -> bool:
    if not _may_probe(work, resource, node):
        return False
    container = node.launcher if node.kind is NodeKind.GUEST else None
    if container is not None:
        top = resource.top()
        if container.orig_role is Role.STOPPED:
            place = container.assigned_node
            if place is not None and place.id not in container.probed_nodes:
                order_tasks(work, container, "monitor", top, "start", Rel.ORDERED)
            return False
        if _guest_will_stop(node, container):
            order_tasks(work, container, "stop", top, "start", Rel.ORDERED)
            return False
    key = key_of(resource.id, "monitor")
    probe = find_or_make(work, resource, key, "monitor", node, optional=False)
    probe.optional = False
    order_after_unfencing(work, resource, node, probe, Rel.ORDERED)
    if node not in resource.active_nodes:
        probe.meta["op_target_rc"] = _NOT_RUNNING
    elif resource.orig_role is Role.PROMOTED:
        probe.meta["op_target_rc"] = _PROMOTED
    _order_probe(work, resource, probe)
    return True


def _order_probe(work: WorkingSet, resource: Resource, probe: Action) -> None:
    top = resource.top()
    then = top if top.is_clone else resource
    flags = Rel.ORDERED
    if not probe.runnable and not then.active_nodes and not is_active(then, every=False):
        flags |= Rel.UNRUNNABLE_FIRST_BLOCKS
    order(work, resource, "", probe, then, key_of(then.id, "start"), None, flags)
    order(work, resource, "", probe, then, key_of(then.id, "reload-agent"), None, Rel.ORDERED)


def clear_removed_fail_counts(work: WorkingSet) -> None:
    """Fail counts of removed resources go, before their stop."""
    for resource in work.resources:
        if not resource.removed or not resource.is_primitive:
            continue
        for node in work.nodes:
            if node.online and fail_count(work, resource, node, effective=True)[0] > 0:
                action = clear_fail_count(work, resource, node, "it is orphaned")
                order(
                    work,
                    resource,
                    "",
                    action,
                    resource,
                    key_of(resource.id, "stop"),
                    None,
                    Rel.ORDERED,
                )
