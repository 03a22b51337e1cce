"""What Pacemaker 2.1.5 does where today's Pacemaker, and so our scheduler, does something else.

Each change since is the old behaviour itself, as replacements for functions of our scheduler. Nothing here
touches the scheduler as it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from types import FunctionType
from typing import Any

from crm import scheduler
from crm.cib.model import Element
from crm.scheduler import active_nodes, colocation, migration_history, rules, scores, wishes
from crm.scheduler.activity import current_node, entry_available, is_available
from crm.scheduler.kinds import Rel
from crm.scheduler.migration_history import migrate_from_failure as _migrate_from_failure_now
from crm.scheduler.model import Action, Colocation, Node, Resource, Role, Table, Variant, WorkingSet
from crm.scheduler.placement import assign, instances, promotion
from crm.scheduler.placement.nodes import unassign
from crm.scheduler.propagation import methods, update
from crm.scheduler.relations import order_tasks
from crm.scheduler.rules import holds
from crm.scheduler.scores import INFINITY
from crm.scheduler.stages import internal_constraints, location, orderings, unpack_operation
from crm.scheduler.tables import copy_table, new_entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change since 2.1.5: its name in the table of docs/scheduler-conformance.md, and the old behaviour."""

    name: str
    swaps: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...]


@contextmanager
def old_rules(changes: Iterable[Change]) -> Iterator[None]:
    """Run the scheduler as if these changes had not been made."""
    _passed_on.clear()
    with ExitStack() as stack:
        for change in changes:
            for function, old in change.swaps:
                stack.enter_context(_replaced(function, old))
        yield
    _passed_on.clear()


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the scheduler's modules hold a function: by a name, or in a table."""

    names: list[tuple[Any, str]] = field(default_factory=list)
    entries: list[tuple[dict[Any, Any], Any]] = field(default_factory=list)
    out_of_reach: list[str] = field(default_factory=list)


@cache
def _places() -> dict[Callable[..., Any], _Places]:
    """Of every function of the scheduler. All its modules are loaded for it: it imports some when it runs."""
    modules = [import_module(one.name) for one in walk_packages(scheduler.__path__, f"{scheduler.__name__}.")]
    types = {value for one in modules for value in vars(one).values() if isinstance(value, type)}
    found: dict[Callable[..., Any], _Places] = {}
    for owner in (*modules, *sorted(types, key=lambda one: (one.__module__, one.__qualname__))):
        for name, value in vars(owner).items():
            if isinstance(value, FunctionType):
                found.setdefault(value, _Places()).names.append((owner, name))
            elif isinstance(value, dict):
                for key, entry in value.items():
                    if isinstance(entry, FunctionType):
                        found.setdefault(entry, _Places()).entries.append((value, key))
            elif isinstance(value, list | tuple | set | frozenset):
                for entry in value:
                    if isinstance(entry, FunctionType):
                        found.setdefault(entry, _Places()).out_of_reach.append(name)
    return found


@contextmanager
def _replaced(function: Callable[..., Any], by: Callable[..., Any]) -> Iterator[None]:
    """Use another function wherever the scheduler's modules and classes, or their tables, hold this one."""
    places = _places().get(function)
    if places is None or any(getattr(owner, name) is not function for owner, name in places.names):
        raise LookupError(f"{function.__qualname__} is not, or no longer, where crm.scheduler holds it")
    if places.out_of_reach:
        raise LookupError(f"{function.__qualname__} is also in {places.out_of_reach}, and would stay there")
    for owner, name in places.names:
        setattr(owner, name, by)
    for table, key in places.entries:
        table[key] = by
    try:
        yield
    finally:
        for owner, name in places.names:
            setattr(owner, name, function)
        for table, key in places.entries:
            table[key] = function


# --- rules, options, history


def _nodes_of_rule(
    work: WorkingSet, rule: Element, resource: Resource, groups: tuple[str, ...]
) -> list[tuple[Node, int]]:
    """A node without the score-attribute is banned; with "or" the node's own score is added."""
    attribute = rule.attributes.get("score-attribute")
    either = rule.get("boolean-op").lower() == "or"
    found = []
    for node in work.nodes:
        if not holds(rule, location._context(work, node, resource, groups), work.elements):
            continue
        score = scores.parse(rule.attributes.get("score"))
        if attribute is not None:
            name = location._substitute(attribute, groups)
            text = location.attribute_for(resource, node, name, assigned=False)
            score = scores.parse(text) if text is not None else -INFINITY
        found.append((node, scores.add(node.score, score) if either else score))
    return found


_flags_for = orderings.flags_for


def _serialize_flags(kind: orderings.Kind, first_task: str, symmetry: orderings.Symmetry) -> int:
    flags = _flags_for(kind, first_task, symmetry)
    return flags | Rel.ORDERED if kind is orderings.Kind.SERIALIZE else flags


_remap_by_rc = unpack_operation._remap_by_rc


def _remap_expired(work: WorkingSet, run: Any, entry: Any, *, expired: bool) -> None:
    _remap_by_rc(work, run, entry, expired=expired and entry.rc not in {8, 9})


_add_active_node = active_nodes.add_active_node


def _add_without_maintenance(work: WorkingSet, resource: Resource, node: Node, *, failed: bool) -> None:
    before = resource.maintenance
    _add_active_node(work, resource, node, failed=failed)
    resource.maintenance = before


def _assign_early_once(
    work: WorkingSet, clone: Resource, instance: Resource, current: Node, per_node_max: int, available: int
) -> bool:
    """One attempt; a group's members stay where it put them, and what found no node gets none later."""
    if not entry_available(instance.allowed.get(current.id), score=True):
        return False
    saved = copy_table(instance.allowed)
    chosen = instances._assign_one(work, instance, current, per_node_max)
    if chosen is current:
        instances._count(clone, current)
        return True
    instance.allowed = saved
    if chosen is not None and instance.is_primitive:
        unassign(instance)
    return False


def _hard_error(work: WorkingSet, run: Any, entry: Any, *, expired: bool) -> None:
    """A stop that failed for good blocks the resource, expired or not."""
    _hard_error_now(work, run, entry, expired=False)


_hard_error_now = unpack_operation._hard_error
_remap = unpack_operation._remap


def _remap_monitors_only(work: WorkingSet, run: Any, entry: Any, *, expired: bool, masked: bool) -> None:
    degraded = entry.rc in {190, 191} and entry.task != "monitor"
    if degraded:
        entry.rc = 1
    _remap(work, run, entry, expired=expired, masked=masked)


_factor_of = wishes.factor_of


def _factor_alone(one: Colocation, scale: float = 1.0) -> float:
    return _factor_of(one, -1.0 if scale < 0 else 1.0)


def _rsc_expression(item: Element, context: rules.Context) -> bool:
    """Without a provider it holds for agents without one only."""
    if context.agent is None:
        return False
    standard, provider, kind = context.agent
    return (
        item.attributes.get("class") in {None, standard}
        and item.get("provider") == (provider or "")
        and item.attributes.get("type") in {None, kind}
    )


_member_after = internal_constraints._member_after


def _member_after_unordered(
    work: WorkingSet,
    previous: Resource,
    member: Resource,
    *,
    previous_active: bool,
    last_active: Resource | None,
) -> None:
    """No order between the stop of an active member and the start of an inactive one before it."""
    _member_after(work, previous, member, previous_active=True, last_active=None)
    if member.active_nodes and not previous_active and last_active is not None:
        order_tasks(work, member, "stop", last_active, "stop", Rel.ORDERED)


_assign_one = instances._assign_one
_collect = colocation._collect
_passed_on: dict[int, tuple[Resource, bool, int]] = {}
"""By identity of an instance: whether it got all colocations of its clone or bundle, and how often."""


def _assign_one_sparing(work: WorkingSet, instance: Resource, *arguments: Any) -> Node | None:
    """Colocations are passed on when an instance is assigned, each time anew.

    When there is an instance for every node, only mandatory colocations and dislikes are.
    """
    above = instance.parent
    assert above is not None
    available = sum(is_available(entry.node) for entry in above.allowed.values())
    count = len(above.bundle.replicas) if above.bundle is not None else above.clone_max
    times = _passed_on[id(instance)][2] if id(instance) in _passed_on else 0
    if not instance.assigning:
        _passed_on[id(instance)] = (instance, count < available, times + 1)
    return _assign_one(work, instance, *arguments)


def _collect_sparing(
    resource: Resource, asking: Resource, found: list[Colocation], *, by_primary: bool
) -> None:
    if resource is asking or resource.variant < Variant.CLONE:
        _collect(resource, asking, found, by_primary=by_primary)
        return
    if asking.variant is Variant.GROUP and not asking.unassigned:
        return  # the first member has taken them over
    instance = asking
    while instance.parent is not None and instance.parent is not resource:
        instance = instance.parent
    _, everything, times = _passed_on.get(id(instance), (instance, False, 0))
    for one in colocation._own(resource, by_primary=by_primary) * times:
        if not by_primary and not colocation.has_influence(one, instance):
            continue  # not even for the capacity that is needed
        if everything or one.score < 0 or (by_primary and one.score >= INFINITY):
            colocation.insert_sorted(found, one, by_primary=by_primary)


def _wish_of_clone(instance: Resource) -> int:
    """Only the clone's (or bundle's) own colocations count when its instances are sorted."""
    node, above = current_node(instance), instance.parent
    if node is None or above is None:
        return 0
    table: Table | None = {node.id: new_entry(node)}
    for one in above.this_with:
        table = wishes.add_wishes(one.primary, instance, table, one, wishes.factor_of(one), wishes.DEFAULT)
    for one in above.with_this:
        if colocation.has_influence(one, instance):
            factor = wishes.factor_of(one)
            table = wishes.add_wishes(one.dependent, instance, table, one, factor, wishes.NONNEGATIVE)
    assert table is not None
    return table[node.id].score


def _passes_to_containers(bundle: Resource, asking: Resource) -> bool:
    data = bundle.bundle
    return asking is bundle or data is None or any(asking is one.container for one in data.replicas)


_final_priority = promotion._final_priority


def _final_priority_if_placed(clone: Resource, instance: Resource) -> None:
    """An instance without a node keeps its 0, before those that do not want to be promoted."""
    if promotion._node_of(instance) is not None:
        _final_priority(clone, instance)


_sort_by_promotion = promotion._sort_by_promotion


def _sort_with_primaries(work: WorkingSet, clone: Resource) -> None:
    """Those who go with others when promoted count these others' scores before they are sorted."""
    if not clone.promotion_sorted:
        clone.updating_nodes = True
        for one in colocation.this_with(clone):
            if one.dependent_role is Role.PROMOTED:
                mode = wishes.DEFAULT if one.score >= INFINITY else wishes.ACTIVE
                table = clone.allowed
                clone.allowed = (
                    wishes.add_wishes(one.primary, clone, table, one, wishes.factor_of(one), mode) or table
                )
        clone.updating_nodes = False
    _sort_by_promotion(work, clone)


_add_wishes = wishes.add_wishes


def _add_wishes_twice(
    source: Resource,
    target: Resource,
    table: Table | None,
    one: Colocation | None,
    factor: float,
    mode: int,
) -> Table | None:
    """What goes with a group counts by way of its members, and once more by way of the group."""
    if source.variant is not Variant.GROUP or not source.children or table is None or source.updating_nodes:
        return _add_wishes(source, target, table, one, factor, mode)
    source.updating_nodes = True
    work: Table | None = _add_wishes(source.children[0], target, table, one, factor, mode)
    if work is not None and colocation.any_available(work):
        primaries = bool(mode & wishes.THIS_WITH)
        own = colocation.this_with(source) if primaries else colocation.with_this(source.children[-1])
        for each in own:
            if primaries or colocation.has_influence(each):
                other = each.primary if primaries else each.dependent
                scale = wishes.factor_of(each, factor)
                work = wishes.add_wishes(other, target, work, each, scale, mode | wishes.ACTIVE)
    source.updating_nodes = False
    return work


_apply_this_with = assign.apply_this_with


def _apply_with_anew(work: WorkingSet, one: Colocation, resource: Resource) -> None:
    """A bundle is assigned anew for each that goes with it."""
    if one.primary.bundle is not None and not one.primary.unassigned:
        assign.assign(work, one.primary, None, stop_if_fail=True)
    _apply_this_with(work, one, resource)


def _apply_in_one_pass(work: WorkingSet, resource: Resource) -> None:
    """What a resource goes with, then what goes with it; in each list optional ones keep their place."""
    for one in colocation.this_with(resource):
        assign.apply_this_with(work, one, resource)
    for one in colocation.with_this(resource):
        assign.add_dependent_wishes(one, resource)


_affects = colocation.affects


def _affects_unless_equal(dependent: Resource, primary: Resource, one: Colocation, *, preview: bool) -> int:
    """A dislike with a role concerns those who will have another role."""
    if one.score >= 0:
        return _affects(dependent, primary, one, preview=preview)
    plain = copy(one)
    plain.primary_role = Role.UNKNOWN
    result = _affects(dependent, primary, plain, preview=preview)
    if result == colocation.Affects.ROLE:
        return result
    plain.dependent_role = Role.UNKNOWN
    roles = (
        (one.dependent_role, colocation.role_carrier(dependent).next_role),
        (one.primary_role, colocation.role_carrier(primary).next_role),
    )
    if any(wanted is role is not Role.UNKNOWN for wanted, role in roles):
        return colocation.Affects.NOTHING
    return _affects(dependent, primary, plain, preview=preview)


def _apply_to_priority_by_place(dependent: Resource, primary: Resource, one: Colocation) -> int:
    """Who runs nowhere is no reason; who runs elsewhere is one whatever its role will be."""
    if dependent.assigned is None or primary.assigned is None:
        return 0
    theirs = colocation.colocation_attribute(primary, primary.assigned.node, one.attribute)
    ours = colocation.colocation_attribute(dependent, dependent.assigned.node, one.attribute)
    if theirs != ours:
        if one.score < INFINITY or one.dependent_role is not Role.PROMOTED:
            return 0
        change = -INFINITY
    elif one.primary_role not in {Role.UNKNOWN, colocation.role_carrier(primary).next_role}:
        return 0
    else:
        change = -one.score if one.dependent_role is Role.UNPROMOTED else one.score
    dependent.priority = scores.add(dependent.priority, change)
    return change


_block_dependents = methods.Updater.block_dependents


def _block_but_of_groups(self: methods.Updater, action: Action) -> None:
    """A group that cannot start holds nobody up."""
    resource = action.resource
    if resource is not None and resource.top(including_bundle=True).variant is not Variant.GROUP:
        _block_dependents(self, action)


_completed = update._completed


def _completed_unless_told(first: Action, then: Action) -> Action:
    """A group's notifications, which it does not have, are waited for: so its completion is not."""
    resource = first.resource
    top = resource is not None and resource.parent is None and resource.variant is Variant.GROUP
    if resource is not None and resource.notify and top:
        return first
    return _completed(first, then)


_instance_action = methods._instance_action


def _action_of_container(
    action: Action, instance: Resource, task: str, node: Node | None, *, for_first: bool
) -> Action | None:
    """Interleaved actions wait for a bundle's container, unless they are about roles."""
    return _instance_action(action, instance, task, node, for_first=False)


_expression = rules._expression


def _expression_literally(item: Element, context: rules.Context) -> bool:
    """Without a resource at hand value-source says nothing."""
    if context.meta is None and context.parameters is None:
        item = item.with_attribute_map({"value-source": None})
    return _expression(item, context)


_collect_group = colocation._collect_group


def _collect_group_alone(
    group: Resource, asking: Resource, found: list[Colocation], *, by_primary: bool
) -> None:
    """A group takes over none of its members' colocations, and lends them its own when it is assigned."""
    if not group.children or (asking is not group and asking is not group.children[0 if by_primary else -1]):
        _collect_group(group, asking, found, by_primary=by_primary)
        return
    if asking is group or group.assigning or not group.unassigned:
        own = group.this_with if by_primary else group.with_this
        colocation._merge(found, own, by_primary=by_primary)
    if group.parent is not None:
        colocation._collect(group.parent, asking, found, by_primary=by_primary)


def _migrate_from_failure(work: WorkingSet, resource: Resource, item: Element) -> None:
    """A monitor that has found nothing on the source since then is not asked."""
    with _replaced(migration_history._newer_stopped_monitor, lambda *_: False):
        _migrate_from_failure_now(work, resource, item)


def _current_node_as_met(resource: Resource) -> Node | None:
    """A bundle's, too, is the first of those it was found active on, in the order of the status."""
    if resource.variant is not Variant.BUNDLE:
        return current_node(resource)
    clean = (node for node in resource.active_nodes if node.online and not node.unclean)
    return next(clean, next(iter(resource.active_nodes), None))


CHANGES: tuple[Change, ...] = (
    Change(
        name="the source after a failed migrate_from",
        swaps=((_migrate_from_failure_now, _migrate_from_failure),),
    ),
    Change(name="rules' scores of nodes", swaps=((location._nodes_of_rule, _nodes_of_rule),)),
    Change(name="Serialize beside another order", swaps=((orderings.flags_for, _serialize_flags),)),
    Change(
        name="a dislike of a disliked node", swaps=((wishes._dislike_counts, lambda colocation, best: False),)
    ),
    Change(name="an expired promoted result", swaps=((unpack_operation._remap_by_rc, _remap_expired),)),
    Change(
        name="maintenance of one of two nodes",
        swaps=((active_nodes.add_active_node, _add_without_maintenance),),
    ),
    Change(name="instances stay in place", swaps=((instances._assign_early, _assign_early_once),)),
    Change(
        name="colocations of a clone's instances",
        swaps=(
            (instances._assign_one, _assign_one_sparing),
            (colocation._collect, _collect_sparing),
            (instances._wish_for_current, _wish_of_clone),
        ),
    ),
    Change(name="colocations of a group's members", swaps=((_collect_group, _collect_group_alone),)),
    Change(name="an expired stop that failed for good", swaps=((_hard_error_now, _hard_error),)),
    Change(name="degraded results of other operations", swaps=((_remap, _remap_monitors_only),)),
    Change(name="factors of chained colocations", swaps=((_factor_of, _factor_alone),)),
    Change(name="rsc_expression without a provider", swaps=((rules._rsc_expression, _rsc_expression),)),
    Change(name="a group's gap before an active member", swaps=((_member_after, _member_after_unordered),)),
    Change(name="mandatory colocations first", swaps=((assign._apply_colocations, _apply_in_one_pass),)),
    Change(name="roles in dislikes", swaps=((colocation.affects, _affects_unless_equal),)),
    Change(
        name="a group's locations for its members",
        swaps=((wishes._lends_locations, lambda source, one: False),),
    ),
    Change(name="roles of bundles", swaps=((colocation._bundle_passes_on, _passes_to_containers),)),
    Change(
        name="a group that cannot start",
        swaps=((methods.Updater.block_dependents, _block_but_of_groups),),
    ),
    Change(name="notify of a group", swaps=((update._completed, _completed_unless_told),)),
    Change(name="interleaving with bundles", swaps=((methods._instance_action, _action_of_container),)),
    Change(
        name="promotion beside one that is elsewhere or nowhere",
        swaps=((colocation.apply_to_priority, _apply_to_priority_by_place),),
    ),
    Change(name="promotion beside primaries", swaps=((promotion._sort_by_promotion, _sort_with_primaries),)),
    Change(name="a bundle's current node", swaps=((current_node, _current_node_as_met),)),
    Change(name="bundles assigned anew", swaps=((assign.apply_this_with, _apply_with_anew),)),
    Change(name="dependents of a group", swaps=((wishes.add_wishes, _add_wishes_twice),)),
    Change(
        name="order of instances without a node",
        swaps=((promotion._final_priority, _final_priority_if_placed),),
    ),
    Change(name="value-source outside of locations", swaps=((rules._expression, _expression_literally),)),
)
