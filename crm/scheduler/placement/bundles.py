"""Assignment of bundles: containers like instances, then each replica's other parts, then the inner clone."""

from __future__ import annotations

from crm.scheduler.colocation import new_colocation
from crm.scheduler.failures import threshold_reached
from crm.scheduler.model import Colocation, Node, Replica, Resource, WorkingSet
from crm.scheduler.placement.assign import assign
from crm.scheduler.placement.instances import assign_instances, sort_instances
from crm.scheduler.placement.nodes import record_scores
from crm.scheduler.scores import INFINITY


def assign_bundle(
    work: WorkingSet, bundle: Resource, prefer: Node | None, *, stop_if_fail: bool
) -> Node | None:
    """Assign all parts. A bundle that was assigned already goes through this again."""
    data = bundle.bundle
    assert data is not None
    bundle.assigning = True
    record_scores(work, bundle, "pcmk__bundle_assign")
    containers = sort_instances([replica.container for replica in data.replicas])
    assign_instances(work, bundle, containers, data.replicas_max, data.per_host)
    for replica in data.replicas:
        _assign_replica(work, replica, prefer, stop_if_fail=stop_if_fail)
    if data.child is not None:
        nodes = {replica.node for replica in data.replicas}
        for entry in data.child.allowed.values():
            entry.replace(0 if entry.node in nodes else -INFINITY, "bundle", bundle.id)
        assign(work, data.child, prefer, stop_if_fail=stop_if_fail)
    bundle.assigning = bundle.unassigned = False
    return None


def _assign_replica(work: WorkingSet, replica: Replica, prefer: Node | None, *, stop_if_fail: bool) -> None:
    if replica.ip is not None:
        assign(work, replica.ip, prefer, stop_if_fail=stop_if_fail)
    host = replica.container.assigned_node
    connection = replica.connection
    if connection is not None:
        if host is not None and host.connection is not None:  # a remote or guest node
            new_colocation(
                work,
                Colocation("#replica-remote-with-host-remote", connection, host.connection, INFINITY),
            )
        assign(work, connection, prefer, stop_if_fail=stop_if_fail)
    child = replica.child
    if child is None or child.parent is None:
        return
    for entry in child.allowed.values():
        if entry.node is not replica.node:
            entry.replace(-INFINITY, "bundle", child.id)
        elif threshold_reached(work, child, entry.node) is None:
            entry.replace(INFINITY, "bundle", child.id)
    child.parent.assigning = True
    assign(work, child, replica.node, stop_if_fail=stop_if_fail)
    child.parent.assigning = False
