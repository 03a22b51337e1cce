"""The status section: node states, then histories in the order their nodes can be judged, then leftovers."""

from __future__ import annotations

from crm.cib.model import Element
from crm.scheduler import values
from crm.scheduler.activity import current_node
from crm.scheduler.basic_actions import stop_on
from crm.scheduler.model import Node, NodeKind, Role, Ticket, WorkingSet
from crm.scheduler.stages.unpack_nodes import (
    built_in_attributes,
    find_state_node,
    read_transient_attributes,
    unpack_node_state,
)


def unpack_status(work: WorkingSet) -> None:
    """Read <status>."""
    status = work.cib.child("status")
    states = status.all("node_state") if status is not None else ()
    for state in states:
        _index(work, state)
    for tickets in status.all("tickets") if status is not None else ():
        _unpack_tickets(work, tickets)
    for state in states:
        unpack_node_state(work, state)
    while _histories(work, states, final=False):
        pass
    _histories(work, states, final=work.options.fencing_enabled)
    for container in work.stop_needed:
        node = current_node(container)
        if node is not None:
            stop_on(work, container, node, optional=False)
    for node in work.nodes:
        if not node.is_guest_or_remote:
            continue
        if node.shutdown and node.connection is not None:
            node.connection.next_role = Role.STOPPED
        if not node.unpacked:
            remote_status(node)


def _index(work: WorkingSet, state: Element) -> None:
    section = state.path("lrm", "lrm_resources")
    for item in section.all("lrm_resource") if section is not None else ():
        work.histories.setdefault((state.get("uname"), item.id), item)


def _unpack_tickets(work: WorkingSet, section: Element) -> None:
    for item in section.all("ticket_state"):
        if item.id:
            ticket = work.tickets.setdefault(item.id, Ticket(item.id))
            ticket.granted = values.is_true(item.attributes.get("granted"))
            ticket.standby = values.is_true(item.attributes.get("standby"))


def _histories(work: WorkingSet, states: tuple[Element, ...], *, final: bool) -> bool:
    """Read the histories that can be read now; True if there was one."""
    progress = False
    for state in states:
        node = find_state_node(work, state)
        if node is None or node.unpacked or not (final or _readable(work, node)):
            continue
        if node.is_guest_or_remote:
            remote_status(node)
            remote_attributes(work, node, state)
        node.unpacked = True
        progress = True
        section = state.path("lrm", "lrm_resources")
        if section is not None and section.children:
            from crm.scheduler.stages.unpack_history import unpack_node_history  # a new cluster has none

            unpack_node_history(work, node, state)
    return progress


def _readable(work: WorkingSet, node: Node) -> bool:
    connection = node.connection
    match node.kind:
        case NodeKind.GUEST:
            launcher = node.launcher
            return (
                connection is not None
                and connection.orig_role is Role.STARTED
                and launcher is not None
                and launcher.orig_role is Role.STARTED
            )
        case NodeKind.REMOTE:
            return connection is not None and (
                work.options.shutdown_lock or connection.orig_role is Role.STARTED
            )
        case _:
            return work.options.fencing_enabled or work.options.shutdown_lock or node.online


def remote_status(node: Node) -> None:
    """Whether a remote or guest node is online follows from its connection and launcher."""
    connection = node.connection
    if connection is None:
        node.online = False
        return
    launcher = connection.launcher
    host = connection.active_nodes[0] if launcher is not None and len(connection.active_nodes) == 1 else None
    if connection.orig_role is Role.STARTED:
        node.online = True
        if connection.next_role is Role.STOPPED:
            node.shutdown = True
    if launcher is not None and launcher.failed:
        node.online, node.remote_reset = False, True
    elif connection.failed:
        node.online = False
    elif connection.orig_role is Role.STOPPED or (
        launcher is not None and launcher.orig_role is Role.STOPPED
    ):
        node.online, node.remote_reset = False, False
    elif host is not None and not host.online and host.unclean:
        node.online, node.remote_reset = False, True


def remote_attributes(work: WorkingSet, node: Node, state: Element) -> None:
    """Attributes of a remote or guest node; being heard of makes it clean and seen."""
    node.remote_maintenance_known = values.is_true(state.attributes.get("node_in_maintenance"))
    if not node.remote_reset:
        node.unclean = node.unseen = False
    built_in_attributes(work, node)
    read_transient_attributes(work, node, state)
    shutdown = node.attributes.get("shutdown")
    if shutdown is not None and shutdown != "0":
        node.shutdown = True
    if values.is_true(node.attributes.get("standby")):
        node.standby = True
    connection = node.connection
    if values.is_true(node.attributes.get("maintenance")) or (
        connection is not None and not connection.managed
    ):
        node.maintenance = True
    discovery = values.boolean(node.attributes.get("resource-discovery-enabled"))
    if discovery is False and (node.kind is NodeKind.GUEST or work.options.fencing_enabled):
        node.discovery_disabled = True
