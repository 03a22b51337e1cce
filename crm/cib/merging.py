"""Changes made on one configuration, made again on another that has changed too: element by element. Pure.

A three-way merge by ids: what only one side has touched is taken from that side; what both have changed, and
in different ways, is in conflict. Objects are as in `objects`; below them a value (an attribute, an nvpair, a
member of a group) is what can be in conflict, so that two options of one set are not in each other's way.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final, TypeVar

from crm.cib.model import Element
from crm.cib.objects import ObjectChange, on_top, present_in

_Value = TypeVar("_Value", bound=Hashable)
_Key = tuple[str, str]


class _Conflict(Exception):
    """Both sides have changed one thing in different ways."""


_NO_CHILDREN: Final[Mapping[_Key, Element]] = {}


def merged(wanted: Sequence[ObjectChange], configuration: Element) -> tuple[Element, tuple[str, ...]]:
    """The configuration with all changes that fit, and the names of the objects whose changes do not."""
    conflicts = []
    for one in wanted:
        present = present_in(configuration).get(one.key)
        try:
            item = _element(one.before, one.after, present)
        except _Conflict:
            conflicts.append(one.name)
            continue
        if item != present:
            change = ObjectChange(key=one.key, before=present, after=item, follows=one.follows)
            configuration = on_top([change], configuration)
    return configuration, tuple(conflicts)


def three_way(base: Element, mine: Element, theirs: Element) -> Element | None:
    """One tree with what either side changed; None when both changed one thing in different ways."""
    try:
        return _element(base, mine, theirs)
    except _Conflict:
        return None


def _element(base: Element | None, mine: Element | None, theirs: Element | None) -> Element | None:
    """Raises _Conflict."""
    if mine in (base, theirs):
        return theirs
    if theirs == base:
        return mine
    if base is None or mine is None or theirs is None or not base.tag == mine.tag == theirs.tag:
        raise _Conflict
    names = dict.fromkeys((*theirs.attributes, *mine.attributes))
    values = {
        name: _value(base.attributes.get(name), mine.attributes.get(name), theirs.attributes.get(name))
        for name in names
    }
    attributes = {name: value for name, value in values.items() if value is not None}
    children = _children(base, mine, theirs)
    text = _value(base.text, mine.text, theirs.text)
    return Element(theirs.tag, attributes, children, text)


def _value(base: _Value, mine: _Value, theirs: _Value) -> _Value:
    if mine in (base, theirs):
        return theirs
    if theirs == base:
        return mine
    raise _Conflict


def _children(base: Element, mine: Element, theirs: Element) -> tuple[Element, ...]:
    """In the order of theirs, what only mine has last; where theirs has the old order, in that of mine.

    _Conflict where children have no names.
    """
    old, new, there = _by_key(base), _by_key(mine), _by_key(theirs)
    order = (*new, *there) if list(there) == list(old) else (*there, *new)
    found = [_element(old.get(key), new.get(key), there.get(key)) for key in dict.fromkeys(order)]
    return tuple(child for child in found if child is not None)


def _by_key(item: Element) -> Mapping[_Key, Element]:
    if not item.children:
        return _NO_CHILDREN
    named = {(child.tag, child.get("id")): child for child in item.children}
    if len(named) != len(item.children):
        raise _Conflict
    return named
