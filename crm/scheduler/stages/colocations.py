"""Colocation constraints from the configuration, and the orderings that negative ones imply."""

from __future__ import annotations

from itertools import pairwise

from crm.cib.model import Element
from crm.scheduler import references, scores
from crm.scheduler.colocation import new_colocation
from crm.scheduler.model import Colocation, Rel, Resource, Role, WorkingSet
from crm.scheduler.relations import order_tasks
from crm.scheduler.roles import parse_role
from crm.scheduler.scores import INFINITY
from crm.scheduler.values import boolean, is_true


def unpack_colocation(work: WorkingSet, item: Element) -> None:
    """One <rsc_colocation>: two resources, tags or templates, or sets."""
    score = scores.parse(item.attributes.get("score"))
    if item.child("resource_set") is not None:
        sets = references.sets_of_constraint(work, item)
        if sets is not None:
            _unpack_sets(work, item, sets, score)
        return
    dependents = _members(work, item.get("rsc"))
    primaries = _members(work, item.get("with-rsc"))
    if dependents is None or primaries is None:
        return
    if dependents[1] and primaries[1]:
        return  # tags on both sides are an error
    if dependents[1] or primaries[1]:
        item = item.with_attribute_map({"node-attribute": None})  # as if it were written with sets
    for dependent in dependents[0]:
        for primary in primaries[0]:
            add_colocation(
                work,
                item,
                dependent,
                primary,
                score,
                item.get("rsc-role"),
                item.get("with-rsc-role"),
            )


def _members(work: WorkingSet, name: str) -> tuple[list[Resource], bool] | None:
    """(resources, whether the name was a tag or template)."""
    if not name:
        return None
    resource = references.find_resource(work, name)
    if resource is not None:
        return [resource], False
    names = references.find_many(work, name)
    if names is None:
        return None
    found = [one for member in names if (one := references.find_resource(work, member)) is not None]
    return found, True


def _role(text: str) -> Role:
    role = parse_role(text)
    return Role.UNKNOWN if role is Role.STARTED else role


def add_colocation(
    work: WorkingSet,
    item: Element,
    dependent: Resource,
    primary: Resource,
    score: int,
    dependent_role: str,
    primary_role: str,
) -> None:
    """Register a configured colocation."""
    if score == 0 or dependent is primary:
        return
    influence = boolean(item.attributes.get("influence"))
    colocation = Colocation(
        id=item.id,
        dependent=dependent,
        primary=primary,
        score=score,
        dependent_role=_role(dependent_role),
        primary_role=_role(primary_role),
        attribute=item.get("node-attribute") or "#uname",
        influence=dependent.critical if influence is None else influence,
        explicit=True,
    )
    new_colocation(work, colocation)
    if score <= -INFINITY:
        anti_colocation_order(work, dependent, colocation.dependent_role, primary, colocation.primary_role)
        anti_colocation_order(work, primary, colocation.primary_role, dependent, colocation.dependent_role)


def anti_colocation_order(
    work: WorkingSet, first: Resource, first_role: Role, then: Resource, then_role: Role
) -> None:
    """What must not be together: the one leaves before the other comes, on the same node."""
    losing: tuple[str, ...]
    gaining: tuple[str, ...]
    match first_role:
        case Role.PROMOTED:
            losing = ("demote",)
        case Role.UNPROMOTED:
            losing = ("stop", "promote")
        case _:
            losing = ("stop",)
    match then_role:
        case Role.PROMOTED:
            gaining = ("promote",)
        case Role.UNPROMOTED:
            gaining = ("start", "demote")
        case _:
            gaining = ("start",)
    for lose in losing:
        for gain in gaining:
            order_tasks(work, first, lose, then, gain, Rel.IF_REQUIRED_ON_SAME_NODE)


# --- sets


def _unpack_sets(work: WorkingSet, item: Element, sets: list[Element], score: int) -> None:
    item = item.with_attribute_map({"node-attribute": None})  # only between two resources
    members = references.set_members(work, sets)
    for index, (one, found) in enumerate(zip(sets, members, strict=True)):
        _inside(work, item, one, references.until_unknown(found), score)
        if index:
            _between(work, item, (sets[index - 1], members[index - 1]), (one, found), score)


def _sequential(item: Element) -> bool:
    return is_true(item.attributes.get("sequential"), default=True)


def _inside(work: WorkingSet, item: Element, one: Element, found: list[Resource], score: int) -> None:
    if not _sequential(one):
        return
    score = scores.parse(one.attributes.get("score"), score)
    role = one.get("role")
    if score < 0:
        for index, dependent in enumerate(found):
            for primary in found[:index]:
                add_colocation(work, item, dependent, primary, score, role, role)
        return
    for previous, this in pairwise(found):
        if one.get("ordering", "group") == "listed":
            add_colocation(work, item, previous, this, score, role, role)
        else:
            add_colocation(work, item, this, previous, score, role, role)


def _between(
    work: WorkingSet,
    item: Element,
    dependents: tuple[Element, list[Resource | None]],
    primaries: tuple[Element, list[Resource | None]],
    score: int,
) -> None:
    first, lefts = dependents
    second, rights = primaries
    if _sequential(first):
        lefts = lefts[:1]
    if _sequential(second):
        rights = rights[-1:]
    for left in lefts:
        for right in rights:
            if left is not None and right is not None:
                add_colocation(work, item, left, right, score, first.get("role"), second.get("role"))
