"""Applying a colocation, whatever kind of resource its primary is."""

from __future__ import annotations

from crm.scheduler import scores
from crm.scheduler.activity import locations
from crm.scheduler.colocation import (
    Affects,
    affects,
    apply_to_priority,
    apply_to_scores,
    colocation_attribute,
    intersect,
)
from crm.scheduler.compatible import find_compatible, find_compatible_container
from crm.scheduler.model import Colocation, Entry, Resource, Role, Variant, WorkingSet
from crm.scheduler.placement.nodes import assign_to
from crm.scheduler.scores import INFINITY


def apply_colocation(work: WorkingSet, dependent: Resource, primary: Resource, colocation: Colocation) -> int:
    """Let a colocation act on the dependent's scores or promotion priority; returns what priority gained."""
    if dependent.variant is Variant.GROUP:
        return _dependent_group(work, dependent, primary, colocation)
    match primary.variant:
        case Variant.PRIMITIVE:
            return _with_primitive(dependent, primary, colocation)
        case Variant.GROUP:
            return _with_group(work, dependent, primary, colocation)
        case Variant.CLONE:
            return _with_clone(work, dependent, primary, colocation)
        case _:
            return _with_bundle(work, dependent, primary, colocation)


def _dependent_group(work: WorkingSet, group: Resource, primary: Resource, colocation: Colocation) -> int:
    if not group.children:
        return 0
    if group.colocated:
        change = apply_colocation(work, group.children[0], primary, colocation)
        if change:
            group.priority = scores.add(group.priority, change)
        return change
    if colocation.score >= INFINITY:
        return 0
    for member in group.children:
        apply_colocation(work, member, primary, colocation)
    return 0


def _with_primitive(dependent: Resource, primary: Resource, colocation: Colocation) -> int:
    match affects(dependent, primary, colocation, preview=False):
        case Affects.ROLE:
            return apply_to_priority(dependent, primary, colocation)
        case Affects.LOCATION:
            apply_to_scores(dependent, primary, colocation)
        case _:
            pass
    return 0


def _with_group(work: WorkingSet, dependent: Resource, primary: Resource, colocation: Colocation) -> int:
    if primary.unassigned or not primary.children:
        return 0
    if primary.colocated:
        member = primary.children[-1 if colocation.score >= INFINITY else 0]
        return apply_colocation(work, dependent, member, colocation)
    if colocation.score >= INFINITY:
        return 0
    return sum(apply_colocation(work, dependent, member, colocation) for member in primary.children)


# --- clones


def _with_clone(work: WorkingSet, dependent: Resource, primary: Resource, colocation: Colocation) -> int:
    if primary.unassigned and not primary.setting_roles:
        return 0
    if primary.promotable and colocation.primary_role is not Role.UNKNOWN:
        done, change = _with_promotable(dependent, primary, colocation)
        if done:
            return change
    configured = colocation.dependent
    if _interleaves(configured, primary):
        instance = find_compatible(dependent, primary, role=Role.UNKNOWN, current=False)
        if instance is not None:
            return apply_colocation(work, dependent, instance, colocation)
        if colocation.score >= INFINITY:
            assign_to(work, dependent, None, force=True, stop_if_fail=True)
        return 0
    if colocation.score >= INFINITY:
        entries: list[Entry] = []
        for instance in primary.children:
            places = locations(instance, current=False)
            if len(places) == 1 and not any(one.blocked for one in instance.walk()):
                entries.append(Entry(places[0]))
        intersect(dependent, entries, colocation, add_scores=False)
        return 0
    return sum(apply_colocation(work, dependent, instance, colocation) for instance in primary.children)


def _interleaves(dependent: Resource, primary: Resource) -> bool:
    if not dependent.interleave or dependent.variant < Variant.CLONE:
        return False
    return max_per_node(dependent) == max_per_node(primary)


def max_per_node(resource: Resource) -> int:
    """How many instances a clone or bundle may have on one node."""
    return resource.bundle.per_host if resource.bundle is not None else resource.clone_node_max


def _with_promotable(dependent: Resource, primary: Resource, colocation: Colocation) -> tuple[bool, int]:
    """Colocation with a role: (handled, change of priority)."""
    if dependent.unassigned:
        _intersect_with_role(dependent, primary, colocation)
        return True, 0
    if colocation.dependent_role is not Role.PROMOTED:
        return False, 0
    instance = find_compatible(
        dependent,
        primary,
        role=colocation.primary_role,
        current=False,
        attribute=colocation.attribute,
    )
    if instance is not None:
        before = dependent.priority
        dependent.priority = scores.add(before, colocation.score)
        return True, colocation.score
    if colocation.score >= INFINITY:
        before = dependent.priority
        dependent.priority = -INFINITY
        return True, -INFINITY
    return True, 0


def _intersect_with_role(dependent: Resource, primary: Resource, colocation: Colocation) -> None:
    entries: list[Entry] = []
    for instance in primary.children:
        if next_role_of(instance) is not colocation.primary_role:
            continue
        first = instance.children[0] if instance.variant is Variant.GROUP else instance
        if first.assigned is None:
            continue
        if colocation.score < INFINITY:
            _add_for_equal(dependent, instance, first.assigned, colocation)
        else:
            entries.append(first.assigned)
    if colocation.score >= INFINITY and not (
        colocation.primary_role is Role.PROMOTED and colocation.dependent_role is Role.PROMOTED
    ):
        intersect(dependent, entries, colocation, add_scores=True)


def _add_for_equal(dependent: Resource, instance: Resource, place: Entry, colocation: Colocation) -> None:
    value = colocation_attribute(instance, place.node, colocation.attribute)
    for entry in dependent.allowed.values():
        if colocation_attribute(dependent, entry.node, colocation.attribute) == value:
            entry.add(colocation.score, "colocation", colocation.id)


def next_role_of(instance: Resource) -> Role:
    """The role to be of an instance; of a group the highest of its members'."""
    if instance.is_primitive:
        return instance.next_role
    return max((next_role_of(child) for child in instance.children), default=instance.next_role)


# --- bundles


def _with_bundle(work: WorkingSet, dependent: Resource, primary: Resource, colocation: Colocation) -> int:
    data = primary.bundle
    assert data is not None
    if primary.unassigned:
        return 0
    if colocation.dependent.variant > Variant.GROUP:
        container = find_compatible_container(dependent, primary)
        if container is not None:
            return apply_colocation(work, dependent, container, colocation)
        if colocation.score >= INFINITY:
            assign_to(work, dependent, None, force=True, stop_if_fail=True)
        return 0
    entries: list[Entry] = []
    change = 0
    for replica in data.replicas:
        if colocation.score < INFINITY:
            change += apply_colocation(work, dependent, replica.container, colocation)
            continue
        if replica.container.assigned is None or any(one.blocked for one in replica.container.walk()):
            continue
        if colocation.primary_role >= Role.PROMOTED and (
            replica.child is None or replica.child.next_role < Role.PROMOTED
        ):
            continue
        entries.append(replica.container.assigned)
    if colocation.score >= INFINITY:
        intersect(dependent, entries, colocation, add_scores=False)
    return change
