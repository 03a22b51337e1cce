"""The state of the connection to a remote or guest node, as far as actions behind it are concerned."""

from __future__ import annotations

from enum import Enum, auto

from crm.scheduler.activity import current_node
from crm.scheduler.model import Node, NodeKind, Resource, Role


class ConnectionState(Enum):
    """What can be expected of a connection."""

    UNKNOWN = auto()
    ALIVE = auto()
    RESTING = auto()
    FAILED = auto()
    STOPPED = auto()


def connection_state(node: Node) -> ConnectionState:
    """Judge the connection resource and the node it runs on."""
    connection = node.connection
    if connection is None:
        return ConnectionState.FAILED if node.kind is NodeKind.REMOTE else ConnectionState.UNKNOWN
    host = current_node(connection)
    if connection.next_role is Role.STOPPED or connection.assigned is None:
        if host is not None and host.unclean:
            return ConnectionState.FAILED
        if not connection.failed:
            return ConnectionState.STOPPED
        if (
            connection.next_role is Role.STOPPED
            and connection.reconnect_interval_ms
            and node.remote_was_fenced
            and not node.shutdown
        ):
            return ConnectionState.UNKNOWN
        return ConnectionState.FAILED
    if host is None:
        return ConnectionState.UNKNOWN
    if host.unclean or not host.online:
        return ConnectionState.RESTING
    if len(connection.active_nodes) > 1 and connection.partial_source and connection.partial_target:
        return ConnectionState.RESTING
    return ConnectionState.ALIVE


def connection_of(node: Node | None) -> Resource | None:
    """The connection of a remote or guest node, None for cluster nodes."""
    return node.connection if node is not None and node.kind is not NodeKind.CLUSTER else None
