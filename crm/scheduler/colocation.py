"""Colocations: which concern a resource, whether one matters now, what it does to scores and roles."""

from __future__ import annotations

from crm.scheduler import scores
from crm.scheduler.activity import entry_available
from crm.scheduler.model import Colocation, Entry, Node, NodeKind, Resource, Role, Table, Variant, WorkingSet
from crm.scheduler.scores import INFINITY
from crm.scheduler.stages.location import attribute_for
from crm.scheduler.tables import copy_table

_Key = tuple[int, int, bool, bytes]


def new_colocation(work: WorkingSet, colocation: Colocation) -> None:
    """Register a colocation in the lists of both its resources. A score of 0 means nothing."""
    if colocation.score == 0 or colocation.dependent is colocation.primary:
        return
    insert_sorted(colocation.dependent.this_with, colocation, by_primary=True)
    insert_sorted(colocation.primary.with_this, colocation, by_primary=False)
    work.colocations.append(colocation)


def _sort_key(colocation: Colocation, *, by_primary: bool) -> _Key:
    one = colocation.primary if by_primary else colocation.dependent
    return (-one.priority, -one.variant, not (one.is_clone and one.promotable), one.id.encode())


def insert_sorted(found: list[Colocation], colocation: Colocation, *, by_primary: bool) -> None:
    """Before the first one that does not sort earlier."""
    key = _sort_key(colocation, by_primary=by_primary)
    for index, other in enumerate(found):
        if key <= _sort_key(other, by_primary=by_primary):
            found.insert(index, colocation)
            return
    found.append(colocation)


def _merge(found: list[Colocation], added: list[Colocation], *, by_primary: bool) -> None:
    """Add a list to another one.

    Pacemaker inserts the first added one as often as there are added ones, unless the list was empty.
    """
    if not found:
        found.extend(added)
        return
    for _ in added:
        insert_sorted(found, added[0], by_primary=by_primary)


# --- effective lists


def this_with(resource: Resource) -> list[Colocation]:
    """The colocations in which the resource is the dependent, with those its ancestors pass on."""
    found: list[Colocation] = []
    _collect(resource, resource, found, by_primary=True)
    return found


def with_this(resource: Resource) -> list[Colocation]:
    """The colocations in which the resource is the primary, with those its ancestors pass on."""
    found: list[Colocation] = []
    _collect(resource, resource, found, by_primary=False)
    return found


def _own(resource: Resource, *, by_primary: bool) -> list[Colocation]:
    return resource.this_with if by_primary else resource.with_this


def _collect(resource: Resource, asking: Resource, found: list[Colocation], *, by_primary: bool) -> None:
    match resource.variant:
        case Variant.PRIMITIVE:
            if resource is not asking:
                for one in _own(resource, by_primary=by_primary):
                    if one.explicit:
                        insert_sorted(found, one, by_primary=by_primary)
                return
            _merge(found, _own(resource, by_primary=by_primary), by_primary=by_primary)
            if resource.parent is not None:
                _collect(resource.parent, asking, found, by_primary=by_primary)
        case Variant.GROUP:
            _collect_group(resource, asking, found, by_primary=by_primary)
        case Variant.CLONE:
            _merge(found, _own(resource, by_primary=by_primary), by_primary=by_primary)
            if resource.parent is not None:
                _collect(resource.parent, asking, found, by_primary=by_primary)
        case Variant.BUNDLE:
            if _bundle_passes_on(resource, asking):
                _merge(found, _own(resource, by_primary=by_primary), by_primary=by_primary)


def _collect_group(group: Resource, asking: Resource, found: list[Colocation], *, by_primary: bool) -> None:
    if not group.children:
        return
    key_member = group.children[0 if by_primary else -1]
    if asking is group or asking is key_member:
        _merge(found, _own(group, by_primary=by_primary), by_primary=by_primary)
        if group.parent is not None:
            _collect(group.parent, asking, found, by_primary=by_primary)
        if by_primary and not group.colocated:
            return
        for member in group.children:
            if member is not asking:
                _collect(member, asking, found, by_primary=by_primary)
        return
    if not by_primary:
        return
    for member in group.children:
        if member is asking:
            return
        if not member.managed:
            for one in group.this_with:
                if one.score >= INFINITY:
                    insert_sorted(found, one, by_primary=True)
            return


def _bundle_passes_on(bundle: Resource, asking: Resource) -> bool:
    data = bundle.bundle
    if asking is bundle or data is None:
        return True
    if any(asking is replica.container for replica in data.replicas):
        return True
    inner = data.child
    if inner is None or not inner.promotable:
        return False
    if asking is inner:
        return inner.setting_roles
    return asking.parent is inner and not asking.unassigned


# --- does it matter


def has_influence(colocation: Colocation, primary: Resource | None = None) -> bool:
    """Whether the dependent's wishes count for the primary's placement."""
    one = primary if primary is not None else colocation.primary
    if colocation.dependent.remote_nesting_allowed and not one.failed and len(one.active_nodes) == 1:
        return False
    return colocation.influence or not one.active_nodes


def role_carrier(resource: Resource) -> Resource:
    """Of a bundle's container: the resource inside, whose role counts."""
    replica = resource.replica
    if replica is not None and replica.container is resource and replica.child is not None:
        return replica.child
    return resource


class Affects:
    """What a colocation acts on."""

    NOTHING = 0
    ROLE = 1
    LOCATION = 2


def affects(dependent: Resource, primary: Resource, colocation: Colocation, *, preview: bool) -> int:
    """Whether a colocation acts now, and on what."""
    if not preview and primary.unassigned:
        return Affects.NOTHING
    dependent_for_role = role_carrier(dependent)
    primary_for_role = role_carrier(primary)
    parent = dependent_for_role.parent
    if (
        colocation.dependent_role >= Role.UNPROMOTED
        and parent is not None
        and (
            parent.promotable or parent.meta.get("promotable", "").lower() in {"true", "1", "yes", "on", "y"}
        )
        and not dependent_for_role.unassigned
    ):
        return Affects.ROLE
    if not preview and not dependent.unassigned:
        return Affects.NOTHING
    if (
        colocation.dependent_role is not Role.UNKNOWN
        and colocation.dependent_role is not dependent_for_role.next_role
    ):
        return Affects.NOTHING
    if (
        colocation.primary_role is not Role.UNKNOWN
        and colocation.primary_role is not primary_for_role.next_role
    ):
        return Affects.NOTHING
    return Affects.LOCATION


# --- values compared


def colocation_attribute(resource: Resource, node: Node, name: str) -> str | None:
    """The value of the colocation's node attribute for a resource on a node, lower case for comparing."""
    launcher = node.launcher if node.kind is NodeKind.GUEST else None
    if launcher is not None and launcher.replica is not None and _is_inside(resource, launcher.parent):
        host = launcher.assigned_node
        value = host.attributes.get(name) if host is not None else None
    else:
        value = attribute_for(resource, node, name, assigned=True)
    return value.lower() if value is not None else None


def _is_inside(resource: Resource, bundle: Resource | None) -> bool:
    """True for what a bundle's containers run, not for containers, addresses and connections."""
    return bundle is not None and bundle.bundle is not None and bundle.bundle.child is resource.top()


def any_available(table: Table) -> bool:
    """True if some node of the table could be taken."""
    return any(entry_available(entry, score=True) for entry in table.values())


# --- acting on a primitive's scores and role


def apply_to_scores(dependent: Resource, primary: Resource, colocation: Colocation) -> None:
    """Add a colocation's score to the dependent's table (primary: an assigned primitive)."""
    score = colocation.score
    place = primary.assigned
    if place is None and score < 0:
        return
    name = colocation.attribute
    value = colocation_attribute(primary, place.node, name) if place is not None else None
    work = copy_table(dependent.allowed)
    by_node = name == "#uname"
    for entry in work.values():
        if place is None:
            entry.add(-score, "colocation", colocation.id)
            continue
        if by_node and entry.node is place.node:
            equal = True
        else:
            equal = colocation_attribute(dependent, entry.node, name) == value
        if equal:
            if score < INFINITY:
                entry.add(score, "colocation", colocation.id)
        elif score >= INFINITY:
            entry.add(-INFINITY, "colocation", colocation.id)
    if score <= -INFINITY or score >= INFINITY or any_available(work):
        dependent.allowed = work


def apply_to_priority(dependent: Resource, primary: Resource, colocation: Colocation) -> int:
    """Add to the dependent's promotion priority; what was added is returned."""
    if dependent.assigned is None:
        return 0
    primary_role = role_carrier(primary).next_role
    place = primary.assigned
    if (
        place is not None
        and colocation.primary_role is not Role.UNKNOWN
        and colocation.primary_role is not primary_role
    ):
        return 0
    theirs = colocation_attribute(primary, place.node, colocation.attribute) if place is not None else None
    ours = colocation_attribute(dependent, dependent.assigned.node, colocation.attribute)
    if theirs != ours:
        if colocation.score < INFINITY or colocation.dependent_role is not Role.PROMOTED:
            return 0
        multiplier = -1
    else:
        multiplier = -1 if colocation.dependent_role is Role.UNPROMOTED else 1
    change = multiplier * colocation.score
    dependent.priority = scores.add(dependent.priority, change)
    return change


def intersect(dependent: Resource, nodes: list[Entry], colocation: Colocation, *, add_scores: bool) -> None:
    """Bar the dependent from all nodes but these; optionally add these entries' scores."""
    by_id = {entry.node.id: entry for entry in nodes}
    for key, entry in dependent.allowed.items():
        other = by_id.get(key)
        if other is None:
            entry.add(-INFINITY, "colocation", colocation.id)
        elif add_scores:
            entry.add(other.score, "colocation", colocation.id)
