"""Unfencing: digests of the devices that unfence a node, and when a node has to be unfenced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm.scheduler import values
from crm.scheduler.checks import Difference, fencing_digests
from crm.scheduler.model import Action, Node, Rel, Resource, WorkingSet

if TYPE_CHECKING:
    from collections.abc import Iterable


def add_device_digests(work: WorkingSet, action: Action, node: Node) -> bool:
    """Record the unfencing devices' digests in a fence action; True if a device has changed for the node."""
    changed = False
    everything: list[str] = []
    secure: list[str] = []
    for device in reversed(list(work.all_resources())):
        if not device.is_fence_device or device.meta.get("provides") != "unfencing":
            continue
        result = fencing_digests(work, device, node)
        if result.difference is Difference.CHANGED:
            changed = True
        everything.append(f"{device.id}:{device.agent_type}:{result.all_digest},")
        secure.append(f"{device.id}:{device.agent_type}:{result.secure_digest},")
    action.meta["digests_all"] = "".join(everything)
    action.meta["digests_secure"] = "".join(secure)
    return changed


def is_unfenced(node: Node) -> bool:
    """True if the node was unfenced since it joined."""
    return values.integer(node.attributes.get("#node-unfenced")) != 0


def _can_be_unfenced(node: Node) -> bool:
    return node.online and not node.unclean and not node.shutdown


def unfence_action(work: WorkingSet, node: Node, *, optional: bool, reason: str) -> Action:
    """The action that unfences a node."""
    from crm.scheduler.actions import fence_action

    return fence_action(work, node, "on", optional=optional, reason=reason)


def trigger_unfencing(
    work: WorkingSet, resource: Resource | None, node: Node | None, reason: str, dependent: Action | None
) -> None:
    """Require unfencing of a node, or of all the device may run on."""
    if not work.unfencing_in_use or (resource is not None and not resource.is_fence_device):
        return
    if node is not None:
        nodes: Iterable[Node] = (node,)
    elif resource is not None:
        nodes = [entry.node for entry in resource.allowed.values()]
    else:
        nodes = ()
    for one in nodes:
        if _can_be_unfenced(one):
            action = unfence_action(work, one, optional=False, reason=reason)
            if dependent is not None:
                from crm.scheduler.relations import order_actions

                order_actions(action, dependent, Rel.ORDERED)


def order_unfencing(work: WorkingSet, resource: Resource, node: Node) -> None:
    """Stop before unfencing before start, on one node."""
    from crm.scheduler.actions import key_of
    from crm.scheduler.relations import order

    action = unfence_action(work, node, optional=True, reason="")
    order(
        work,
        resource,
        key_of(resource.id, "stop"),
        None,
        None,
        "",
        action,
        Rel.ORDERED | Rel.IF_ON_SAME_NODE,
    )
    order(
        work,
        None,
        "",
        action,
        resource,
        key_of(resource.id, "start"),
        None,
        Rel.FIRST_IMPLIES_SAME_NODE_THEN | Rel.IF_ON_SAME_NODE,
    )


def order_after_unfencing(
    work: WorkingSet, resource: Resource, node: Node | None, action: Action, flags: int
) -> None:
    """An action waits for its node's unfencing, which it triggers where the node was never unfenced."""
    if not work.unfencing_in_use or node is None:
        return
    if not (resource.needs_unfencing or resource.is_fence_device):
        return
    from crm.scheduler.relations import order_actions

    unfence = unfence_action(work, node, optional=True, reason="")
    order_actions(unfence, action, flags)
    if not is_unfenced(node):
        reason = f"required by {resource.id} {action.task}"
        trigger_unfencing(work, None, node, reason, action)
