"""Promotion: promotion scores, and which instances of a promotable clone get the role Promoted."""

from __future__ import annotations

from functools import cmp_to_key

from crm.scheduler import scores
from crm.scheduler.activity import entry_available, is_available, state
from crm.scheduler.colocation import has_influence, this_with, with_this
from crm.scheduler.failures import without_number
from crm.scheduler.model import Entry, Node, NodeKind, RecordedScores, Resource, Role, Variant, WorkingSet
from crm.scheduler.options import NoQuorum
from crm.scheduler.placement.colocate import apply_colocation
from crm.scheduler.placement.instances import compare_instances
from crm.scheduler.scores import INFINITY
from crm.scheduler.stages.location import attribute_for
from crm.scheduler.tables import ban
from crm.scheduler.wishes import ACTIVE, NONNEGATIVE, add_wishes, factor_of

# --- promotion scores


class Whereabouts:
    """Which instance (or its member) of a clone is active, and which was probed, where."""

    def __init__(self, clone: Resource) -> None:
        self.active: dict[tuple[str, str], Resource] = {}
        self.probed: dict[tuple[str, str], Resource] = {}
        for child in clone.children:
            for one in child.primitives():
                base = without_number(one.id)
                for node in one.active_nodes:
                    self.active.setdefault((base, node.id), one)
                for key in one.probed_nodes:
                    self.probed.setdefault((base, key), one)


def promotion_score(instance: Resource, node: Node, known: Whereabouts) -> tuple[int, bool]:
    """(score, whether it is a mere default) of an instance on a node: node attribute master-NAME."""
    if instance.children:
        total, default = 0, True
        for member in instance.children:
            score, is_default = promotion_score(member, node, known)
            total += score
            default = default and is_default
        return total, default
    if not _score_applies(instance, node, known):
        return 0, True
    name = instance.history_id or instance.id
    text = _attribute(instance, node, name)
    if text is None and not instance.unique:
        text = _attribute(instance, node, without_number(name))
    return (0, True) if text is None else (scores.parse(text), False)


def _attribute(instance: Resource, node: Node, name: str) -> str | None:
    return attribute_for(instance, node, f"master-{name}", assigned=not instance.unassigned)


def _score_applies(instance: Resource, node: Node, known: Whereabouts) -> bool:
    entry = instance.allowed.get(node.id)
    if entry is None or entry.score < 0:
        return False
    if not instance.unique:
        key = (without_number(instance.id), node.id)
        active = known.active.get(key)
        if active is instance:
            return True
        if active is None and key in known.probed:
            return True
    if not instance.active_nodes and not instance.probed_nodes:
        return True
    return node.id in instance.probed_nodes or node in instance.active_nodes


def add_promotion_scores(clone: Resource) -> None:
    """Let promotion scores count for placement as well, once."""
    if clone.promotion_added:
        return
    clone.promotion_added = True
    known = Whereabouts(clone)
    for instance in clone.children:
        for entry in instance.allowed.values():
            if not is_available(entry.node):
                continue
            score, _ = promotion_score(instance, entry.node, known)
            if score > 0:
                entry.add(score, "promotion", instance.id)
            instance.priority = max(instance.priority, score)


# --- roles


def set_instance_roles(work: WorkingSet, clone: Resource) -> None:
    """Choose the instances to promote."""
    clone.setting_roles = True
    for entry in clone.allowed.values():
        entry.count = 0
    known = Whereabouts(clone)
    for instance in clone.children:
        _set_priority(work, clone, instance, known)
    _sort_by_promotion(work, clone)
    count = 0
    for instance in clone.children:
        node = _node_of(instance)
        place, name = ("", "(inactive)") if node is None else ("on ", node.name)
        head = f"{instance.id} promotion score {place}"
        work.scores.append(RecordedScores(head, (name,), [instance.promotion_priority]))
        chosen = None
        if instance.promotion_priority >= 0 and (count < clone.promoted_max or not clone.managed):
            chosen = _promotable_place(clone, instance)
        lost_quorum = work.options.no_quorum is NoQuorum.FREEZE and not work.have_quorum
        if chosen is None or (lost_quorum and state(instance, current=True) is not Role.PROMOTED):
            _set_role(instance, Role.UNPROMOTED, demote=True)
            continue
        chosen.count += 1
        count += 1
        _set_role(instance, Role.PROMOTED, demote=False)
    clone.setting_roles = False


def _node_of(instance: Resource) -> Node | None:
    """The one node an instance is assigned to."""
    if instance.is_primitive:
        return instance.assigned_node
    nodes: list[Node] = []
    for one in instance.primitives():
        if one.assigned is not None and one.assigned.node not in nodes:
            nodes.append(one.assigned.node)
    return nodes[0] if len(nodes) == 1 else None


def _set_role(instance: Resource, role: Role, *, demote: bool) -> None:
    for one in instance.walk():
        if demote:
            placed = any(part.assigned is not None for part in one.primitives())
            one.next_role = role if placed else Role.STOPPED
        elif one.next_role is Role.UNKNOWN:
            one.next_role = role


def _set_priority(work: WorkingSet, clone: Resource, instance: Resource, known: Whereabouts) -> None:
    if state(instance, current=True) is Role.STARTED:  # of a group: as a whole, not member by member
        for one in instance.walk():
            if one.orig_role is Role.STARTED:
                one.orig_role = Role.UNPROMOTED
    node = _node_of(instance)
    if node is None:
        return
    next_role = state(instance, current=False)
    if next_role in {Role.UNKNOWN, Role.STARTED}:
        score, default = promotion_score(instance, node, known)
        instance.priority = -1 if default else score
    elif next_role in {Role.UNPROMOTED, Role.STOPPED}:
        instance.priority = -INFINITY
    _add_promoted_locations(instance, instance, node)
    _add_promoted_locations(instance, clone, node)
    for colocation in this_with(instance):
        apply_colocation(work, instance, colocation.primary, colocation)
    instance.promotion_priority = instance.priority
    if next_role is Role.PROMOTED:
        instance.promotion_priority = INFINITY


def _add_promoted_locations(instance: Resource, owner: Resource, node: Node) -> None:
    for location in reversed(owner.locations):
        if location.role is not Role.PROMOTED:
            continue
        for where, score in location.scores:
            if where is node:
                instance.priority = scores.add(instance.priority, score)


def _sort_by_promotion(work: WorkingSet, clone: Resource) -> None:
    if clone.promotion_sorted:
        return
    clone.promotion_sorted = True
    clone.updating_nodes = True
    for instance in clone.children:
        node = _node_of(instance)
        entry = clone.allowed.get(node.id) if node is not None else None
        if instance.promotion_priority >= 0 and entry is not None:
            entry.add(instance.promotion_priority, "promotion", instance.id)
    for one in with_this(clone):
        if one.primary_role is Role.PROMOTED and has_influence(one):
            table = add_wishes(one.dependent, clone, clone.allowed, one, factor_of(one), ACTIVE | NONNEGATIVE)
            assert table is not None
            clone.allowed = table
    for use in clone.tickets:
        if use.role is Role.PROMOTED and (not use.ticket.granted or use.ticket.standby):
            ban(work, clone, None, -INFINITY, "ticket", use.ticket.id)
    for instance in clone.children:
        _final_priority(clone, instance)
    clone.children = sorted(clone.children, key=cmp_to_key(_compare_promotion))
    clone.updating_nodes = False


def _final_priority(clone: Resource, instance: Resource) -> None:
    node = _node_of(instance)
    if not instance.managed and state(instance, current=False) is Role.PROMOTED:
        instance.promotion_priority = INFINITY
    elif node is None:
        instance.promotion_priority = -INFINITY
    elif instance.promotion_priority >= 0:
        entry = clone.allowed.get(node.id)
        if entry is not None:
            instance.promotion_priority = entry.score


def _compare_promotion(left: Resource, right: Resource) -> int:
    if left.promotion_priority != right.promotion_priority:
        return -1 if left.promotion_priority > right.promotion_priority else 1
    role_a, role_b = state(left, current=True), state(right, current=True)
    if role_a != role_b:
        return -1 if role_a > role_b else 1
    return compare_instances(left, right)


def _promotable_place(clone: Resource, instance: Resource) -> Entry | None:
    """The clone's entry for the instance's node if the instance can be promoted there."""
    if instance.variant is Variant.GROUP:
        for member in instance.children:
            if _promotable_place(clone, member) is None:
                return None
    node = _node_of(instance)
    if node is None:
        return None
    if not instance.managed:
        if state(instance, current=True) is not Role.PROMOTED:
            return None
    else:
        if instance.priority < 0:
            return None
        if not is_available(node):
            return None
        if node.kind is NodeKind.GUEST and not entry_available(Entry(node), guest=True):
            return None
    entry = clone.allowed.get(node.id)
    if entry is None or (instance.managed and entry.count >= clone.promoted_node_max):
        return None
    return entry
