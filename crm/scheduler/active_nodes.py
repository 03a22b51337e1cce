"""Noting that a resource is active on a node, and what follows at once."""

from __future__ import annotations

from crm.scheduler.activity import is_clean
from crm.scheduler.model import MultipleActive, Node, Resource, Role, Variant, WorkingSet
from crm.scheduler.scores import INFINITY
from crm.scheduler.tables import ban


def add_active_node(work: WorkingSet, resource: Resource, node: Node, *, failed: bool) -> None:
    """Note that a resource (and so its ancestors) is active on a node."""
    if node in resource.active_nodes:
        return
    resource.active_nodes.append(node)
    if resource.is_primitive:
        node.running.append(resource)
        if not failed:
            _add_priority(resource, node)
        if node.maintenance:
            resource.managed, resource.maintenance = False, True
    if not resource.managed:
        ban(work, resource, node, INFINITY, "unmanaged", resource.id)
        parent = resource.parent
        while parent is not None and node.online:
            if node not in parent.active_nodes:
                parent.active_nodes.append(node)
            parent = parent.parent
        return
    if is_multiply_active(resource):
        _handle_multiply_active(work, resource)
    if resource.parent is not None:
        add_active_node(work, resource.parent, node, failed=False)


def _add_priority(resource: Resource, node: Node) -> None:
    priority = resource.priority
    if resource.orig_role is Role.PROMOTED and priority:
        priority += 1
    node.priority += priority
    launcher = node.launcher if node.connection is not None else None
    for host in launcher.active_nodes if launcher is not None else ():
        host.priority += priority


def is_multiply_active(resource: Resource) -> bool:
    """A primitive that runs in more places than it may."""
    if not resource.is_primitive:
        return False
    nodes = resource.active_nodes
    if not resource.needs_fencing:
        nodes = [node for node in nodes if is_clean(node)]
    return len(nodes) > 1


def _handle_multiply_active(work: WorkingSet, resource: Resource) -> None:
    match resource.multiple_active:
        case MultipleActive.STOP_ONLY:
            resource.allowed.clear()
            ban(work, resource, None, -INFINITY, "multiply_active", resource.id)
        case MultipleActive.BLOCK:
            resource.managed, resource.blocked = False, True
            parent = resource.parent
            if (
                parent is not None
                and parent.variant in {Variant.GROUP, Variant.BUNDLE}
                and parent.multiple_active is MultipleActive.BLOCK
            ):
                for child in parent.children:
                    child.managed, child.blocked = False, True
        case _:
            pass
