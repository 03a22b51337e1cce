"""Ordering constraints from the configuration (Pacemaker Explained, "Ordering")."""

from __future__ import annotations

from enum import IntEnum
from itertools import combinations, pairwise
from typing import Final

from crm.cib.model import Element
from crm.scheduler import references, scores, values
from crm.scheduler.actions import UP_TASKS, key_of, pseudo_action
from crm.scheduler.model import Action, Rel, Resource, WorkingSet
from crm.scheduler.relations import order, order_tasks

_INVERSE: Final = {
    "start": "stop",
    "stop": "start",
    "promote": "demote",
    "demote": "promote",
    "running": "stopped",
    "started": "stopped",
    "stopped": "running",
    "promoted": "demoted",
    "demoted": "promoted",
}


class Kind(IntEnum):
    """How binding an ordering is."""

    OPTIONAL = 0
    MANDATORY = 1
    SERIALIZE = 2


class Symmetry(IntEnum):
    """Whether the inverse actions are ordered too; INVERSE marks that inverse relation."""

    ASYMMETRIC = 0
    SYMMETRIC = 1
    INVERSE = 2


def kind_of(item: Element) -> Kind:
    """The kind of a constraint or set."""
    match item.attributes.get("kind"):
        case None:
            score = item.attributes.get("score")
            return Kind.OPTIONAL if score is not None and scores.parse(score) == 0 else Kind.MANDATORY
        case "Optional":
            return Kind.OPTIONAL
        case "Serialize":
            return Kind.SERIALIZE
        case _:
            return Kind.MANDATORY


def symmetry_of(item: Element, kind: Kind) -> Symmetry:
    """Symmetrical unless said otherwise or Serialize."""
    wanted = values.is_true(item.attributes.get("symmetrical"), default=kind is not Kind.SERIALIZE)
    return Symmetry.SYMMETRIC if wanted and kind is not Kind.SERIALIZE else Symmetry.ASYMMETRIC


def flags_for(kind: Kind, first_task: str, symmetry: Symmetry) -> int:
    """The relation's flags."""
    if kind is Kind.OPTIONAL:
        return Rel.ORDERED
    if kind is Kind.SERIALIZE:
        return Rel.SERIALIZE
    match symmetry:
        case Symmetry.ASYMMETRIC:
            return Rel.ORDERED | Rel.ASYMMETRIC
        case Symmetry.SYMMETRIC:
            flags = Rel.ORDERED | Rel.FIRST_IMPLIES_THEN
            return flags | Rel.UNRUNNABLE_FIRST_BLOCKS if first_task in UP_TASKS else flags
        case _:
            return Rel.ORDERED | Rel.THEN_IMPLIES_FIRST


def unpack_ordering(work: WorkingSet, item: Element) -> None:
    """One <rsc_order>: two resources, tags or templates, or sets."""
    if item.child("resource_set") is not None:
        sets = references.sets_of_constraint(work, item)
        if sets is not None:
            _unpack_sets(work, item, sets)
        return
    first, then = item.get("first"), item.get("then")
    if not first or not then or not references.is_known(work, first) or not references.is_known(work, then):
        return
    if references.find_resource(work, first) is None or references.find_resource(work, then) is None:
        _unpack_sets(work, _without_simple(item), [_as_set(item, "first"), _as_set(item, "then")])
        return
    _simple(work, item)


def _without_simple(item: Element) -> Element:
    return item.with_attribute_map({"first": None, "then": None, "first-action": None, "then-action": None})


def _as_set(item: Element, side: str) -> Element:
    action = item.attributes.get(f"{side}-action") or (
        item.attributes.get("first-action") if side == "then" else None
    )
    attributes = {"id": f"{item.id}-{item.get(side)}", "sequential": "false"}
    if action is not None:
        attributes["action"] = action
    return Element("resource_set", attributes, (Element("resource_ref", {"id": item.get(side)}),))


def _simple(work: WorkingSet, item: Element) -> None:
    first = references.find_resource(work, item.get("first"))
    then = references.find_resource(work, item.get("then"))
    if first is None or then is None:
        return
    first_task = item.get("first-action") or "start"
    then_task = item.get("then-action") or first_task
    kind = kind_of(item)
    symmetry = symmetry_of(item, kind)
    flags = flags_for(kind, first_task, symmetry)
    needed = _clone_min(first, item)
    if needed > 0:
        _order_clone_min(work, item, first, first_task, then, then_task, flags, needed)
    else:
        order_tasks(work, first, first_task, then, then_task, flags)
    if symmetry is not Symmetry.SYMMETRIC:
        return
    first_inverse, then_inverse = _INVERSE.get(first_task), _INVERSE.get(then_task)
    if first_inverse is not None and then_inverse is not None:
        inverse_flags = flags_for(kind, first_task, Symmetry.INVERSE)
        order_tasks(work, then, then_inverse, first, first_inverse, inverse_flags)


def _clone_min(first: Resource, item: Element) -> int:
    if not first.is_clone:
        return 0
    if first.clone_min > 0:
        return first.clone_min
    require_all = values.boolean(item.attributes.get("require-all"))
    return 1 if require_all is False else 0


def _order_clone_min(
    work: WorkingSet,
    item: Element,
    clone: Resource,
    first_task: str,
    then: Resource,
    then_task: str,
    flags: int,
    needed: int,
) -> None:
    gate = pseudo_action(work, f"clone-one-or-more:{item.id}")
    gate.required_runnable_before = needed
    for instance in clone.children:
        order(
            work,
            instance,
            key_of(instance.id, first_task),
            None,
            None,
            "",
            gate,
            Rel.MIN_RUNNABLE | Rel.FIRST_IMPLIES_THEN_GRAPHED,
        )
    order(
        work,
        None,
        "",
        gate,
        then,
        key_of(then.id, then_task),
        None,
        flags | Rel.UNRUNNABLE_FIRST_BLOCKS,
    )


# --- sets


def _unpack_sets(work: WorkingSet, item: Element, sets: list[Element]) -> None:
    kind = kind_of(item)
    symmetry = symmetry_of(item, kind)
    last: tuple[Element, list[Resource]] | None = None
    for one, members in zip(sets, references.set_members(work, sets), strict=True):
        found = references.until_unknown(members)
        if len(found) < len(members):
            return  # what came before stays in force
        _inside(work, item, one, found, kind, symmetry)
        here = (one, found)
        if last is not None:
            _between(work, last, here, kind, symmetry, inverse=False)
            if symmetry is Symmetry.SYMMETRIC:
                _between(work, here, last, kind, Symmetry.INVERSE, inverse=True)
        last = here


def _set_action(item: Element, *, inverse: bool) -> str | None:
    action = item.get("action") or "start"
    return _INVERSE.get(action) if inverse else action


def _inside(
    work: WorkingSet,
    item: Element,
    one: Element,
    found: list[Resource],
    kind: Kind,
    symmetry: Symmetry,
) -> None:
    if "kind" in one.attributes:
        kind = kind_of(one)
    if {"kind", "score", "symmetrical"} & set(one.attributes):
        inherited = item.attributes.get("symmetrical")
        own = one.attributes.get("symmetrical", inherited)
        symmetry = symmetry_of(one.with_attribute_map({"symmetrical": own}), kind)
    action = one.get("action") or "start"
    flags = flags_for(kind, action, symmetry)
    sequential = values.is_true(one.attributes.get("sequential"), default=True)
    if kind is Kind.SERIALIZE:  # never two at once, whether their order is given or not
        for previous, this in combinations(found, 2):
            order_tasks(work, previous, action, this, action, flags)
    elif sequential:
        for previous, this in pairwise(found):
            order_tasks(work, previous, action, this, action, flags)
    if not sequential:
        return
    inverse = _INVERSE.get(action)
    if symmetry is not Symmetry.SYMMETRIC or inverse is None:
        return
    flags = flags_for(kind, action, Symmetry.INVERSE)
    for previous, this in pairwise(found):
        order_tasks(work, this, inverse, previous, inverse, flags)


def _between(
    work: WorkingSet,
    one: tuple[Element, list[Resource]],
    two: tuple[Element, list[Resource]],
    kind: Kind,
    symmetry: Symmetry,
    *,
    inverse: bool,
) -> None:
    first_set, firsts = one
    then_set, thens = two
    first_task = _set_action(first_set, inverse=inverse)
    then_task = _set_action(then_set, inverse=inverse)
    if first_task is None or then_task is None or not firsts or not thens:
        return
    flags = flags_for(kind, then_task, symmetry)  # by what follows, unlike for two single resources
    require_all = values.is_true(first_set.attributes.get("require-all"), default=True)
    if first_task in {"stop", "demote"}:
        require_all = True
    if not require_all:
        gate = _gate(work, first_set, firsts, first_task)
        for then in thens:
            order(
                work,
                None,
                "",
                gate,
                then,
                key_of(then.id, then_task),
                None,
                flags | Rel.UNRUNNABLE_FIRST_BLOCKS,
            )
        return
    if values.is_true(first_set.attributes.get("sequential")):
        firsts = firsts[:1] if inverse else firsts[-1:]
    if values.is_true(then_set.attributes.get("sequential")):
        thens = thens[-1:] if inverse else thens[:1]
    for first in firsts:
        for then in thens:
            order_tasks(work, first, first_task, then, then_task, flags)


def _gate(work: WorkingSet, one: Element, firsts: list[Resource], task: str) -> Action:
    gate = pseudo_action(work, f"one-or-more:{one.id}")
    gate.required_runnable_before = 1
    for first in firsts:
        order(
            work,
            first,
            key_of(first.id, task),
            None,
            None,
            "",
            gate,
            Rel.MIN_RUNNABLE | Rel.FIRST_IMPLIES_THEN_GRAPHED,
        )
    return gate
