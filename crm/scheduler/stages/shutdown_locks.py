"""Shutdown locks: a resource waits for the node it was on, when that node was shut down cleanly."""

from __future__ import annotations

from crm.cib.model import Element
from crm.scheduler import values
from crm.scheduler.actions import find_or_make, key_of
from crm.scheduler.model import Node, Resource, WorkingSet
from crm.scheduler.scores import INFINITY
from crm.scheduler.tables import ban


def clear_history(work: WorkingSet, resource: Resource, node: Node) -> None:
    """Have the resource's history on a node deleted from the CIB."""
    find_or_make(work, resource, key_of(resource.id, "lrm_delete"), "lrm_delete", node, optional=False)


def read_lock(work: WorkingSet, resource: Resource, node: Node, item: Element) -> None:
    """A lock noted in the history; an expired one goes together with the history."""
    locked_at = values.integer(item.attributes.get("shutdown-lock"))
    if locked_at <= 0:
        return
    limit = work.options.shutdown_lock_limit_s
    if limit > 0 and work.now_s > locked_at + limit:
        clear_history(work, resource, node)
    else:
        resource.lock_node, resource.lock_time = node, locked_at


def apply_shutdown_locks(work: WorkingSet) -> None:
    """Lock what ran on cleanly leaving nodes, and bar locked resources from all other nodes."""
    if not work.options.shutdown_lock:
        return
    for resource in list(work.resources):
        _apply(work, resource)


def _apply(work: WorkingSet, resource: Resource) -> None:
    if resource.is_clone or resource.bundle is not None:
        return
    for child in resource.children:
        _apply(work, child)
    if not resource.is_primitive or resource.is_fence_device or resource.is_remote_connection:
        return
    if resource.lock_node is not None:
        if resource.active_nodes:
            clear_history(work, resource, resource.lock_node)
            resource.lock_node, resource.lock_time = None, 0
    elif len(resource.active_nodes) == 1:
        node = resource.active_nodes[0]
        if node.shutdown and not node.unclean:
            resource.lock_node = node
            resource.lock_time = shutdown_time(work, node)
    locked = resource.lock_node
    if locked is None:
        return
    limit = work.options.shutdown_lock_limit_s
    if limit > 0:
        work.recheck(resource.lock_time + limit + 1)
    for node in work.nodes:
        if node is not locked:
            ban(work, resource, node, -INFINITY, "shutdown_lock", resource.id)


def shutdown_time(work: WorkingSet, node: Node) -> int:
    """When the node was asked to shut down; now, where that is not known."""
    return values.integer(node.attributes.get("shutdown")) or work.now_s
