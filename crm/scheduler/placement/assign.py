"""Assignment: choose the node for each resource (Pacemaker Explained, "Placement")."""

from __future__ import annotations

from crm.scheduler.activity import current_node, entry_available, is_available
from crm.scheduler.colocation import any_available, has_influence, this_with, with_this
from crm.scheduler.model import Colocation, Entry, Node, NodeKind, Resource, Role, Variant, WorkingSet
from crm.scheduler.node_order import first_entries
from crm.scheduler.options import NoQuorum
from crm.scheduler.placement.colocate import apply_colocation
from crm.scheduler.placement.nodes import amounts_text, assign_to, record_scores
from crm.scheduler.placement.utilization import ban_insufficient_capacity
from crm.scheduler.scores import INFINITY
from crm.scheduler.tables import ban, copy_table, new_entry
from crm.scheduler.wishes import ACTIVE, NONNEGATIVE, add_wishes, factor_of


def assign(work: WorkingSet, resource: Resource, prefer: Node | None, *, stop_if_fail: bool) -> Node | None:
    """Assign a resource, with all it depends on, by its variant's rule; the (first) node is returned."""
    match resource.variant:
        case Variant.PRIMITIVE:
            return assign_primitive(work, resource, prefer, stop_if_fail=stop_if_fail)
        case Variant.GROUP:
            from crm.scheduler.placement.groups import assign_group

            return assign_group(work, resource, prefer, stop_if_fail=stop_if_fail)
        case Variant.CLONE:
            from crm.scheduler.placement.clones import assign_clone

            return assign_clone(work, resource, prefer, stop_if_fail=stop_if_fail)
        case _:
            from crm.scheduler.placement.bundles import assign_bundle

            return assign_bundle(work, resource, prefer, stop_if_fail=stop_if_fail)


def assign_primitive(
    work: WorkingSet, resource: Resource, prefer: Node | None, *, stop_if_fail: bool
) -> Node | None:
    """Colocations, then scores, then the best node."""
    parent = resource.parent
    if parent is not None and not parent.assigning:
        assign(work, parent, prefer, stop_if_fail=stop_if_fail)
    if not resource.unassigned:
        return resource.assigned_node
    if resource.assigning:
        return None
    resource.assigning = True
    _apply_colocations(work, resource)
    options = work.options
    if resource.next_role is Role.STOPPED:
        ban(work, resource, None, -INFINITY, "target_role", resource.id)
    elif (
        resource.next_role > resource.orig_role
        and not work.have_quorum
        and options.no_quorum is NoQuorum.FREEZE
    ):
        resource.next_role = resource.orig_role
    record_scores(work, resource, "pcmk__primitive_assign")
    if options.fencing_enabled and not work.have_fencing:
        resource.managed = False
    if not resource.managed:
        resource.next_role = resource.orig_role
        node = current_node(resource)
        entry = new_entry(node) if node is not None else None
        assign_to(work, resource, entry, force=True, stop_if_fail=stop_if_fail)
    elif options.stop_all:
        assign_to(work, resource, None, force=True, stop_if_fail=stop_if_fail)
    else:
        _assign_best(work, resource, prefer, stop_if_fail=stop_if_fail)
    resource.assigning = False
    if resource.is_remote_connection:
        _connection_assigned(work, resource)
    return resource.assigned_node


def _is_mandatory(colocation: Colocation) -> bool:
    return not -INFINITY < colocation.score < INFINITY


def _apply_colocations(work: WorkingSet, resource: Resource) -> None:
    own = this_with(resource)
    others = with_this(resource)
    for mandatory in (True, False):
        for one in own:
            if _is_mandatory(one) is mandatory:
                apply_this_with(work, one, resource)
        for one in others:
            if _is_mandatory(one) is mandatory:
                add_dependent_wishes(one, resource)


def apply_this_with(work: WorkingSet, colocation: Colocation, resource: Resource) -> None:
    """Assign the primary, then take its place into account."""
    archive = None
    if colocation.dependent_role >= Role.PROMOTED or -INFINITY < colocation.score < 0:
        archive = copy_table(resource.allowed)
    primary = colocation.primary
    if primary.unassigned:
        assign(work, primary, None, stop_if_fail=True)
    apply_colocation(work, resource, primary, colocation)
    if archive is not None and not any_available(resource.allowed):
        resource.allowed = archive


def add_dependent_wishes(colocation: Colocation, resource: Resource) -> None:
    """Add what a dependent would like to the resource's own table."""
    if not has_influence(colocation):
        return
    mode = ACTIVE
    if resource.variant is Variant.CLONE:
        mode |= NONNEGATIVE
    table = add_wishes(
        colocation.dependent, resource, resource.allowed, colocation, factor_of(colocation), mode
    )
    assert table is not None
    resource.allowed = table


def _assign_best(work: WorkingSet, resource: Resource, prefer: Node | None, *, stop_if_fail: bool) -> None:
    freest = ban_insufficient_capacity(work, resource)
    if prefer is None:
        prefer = freest
    if not resource.unassigned:
        return
    entries = first_entries(resource, current_node(resource), work.options.placement)
    resource.tie = None
    if len(entries) > 1 and entries[0].score == entries[1].score >= 0 and is_available(entries[1].node):
        first, second = entries[0].node, entries[1].node
        resource.tie = (first.name, first.assigned_count, second.name, second.assigned_count)
    chosen = _preferred(resource, prefer, entries)
    if chosen is None and entries:
        chosen = _prefer_current(resource, entries)
    assign_to(work, resource, chosen, force=False, stop_if_fail=stop_if_fail)


def _preferred(resource: Resource, prefer: Node | None, entries: list[Entry]) -> Entry | None:
    if prefer is None or not entries:
        return None
    entry = resource.allowed.get(prefer.id)
    if entry is None or entry.score < entries[0].score or not entry_available(entry, score=True):
        return None
    return entry


def _prefer_current(resource: Resource, entries: list[Entry]) -> Entry:
    best = entries[0]
    parent = resource.parent
    unique_instance = parent is not None and parent.is_clone and parent.unique
    if unique_instance or best.score <= 0 or not is_available(best.node):
        return best
    running = current_node(resource)
    if running is None or not is_available(running) or running.score < 0:
        return best
    own = resource.allowed.get(running.id)
    return own if own is not None and own.score == best.score else best


def _connection_assigned(work: WorkingSet, resource: Resource) -> None:
    node = work.nodes_by_name.get(resource.id)
    if node is None or node.kind is NodeKind.CLUSTER:
        return
    if resource.assigned is not None and resource.next_role is not Role.STOPPED:
        node.online = True
        if not node.unseen:
            return
        node.unclean = False
        return
    node.shutdown = True


def assign_resources(work: WorkingSet) -> None:
    """Assign everything: with remote nodes about, their connections first."""
    _record_capacities(work, "Original")
    if work.have_remote_nodes:
        for resource in list(work.resources):
            if resource.is_remote_connection:
                assign(work, resource, resource.partial_target, stop_if_fail=True)
    for resource in list(work.resources):
        if not (resource.is_remote_connection and work.have_remote_nodes):
            assign(work, resource, None, stop_if_fail=True)
    _record_capacities(work, "Remaining")


def _record_capacities(work: WorkingSet, when: str) -> None:
    work.utilization_lines.extend(
        f"{when}: {node.name} capacity:{amounts_text(node.utilization)}" for node in work.nodes
    )
