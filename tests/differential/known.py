"""What Pacemaker changed after 2.1.5, as rules that recognise a disagreement as one of those changes.

A rule is the old behaviour itself: our scheduler with one function replaced by what 2.1.5 does there. A
disagreement counts as known only if our scheduler, so changed, gives exactly the reference's actions; a
difference that merely looks similar stays open. Nothing here touches the scheduler as it is used.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from crm.cib.model import Element
from crm.scheduler import active_nodes, colocation, options, rules, scores, wishes
from crm.scheduler.activity import entry_available, is_available
from crm.scheduler.kinds import Rel
from crm.scheduler.model import Colocation, Node, Resource, WorkingSet
from crm.scheduler.placement import instances
from crm.scheduler.placement.nodes import unassign
from crm.scheduler.relations import order_tasks
from crm.scheduler.rules import holds
from crm.scheduler.scores import INFINITY
from crm.scheduler.stages import internal_constraints, location, orderings, unpack_operation
from crm.scheduler.tables import copy_table
from tests.differential.oracle import Actions, ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change since 2.1.5: its name in the table of docs/scheduler-conformance.md, and the old behaviour."""

    name: str
    swaps: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...]


@contextmanager
def replaced(function: Callable[..., Any], by: Callable[..., Any]) -> Iterator[None]:
    """Use another function wherever the scheduler's modules hold this one."""
    spaces = [vars(module) for key, module in list(sys.modules.items()) if key.startswith("crm.scheduler")]
    spaces += [value for space in list(spaces) for value in space.values() if isinstance(value, dict)]
    places = [(space, name) for space in spaces for name, value in space.items() if value is function]
    for space, name in places:
        space[name] = by
    try:
        yield
    finally:
        for space, name in places:
            space[name] = function


# --- the old behaviours


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


_read_options = options.read_options


def _options_of_old(cib: Element, *arguments: Any) -> options.Options:
    return replace(_read_options(cib, *arguments), fence_remote_without_quorum=True)


_assign_one = instances._assign_one
_collect = colocation._collect
_sparing: list[Resource] = []
"""Collectives whose instances take over only some of their colocations now."""


def _assign_one_sparing(work: WorkingSet, instance: Resource, *arguments: Any) -> Node | None:
    """When there is an instance for every node, only mandatory colocations and dislikes are passed on."""
    above = instance.parent
    assert above is not None
    available = sum(is_available(entry.node) for entry in above.allowed.values())
    count = len(above.bundle.replicas) if above.bundle is not None else above.clone_max
    if count < available:
        return _assign_one(work, instance, *arguments)
    _sparing.append(above)
    try:
        return _assign_one(work, instance, *arguments)
    finally:
        _sparing.pop()


def _collect_sparing(
    resource: Resource, asking: Resource, found: list[Colocation], *, by_primary: bool
) -> None:
    if resource is asking or resource not in _sparing:
        _collect(resource, asking, found, by_primary=by_primary)
        return
    name = "this_with" if by_primary else "with_this"
    saved = getattr(resource, name)
    kept = [one for one in saved if one.score < 0 or (by_primary and one.score >= INFINITY)]
    setattr(resource, name, kept)
    try:
        _collect(resource, asking, found, by_primary=by_primary)
    finally:
        setattr(resource, name, saved)


def _collect_own(resource: Resource, asking: Resource, found: list[Colocation], *, by_primary: bool) -> None:
    """A group takes over none of its members' colocations."""
    if resource is asking or not resource.is_primitive:
        _collect(resource, asking, found, by_primary=by_primary)


CHANGES: tuple[Change, ...] = (
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
        swaps=((instances._assign_one, _assign_one_sparing), (colocation._collect, _collect_sparing)),
    ),
    Change(name="colocations of a group's members", swaps=((_collect, _collect_own),)),
    Change(name="degraded results of other operations", swaps=((_remap, _remap_monitors_only),)),
    Change(name="factors of chained colocations", swaps=((_factor_of, _factor_alone),)),
    Change(name="rsc_expression without a provider", swaps=((rules._rsc_expression, _rsc_expression),)),
    Change(name="a group's gap before an active member", swaps=((_member_after, _member_after_unordered),)),
    Change(name="remote nodes without quorum", swaps=((_read_options, _options_of_old),)),
)


def known_change(cib: Element, wanted: Actions) -> str:
    """The name of the change that explains the difference (several joined by " + "), or ""."""
    for changes in _combinations():
        with ExitStack() as stack:
            for change in changes:
                for function, old in change.swaps:
                    stack.enter_context(replaced(function, old))
            if _agrees(cib, wanted):
                return " + ".join(change.name for change in changes)
    return ""


def _combinations() -> Iterator[Sequence[Change]]:
    """Each change alone, then each two of them."""
    yield from ((change,) for change in CHANGES)
    yield from itertools.combinations(CHANGES, 2)


def _agrees(cib: Element, wanted: Actions) -> bool:
    return ours(cib) == wanted
