"""Which actions are written into the graph, and which relations become inputs there."""

from __future__ import annotations

from typing import Final

from crm.scheduler.model import Action, Link, NodeKind, Rel

_HARMLESS: Final = Rel.ORDERED | Rel.FIRST_IMPLIES_THEN_GRAPHED | Rel.THEN_IMPLIES_FIRST_GRAPHED


def is_written(action: Action) -> bool:
    """Whether an action belongs into the graph."""
    if not action.runnable or (action.optional and not action.always_in_graph):
        return False
    resource = action.resource
    if (
        resource is not None
        and not resource.managed
        and action.task != "monitor"
        and action.meta.get("interval", "0") == "0"
    ):
        return False
    if action.pseudo or action.task in {"stonith", "do_shutdown"}:
        return True
    node = action.node
    if node is None:
        return False
    if action.on_dc or (node.kind is NodeKind.GUEST and not node.remote_reset):
        return True
    return node.online and not node.unclean


def merge_relations(action: Action) -> None:
    """All relations with the same first action become one."""
    merged: dict[int, Link] = {}
    for link in action.before:
        known = merged.get(link.action.id)
        if known is None:
            merged[link.action.id] = link
        else:
            known.flags |= link.flags
    action.before = list(merged.values())


def is_input(then: Action, link: Link) -> bool:
    """Whether `then` has to wait for this action in the graph."""
    flags, first = link.flags, link.action
    if not flags:
        return False
    if not first.runnable and (not flags & ~_HARMLESS or flags & Rel.MIN_RUNNABLE):
        return False
    if flags & Rel.UNMIGRATABLE_THEN_BLOCKS and not first.runnable:
        return False
    if flags & Rel.IF_FIRST_UNMIGRATABLE and first.migratable:
        return False
    if flags == Rel.ORDERED and first.migratable and first.key.endswith("_stop_0"):
        return False
    if flags == Rel.IF_ON_SAME_NODE_OR_TARGET:
        return _on_same_node_or_target(then, first)
    if flags == Rel.IF_REQUIRED_ON_SAME_NODE:
        if first.node is not None and then.node is not None and first.node is not then.node:
            return False
        return not first.optional
    resource = first.resource
    if (
        resource is not None
        and resource is not then.resource
        and resource.failed
        and not resource.managed
        and first.key.endswith("_stop_0")
        and then.resource is not None
        and then.resource.top().is_clone
    ):
        return False
    return not (first.optional and not first.always_in_graph and not first.in_graph and not is_written(first))


def _on_same_node_or_target(then: Action, first: Action) -> bool:
    if then.resource is not None and then.task == "migrate_to":
        return first.node is not None and then.resource.assigned_node is first.node
    return first.node is not None and first.node is then.node and not first.optional
