"""Whether one change can be made again where others changed meanwhile, and what comes of it. Pure.

What a change touches are names: of an element that differs, came or went; of a list whose members or order
count. Two changes are disjoint when they touch nothing in common (cluster-protocol.md 9.7). Made again, a
change leads to exactly this: what it touches is as it made it, all else is as it is there.

Sections of the configuration and sets of options are no lists in this sense: resources that were added on
both sides, or two options of one set, are not in each other's way. Nor is an order that nobody has changed.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final

from crm.cib import merging
from crm.cib.model import Element
from crm.cib.objects import SECTIONS

_REFERENCES: Final = ("resource_ref", "obj_ref", "role")
"""Their `id` is another element's."""
_ROOT: Final = "configuration"
_UNORDERED: Final = frozenset(SECTIONS) - {"fencing-topology"}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One element without those below it. `members`: their names; `ordered`: who is there matters to all."""

    within: str
    itself: tuple[object, ...]
    members: tuple[str, ...]
    ordered: bool

    def is_as(self, other: _Entry) -> bool:
        """Whether it is the same; where who is there does not matter, those that are in both stand alike."""
        if (self.within, self.itself, self.ordered) != (other.within, other.itself, other.ordered):
            return False
        return self.members == other.members or (
            not self.ordered and _stand_alike(self.members, other.members)
        )


def touched(before: Element, after: Element) -> frozenset[str]:
    """The names of what differs between two <configuration>s."""
    found: set[str] = set()
    _compare(_ROOT, "", before, after, found)
    return frozenset(found)


def made_again(before: Element, after: Element, there: Element) -> Element | None:
    """The change from `before` to `after` on top of `there`; None when it does not fit.

    It is not asked whether `there` has touched the same: that is `touched`'s. It does not fit when the result
    would not be what both say, or would name an element that one of them has removed.
    """
    result = merging.three_way(before, after, there)
    if result is None:
        return None
    same = _same(after, there, result)
    mine, theirs, new = _entries(after, same), _entries(there, same), _entries(result, same)
    changed = touched(before, after)
    for name in new.keys() | mine.keys() | theirs.keys():
        wanted, found = (mine if name in changed else theirs).get(name), new.get(name)
        if (wanted is None) != (found is None) or (wanted and found and not found.is_as(wanted)):
            return None
    return None if _leads_nowhere(after, there, result) else result


def _compare(name: str, within: str, old: Element, new: Element, found: set[str]) -> None:
    if old is new or old == new:
        return
    if _itself(old) != _itself(new):
        found.update((name, *_aliases(within, old), *_aliases(within, new)))
    was, now = _named(name, old), _named(name, new)
    for some, others in ((was, now), (now, was)):
        for one, child in some.items():
            if one not in others:
                found.update(below for below, _within, _item in _walk(one, name, child))
                found.update(_aliases(name, child))
    ordered = _is_ordered(old) or _is_ordered(new)
    if not _stand_alike(tuple(was), tuple(now)) or (ordered and was.keys() != now.keys()):
        found.add(name)
    for one in was.keys() & now.keys():
        _compare(one, name, was[one], now[one], found)


def _itself(item: Element) -> tuple[object, ...]:
    return item.tag, tuple(sorted(item.attributes.items())), item.text


def _stand_alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether those that are in both have the same order."""
    both = set(one) & set(other)
    return [name for name in one if name in both] == [name for name in other if name in both]


def _is_ordered(item: Element) -> bool:
    """Whether it matters to the others when one of those in it comes or goes."""
    if item.tag == _ROOT or (not item.id and item.tag in _UNORDERED):
        return False
    return any(child.tag != "nvpair" for child in item.children)


def _named(name: str, item: Element) -> dict[str, Element]:
    """The children by their names: the id, or the place among those of their tag."""
    found: dict[str, Element] = {}
    for child in item.children:
        is_own = child.id and child.tag not in _REFERENCES
        own = child.id if is_own else f"{name}/{child.tag} {child.id}".rstrip()
        key, count = own, 1
        while key in found:
            count += 1
            key = f"{own} #{count}"
        found[key] = child
    return found


def _aliases(within: str, item: Element) -> tuple[str, ...]:
    """An option is known by its name, too: two of one name in a set are in each other's way."""
    return (f"{within}={item.get('name')}",) if item.tag == "nvpair" else ()


def _walk(
    name: str, within: str, item: Element, known: Container[str] = ()
) -> Iterator[tuple[str, str, Element]]:
    """What is `known` is left out, with all below it."""
    yield name, within, item
    for one, child in _named(name, item).items():
        if one not in known:
            yield from _walk(one, name, child, known)


def _same(one: Element, *others: Element) -> frozenset[str]:
    """The names of objects that are the same in all: of thousands only those that differ are looked at."""
    rest = [_named(_ROOT, other) for other in others]
    found: set[str] = set()
    for name, section in _named(_ROOT, one).items():
        if all(name in sections for sections in rest):
            there = [_named(name, sections[name]) for sections in rest]
            found.update(
                key
                for key, item in _named(name, section).items()
                if all(one.get(key) == item for one in there)
            )
    return frozenset(found)


def _entries(configuration: Element, known: frozenset[str]) -> dict[str, _Entry]:
    """All but the objects `known`."""
    return {
        name: _Entry(within, _itself(item), tuple(_named(name, item)), _is_ordered(item))
        for name, within, item in _walk(_ROOT, "", configuration, known)
    }


def _leads_nowhere(mine: Element, theirs: Element, result: Element) -> bool:
    """Whether something names an element that is in one of the two, but not in the result.

    Words that were the same where they named nothing are no names.
    """
    ids_mine, ids_theirs, there = _ids(mine), _ids(theirs), _ids(result)
    gone = (ids_mine | ids_theirs) - there
    if not gone:
        return False
    words_mine, words_theirs = _words(mine, gone), _words(theirs, gone)
    return any(
        not (word in words_mine and word[2] not in ids_mine)
        and not (word in words_theirs and word[2] not in ids_theirs)
        for word in _words(result, gone)
    )


def _ids(configuration: Element) -> set[str]:
    return {item.id for item in configuration.walk() if item.id and item.tag not in _REFERENCES}


def _words(configuration: Element, wanted: set[str]) -> set[tuple[str, str, str]]:
    """Where one of these ids is the value of an attribute: the element's name, the attribute, the id."""
    return {
        (name, attribute, value)
        for name, _within, item in _walk(_ROOT, "", configuration)
        for attribute, value in item.attributes.items()
        if value in wanted and (attribute != "id" or item.tag in _REFERENCES)
    }
