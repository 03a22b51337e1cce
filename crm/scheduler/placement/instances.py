"""Instances of clones and containers of bundles: their order, and who gets a node."""

from __future__ import annotations

from functools import cmp_to_key

from crm.scheduler.activity import current_node, entry_available, is_available
from crm.scheduler.colocation import has_influence, this_with, with_this
from crm.scheduler.model import Entry, Node, ProbeMode, Resource, Table, WorkingSet
from crm.scheduler.placement.assign import assign
from crm.scheduler.placement.nodes import unassign
from crm.scheduler.scores import INFINITY, Why
from crm.scheduler.tables import ban, new_entry
from crm.scheduler.wishes import DEFAULT, NONNEGATIVE, add_wishes, factor_of

EntryParts = tuple[Node, int, int, ProbeMode, Why | None]


def number_of(instance: Resource) -> int:
    """The number of an instance, or of the replica a container belongs to."""
    if instance.instance_number >= 0:
        return instance.instance_number
    return instance.replica.number if instance.replica is not None else 0


def _allowed_current(instance: Resource) -> tuple[bool, Node | None]:
    node = current_node(instance)
    if node is None:
        return True, None
    entry = instance.allowed.get(node.id)
    if entry is None or entry.score < 0:
        return False, None
    return True, node


def _did_fail(instance: Resource) -> bool:
    return any(one.failed for one in instance.walk())


def compare_instances(left: Resource, right: Resource) -> int:
    """Negative if the first instance is to be assigned before the second."""
    active_a, active_b = len(left.active_nodes), len(right.active_nodes)
    if active_a and active_b and active_a != active_b:
        return -1 if active_a < active_b else 1
    allowed_a, node_a = _allowed_current(left)
    allowed_b, node_b = _allowed_current(right)
    if allowed_a is not allowed_b:
        return -1 if allowed_a else 1
    if left.priority != right.priority:
        return -1 if left.priority > right.priority else 1
    if node_a is None or node_b is None:
        if node_a is node_b:
            return 0
        return 1 if node_a is None else -1
    result = _compare_places(left, right, node_a, node_b)
    if result is not None:
        return result
    failed_a, failed_b = _did_fail(left), _did_fail(right)
    if failed_a is not failed_b:
        return 1 if failed_a else -1
    wish_a, wish_b = _wish_for_current(left), _wish_for_current(right)
    if wish_a != wish_b:
        return -1 if wish_a > wish_b else 1
    number_a, number_b = number_of(left), number_of(right)
    return (number_a > number_b) - (number_a < number_b)


def _compare_places(left: Resource, right: Resource, node_a: Node, node_b: Node) -> int | None:
    can_a, can_b = is_available(node_a), is_available(node_b)
    if can_a is not can_b:
        return -1 if can_a else 1
    place_a, place_b = _top_entry(left, node_a), _top_entry(right, node_b)
    if place_a is None or place_b is None:
        if place_a is place_b:
            return 0
        return 1 if place_a is None else -1
    if place_a.count != place_b.count:
        return -1 if place_a.count < place_b.count else 1
    return None


def _top_entry(instance: Resource, node: Node) -> Entry | None:
    collective = instance.parent
    return collective.allowed.get(node.id) if collective is not None else instance.allowed.get(node.id)


def _wish_for_current(instance: Resource) -> int:
    node = current_node(instance)
    if node is None:
        return 0
    own, others = this_with(instance), with_this(instance)
    if not own and not others:
        return node.score
    table: Table | None = {node.id: new_entry(node)}
    for one in own:
        table = add_wishes(one.primary, instance, table, one, factor_of(one), DEFAULT)
    for one in others:
        if has_influence(one, instance):
            table = add_wishes(one.dependent, instance, table, one, factor_of(one), NONNEGATIVE)
    assert table is not None
    return table[node.id].score


def sort_instances(instances: list[Resource]) -> list[Resource]:
    """Sort by `compare_instances`; stable."""
    return sorted(instances, key=cmp_to_key(compare_instances))


# --- assigning


def assign_instances(
    work: WorkingSet, collective: Resource, instances: list[Resource], total_max: int, per_node_max: int
) -> None:
    """Keep instances where they are if that is fair, then place the others."""
    available = 0
    for entry in collective.allowed.values():
        entry.count = 0
        available += is_available(entry.node)
    optimal = max(1, total_max // available) if available else 1
    assigned = 0
    for instance in instances:
        if assigned >= total_max:
            break
        if not instance.unassigned:
            continue
        current = _worth_keeping(instance, optimal)
        if current is not None and _assign_early(
            work, collective, instance, current, per_node_max, total_max - assigned
        ):
            assigned += 1
    for instance in instances:
        if not instance.unassigned:
            continue
        if assigned >= total_max:
            ban(work, instance, None, -INFINITY, "instance_limit", collective.id)
        elif (node := _assign_one(work, instance, None, per_node_max)) is not None:
            _count(collective, node)
            assigned += 1


def _count(collective: Resource, node: Node) -> None:
    entry = collective.allowed.get(node.id)
    if entry is not None:
        entry.count += 1


def _worth_keeping(instance: Resource, optimal: int) -> Node | None:
    if not instance.active_nodes or instance.failed:
        return None
    node = current_node(instance)
    if node is None or not is_available(node) or node.score < 0:
        return None
    place = _top_entry(instance, node)
    return node if place is not None and place.count < optimal else None


def _tables(instance: Resource) -> list[tuple[Resource, list[EntryParts]]]:
    """What the tables hold, to be put back: most often it is not, so no entries are made for it."""
    return [
        (one, [(it.node, it.score, it.count, it.probe_mode, it.why) for it in one.allowed.values()])
        for one in instance.walk()
    ]


def _assign_early(
    work: WorkingSet,
    collective: Resource,
    instance: Resource,
    current: Node,
    per_node_max: int,
    available: int,
) -> bool:
    if not entry_available(instance.allowed.get(current.id), score=True):
        return False
    saved = _tables(instance)
    counts = {key: entry.count for key, entry in collective.allowed.items()}
    reserved = 0
    success = False
    while reserved < available:
        chosen = _assign_one(work, instance, current, per_node_max)
        if chosen is current:
            success = True
            break
        for one, parts in saved:
            one.allowed = {part[0].id: Entry(*part) for part in parts}
        if chosen is None:
            instance.unassigned = True
            break
        _count(collective, chosen)
        reserved += 1
        unassign(instance)
    for key, count in counts.items():
        collective.allowed[key].count = count
    if success:
        _count(collective, current)
    return success


def _assign_one(work: WorkingSet, instance: Resource, prefer: Node | None, per_node_max: int) -> Node | None:
    if instance.assigning:
        return None
    _ban_unusable(instance, per_node_max)
    return assign(work, instance, prefer, stop_if_fail=prefer is None)


def _ban_unusable(instance: Resource, per_node_max: int) -> None:
    """Each instance meets each node here: what is the same for all nodes is looked up before."""
    collective = instance.parent
    places = (collective if collective is not None else instance).allowed
    parts = (instance, *instance.children)
    for key, entry in instance.allowed.items():
        place = places.get(key)
        if (
            place is not None
            and place.score >= 0
            and place.count < per_node_max
            and not instance.removed
            and is_available(entry.node)
        ):
            continue
        for one in parts:
            own = one.allowed.get(key)
            if own is not None and own.score > -INFINITY:
                own.forbid("instance_limit", instance.id)
