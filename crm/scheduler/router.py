"""Which cluster node's connection an action on a remote or guest node goes through."""

from __future__ import annotations

from typing import Final

from crm.scheduler.activity import current_node
from crm.scheduler.model import Action, Node, NodeKind, Resource

_BEFORE_MOVE: Final = frozenset({"cancel", "stop", "demote", "migrate_from", "migrate_to"})
_ON_CURRENT: Final = frozenset({"stop", "stopped", "demote", "demoted"})
_ON_NEXT: Final = frozenset({"start", "running", "monitor", "promote", "promoted"})


def _operation_of(action: Action) -> str:
    if action.task in {"notify", "notified"}:
        return action.meta.get("notify_operation", action.task)
    return action.task


def router_node(action: Action) -> Node | None:
    """The node that reaches the action's node; None for cluster nodes, fencing, and where nobody does."""
    node = action.node
    if node is None or node.kind is NodeKind.CLUSTER or action.task == "stonith":
        return None
    connection = node.connection
    if connection is None:
        return None
    began_on = current_node(connection)
    ended_on = connection.assigned_node
    if began_on is None or ended_on is None or began_on is ended_on:
        return began_on or ended_on
    task = _operation_of(action)
    if task not in _BEFORE_MOVE:
        return ended_on
    if connection.partial_source is not None and connection.launcher is None:
        return ended_on
    return began_on


def graph_node_of_guest(action: Action, launcher: Resource, current: Node | None) -> Node | None:
    """The host of the guest an action runs on: now for what ends, then for what begins."""
    task = _operation_of(action)
    if task in _ON_CURRENT:
        return current
    return launcher.assigned_node if task in _ON_NEXT else None
