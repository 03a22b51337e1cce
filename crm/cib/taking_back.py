"""Takes one commit's changes back out of a configuration that others have changed since. Pure.

A three-way merge: what the commit left (base) against what was there before (wanted), on what is there now.
Below a group, clone or bundle the resources count one by one: nothing goes that the commit did not create.
What refers to a resource that goes, goes too. Where both changed one value, the commit's is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from crm.cib.model import Element
from crm.cib.objects import ObjectChange, on_top

_RESOURCES: Final = ("primitive", "group", "clone", "master", "bundle", "template")
_HOLDERS: Final = ("group", "clone", "master")
_KEPT_WITH_OTHERS: Final = ("cluster_property_set", "meta_attributes", "fencing-topology", "tag")
_REFERENCES: Final = ("rsc", "with-rsc", "first", "then")
TOP: Final = ""

_Key = tuple[str, str, int]
_T = TypeVar("_T")


def taken_back(undo: Sequence[ObjectChange], present: Element) -> Element:
    """The configuration without what the commit did. `undo`: as `objects.undo_of` made it."""
    resources = [one for one in undo if one.key[0] == "resources"]
    result = on_top(_others(undo, present), present)
    section = present.child("resources")
    if resources and section is not None:
        result = result.with_child(_resources(resources, section))
    gone = (_referable(present) | _referred(result)) - _referable(result)
    return _without_references(result, gone) if gone else result


def _others(undo: Sequence[ObjectChange], present: Element) -> list[ObjectChange]:
    """All but the resources, merged object by object."""
    merged: list[ObjectChange] = []
    for one in undo:
        section = present.child(one.key[0])
        if one.key[0] == "resources":
            continue
        now = section
        children = () if section is None else section.children
        if one.key[0] != one.key[1]:
            same = (child for child in children if child.tag == one.key[1] and child.id == one.key[2])
            now = next(same, None)
        if one.key[2].startswith("#"):  # without an id, known by its place alone
            place = int(one.key[2][1:])
            now = children[place] if place < len(children) else None
            if now != one.before:
                continue
        after = _merged(one.before, one.after, now)
        merged.append(ObjectChange(key=one.key, before=now, after=after, follows=one.follows))
    return merged


def _merged(base: Element | None, wanted: Element | None, now: Element | None) -> Element | None:
    """One object: None where it is not, or is to be no more."""
    if now == base:
        return wanted
    if base is None:  # the commit took it away; somebody has made it anew
        return now
    if now is None:  # somebody else has taken it away
        return None
    if wanted is None:
        known = _keyed(base)
        left = tuple(child for key, child in _keyed(now).items() if key not in known)
        return now.with_children(left) if left and now.tag in _KEPT_WITH_OTHERS else None
    return _three_way(base, wanted, now)


def _three_way(base: Element, wanted: Element, now: Element) -> Element:
    if now == base or base == wanted:
        return wanted if now == base else now
    attributes = dict(now.attributes)
    for name in {**base.attributes, **wanted.attributes}:
        if base.attributes.get(name) != wanted.attributes.get(name):
            attributes.pop(name, None)
            if name in wanted.attributes:
                attributes[name] = wanted.attributes[name]
    text = wanted.text if base.text != wanted.text else now.text
    olds, news, here = _keyed(base), _keyed(wanted), _keyed(now)
    children: dict[_Key, Element] = {}
    for key, child in here.items():
        if key in olds and key in news:
            children[key] = _three_way(olds[key], news[key], child)
        elif key not in olds:
            children[key] = child
        elif left := _merged(olds[key], None, child):
            children[key] = left
    order = list(children)
    for key, child in news.items():
        if key not in olds and key not in children:
            children[key] = child
            _insert(order, key, list(news))
    return Element(now.tag, attributes, tuple(children[key] for key in order), text)


def _keyed(item: Element) -> dict[_Key, Element]:
    found: dict[_Key, Element] = {}
    for child in item.children:
        number = 0
        while (child.tag, child.id, number) in found:
            number += 1
        found[child.tag, child.id, number] = child
    return found


def _insert(order: list[_T], new: _T, wanted: Sequence[_T]) -> None:
    """Behind the nearest that stands before it in `wanted`; in front when none of those is there."""
    before = wanted[: wanted.index(new)]
    at = next((order.index(one) + 1 for one in reversed(before) if one in order), 0)
    order.insert(at, new)


@dataclass(frozen=True, slots=True)
class _Resource:
    """One resource without those in it, in which it is (TOP: in none), and where in `own` its members are."""

    own: Element
    parent: str
    at: int

    def whole(self, members: Sequence[Element]) -> Element:
        own = self.own.children
        return self.own.with_children((*own[: self.at], *members, *own[self.at :]))


def _flat(items: Sequence[Element], parent: str = TOP) -> dict[str, _Resource]:
    found: dict[str, _Resource] = {}
    for item in items:
        if item.tag in _RESOURCES:
            own = item.mapped(lambda one: None if one.tag in _RESOURCES else one)
            inside = (number for number, one in enumerate(item.children) if one.tag in _RESOURCES)
            found[item.id] = _Resource(own, parent, next(inside, len(own.children)))
            found |= _flat(item.children, item.id)
    return found


def _members(flat: Mapping[str, _Resource]) -> dict[str, list[str]]:
    """Who is in whom, in order."""
    found: dict[str, list[str]] = {}
    for name, one in flat.items():
        found.setdefault(one.parent, []).append(name)
    return found


def _resources(undo: Sequence[ObjectChange], section: Element) -> Element:
    """The section with each resource merged by itself, wherever it is now."""
    base = _flat([one.before for one in undo if one.before is not None])
    wanted = _flat([one.after for one in undo if one.after is not None])
    now = _flat(section.children)
    result = _merged_resources(base, wanted, now)
    _drop_emptied(result, now)
    for name, one in result.items():
        if one.parent != TOP and one.parent not in result:
            result[name] = replace(one, parent=TOP)
    order = _ordered(base, wanted, now, result)
    order[TOP] = _top_order(undo, now, result)

    def built(name: str) -> Element:
        return result[name].whole([built(one) for one in order.get(name, ())])

    rest = [one for one in section.children if one.tag not in _RESOURCES]
    return section.with_children((*rest, *(built(name) for name in order[TOP])))


def _merged_resources(
    base: Mapping[str, _Resource], wanted: Mapping[str, _Resource], now: Mapping[str, _Resource]
) -> dict[str, _Resource]:
    result = dict(now)
    for name, new in wanted.items():
        old, here = base.get(name), now.get(name)
        if old is None:
            result.setdefault(name, new)
        elif here is not None:
            own = _three_way(old.own, new.own, here.own)
            moved_back = here.parent == old.parent
            at = new.at if own == new.own else min(here.at, len(own.children))
            result[name] = _Resource(own, new.parent if moved_back else here.parent, at)
    goes = {name for name in base if name not in wanted}
    while held := {one.parent for name, one in result.items() if name not in goes} & goes:
        goes -= held  # somebody else has put something into it
    return {name: one for name, one in result.items() if name not in goes}


def _drop_emptied(result: dict[str, _Resource], now: Mapping[str, _Resource]) -> None:
    """Groups and clones that have lost all that was in them."""
    childless = now.keys() - {one.parent for one in now.values()}
    while True:
        has = {one.parent for one in result.values()}
        empty = [
            name for name, one in result.items() if one.own.tag in _HOLDERS and name not in has | childless
        ]
        if not empty:
            return
        for name in empty:
            del result[name]


def _ordered(
    base: Mapping[str, _Resource],
    wanted: Mapping[str, _Resource],
    now: Mapping[str, _Resource],
    result: Mapping[str, _Resource],
) -> dict[str, list[str]]:
    """The members of each holder: as it was when nobody else changed them, else as they are now."""
    old, new, here = _members(base), _members(wanted), _members(now)
    found: dict[str, list[str]] = {}
    for holder, names in _members(result).items():
        was = new.get(holder, [])
        if here.get(holder) == old.get(holder) and sorted(was) == sorted(names):
            found[holder] = was
            continue
        order = [one for one in here.get(holder, ()) if one in names]
        for name in [one for one in was if one in names and one not in order]:
            _insert(order, name, was)
        found[holder] = [*order, *(one for one in names if one not in order)]
    return found


def _top_order(
    undo: Sequence[ObjectChange], now: Mapping[str, _Resource], result: Mapping[str, _Resource]
) -> list[str]:
    names = [name for name, one in result.items() if one.parent == TOP]
    order = [name for name in names if name in now and now[name].parent == TOP]
    for one in undo:
        name = one.key[2]
        if one.after is None or name in order or name not in names:
            continue
        follows = one.follows[2] if one.follows is not None else None
        at = 0 if follows is None else order.index(follows) + 1 if follows in order else len(order)
        order.insert(at, name)
    return [*order, *(name for name in names if name not in order)]


def _referable(configuration: Element) -> set[str]:
    """What constraints can refer to."""
    found: set[str] = set()
    for name, tags in (("resources", _RESOURCES), ("tags", ("tag",))):
        section = configuration.child(name)
        found |= {one.id for one in (section.walk() if section is not None else ()) if one.tag in tags}
    return found


def _referred(configuration: Element) -> set[str]:
    """What constraints do refer to; one that comes back may be about what somebody else has deleted."""
    section = configuration.child("constraints")
    parts = list(section.walk()) if section is not None else []
    named = {part.get(name) for part in parts for name in _REFERENCES} - {""}
    return named | {part.id for part in parts if part.tag == "resource_ref"}


def _without_references(configuration: Element, gone: set[str]) -> Element:
    """Without the constraints that refer to what is gone, and without it in sets and tags."""

    def constraint(one: Element) -> Element | None:
        if any(one.get(name) in gone for name in _REFERENCES):
            return None
        sets = one.mapped(lambda part: members(part, "resource_ref") if part.tag == "resource_set" else part)
        had, has = (any(part.tag == "resource_set" for part in item.children) for item in (one, sets))
        return None if had and not has else sets

    def members(one: Element, tag: str) -> Element | None:
        left = one.mapped(lambda part: None if part.tag == tag and part.id in gone else part)
        return left if left is one or left.child(tag) is not None else None

    def section(part: Element) -> Element | None:
        if part.tag == "constraints":
            return part.mapped(constraint)
        if part.tag == "tags":
            left = part.mapped(lambda one: members(one, "obj_ref"))
            return left if left.children or not part.children else None
        return part

    return configuration.mapped(section)
