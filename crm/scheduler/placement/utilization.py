"""Utilization: nodes with too little capacity for a resource, and those tied to it, are barred."""

from __future__ import annotations

from functools import cmp_to_key

from crm.scheduler.activity import current_node, entry_available
from crm.scheduler.colocation import Affects, affects, this_with, with_this
from crm.scheduler.model import Colocation, Entry, Node, Resource, Table, Variant, WorkingSet
from crm.scheduler.node_order import compare_capacity, sorted_as_met
from crm.scheduler.scores import INFINITY
from crm.scheduler.table_order import table_order
from crm.scheduler.tables import ban
from crm.scheduler.wishes import THIS_WITH, add_wishes


def ban_insufficient_capacity(work: WorkingSet, resource: Resource) -> Node | None:
    """Bar nodes that cannot hold the resource; returns one to prefer where none holds all that go along."""
    if work.options.placement == "default":
        return None
    together = _tied_together(resource, [])
    if resource not in together:
        together.append(resource)
    needs = _sum_of(resource, together)
    freest: Node | None = None
    fits_somewhere = False
    for key in table_order(tuple(resource.allowed)):
        entry = resource.allowed[key]
        if not entry_available(entry, score=True):
            continue
        if _fits(entry.node, needs):
            fits_somewhere = True
        if freest is None or compare_capacity(entry.node, freest) < 0:
            freest = entry.node
    alone = resource.utilization if resource.is_primitive else needs
    wanted = needs if fits_somewhere else alone
    for entry in list(resource.allowed.values()):
        if entry_available(entry, score=True) and not _fits(entry.node, wanted):
            ban(work, resource, entry.node, -INFINITY, "utilization", resource.id)
    return None if fits_somewhere else freest


def _fits(node: Node, needs: dict[str, int]) -> bool:
    return all(node.utilization.get(name, 0) >= amount for name, amount in needs.items())


def _tied_together(resource: Resource, found: list[Resource]) -> list[Resource]:
    if resource in found:
        return found
    found.append(resource)
    for one in this_with(resource):
        if one.score >= INFINITY and _acts(one.dependent if one.dependent is resource else resource, one):
            _tied_together(one.primary, found)
    for one in with_this(resource):
        dependent = one.dependent
        if one.score < INFINITY or (
            resource.variant is Variant.CLONE and dependent.variant is not Variant.CLONE
        ):
            continue
        if _acts(dependent, one):
            _tied_together(dependent, found)
    return found


def _acts(dependent: Resource, colocation: Colocation) -> bool:
    return affects(dependent, colocation.primary, colocation, preview=True) == Affects.LOCATION


def _sum_of(resource: Resource, together: list[Resource]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in together:
        if one is resource or one.unassigned:
            _add_unassigned(one, together, total)
    return total


def _add(resource: Resource, total: dict[str, int]) -> None:
    if resource.unassigned:
        for name, amount in resource.utilization.items():
            total[name] = total.get(name, 0) + amount


def _add_unassigned(one: Resource, together: list[Resource], total: dict[str, int]) -> None:
    match one.variant:
        case Variant.PRIMITIVE:
            _add(one, total)
        case Variant.GROUP:
            cloned = one.parent is not None
            members = one.children if one.colocated or cloned else one.children[:1]
            for member in members:
                if member not in together:
                    _add(member, total)
        case Variant.CLONE:
            _add_for_clone(one, together, total)
        case _:
            assert one.bundle is not None
            if one.bundle.replicas:
                _add(one.bundle.replicas[0].container, total)


def _add_for_clone(clone: Resource, together: list[Resource], total: dict[str, int]) -> None:
    if any(instance in together for instance in clone.children):
        return
    for instance in clone.children:
        if any(member in together for member in instance.children):
            _add_unassigned(instance, together, total)
            return
    if clone.children:
        _add_unassigned(clone.children[0], together, total)


# --- order of resources


def sort_for_capacity(work: WorkingSet) -> None:
    """With capacity limits, place the resources first that have most to say about where they go."""
    if work.options.placement == "default" or not work.nodes:
        return
    entries = [Entry(node, node.score) for node in work.nodes]
    nodes = [entry.node for entry in sorted_as_met(entries, None, work.options.placement)]
    tables: dict[str, Table] = {}
    for resource in work.resources:
        table = add_wishes(resource, resource, None, None, 1.0, THIS_WITH)
        tables[resource.id] = table if table is not None else {}

    def compare(left: Resource, right: Resource) -> int:
        if left.priority != right.priority:
            return -1 if left.priority > right.priority else 1
        table_a, table_b = tables[left.id], tables[right.id]
        here_a, here_b = _score_here(left, table_a), _score_here(right, table_b)
        if here_a != here_b:
            return -1 if here_a > here_b else 1
        for node in nodes:
            a, b = table_a.get(node.id), table_b.get(node.id)
            score_a = a.score if a is not None else -INFINITY
            score_b = b.score if b is not None else -INFINITY
            if score_a != score_b:
                return -1 if score_a > score_b else 1
        return 0

    work.resources.sort(key=cmp_to_key(compare))


def _score_here(resource: Resource, table: Table) -> int:
    node = current_node(resource)
    entry = table.get(node.id) if node is not None else None
    return entry.score if entry is not None else -INFINITY
