"""Places in a tree of elements: find them, change one, take one away. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from crm.cib.model import Element, element

Place = tuple[int, ...]
"""The way from the root: the index of a child on each level."""


def places(root: Element, wanted: Callable[[Element], bool]) -> list[Place]:
    """The places of all elements below the root that are wanted, in document order."""
    return [place for place, item in walk(root) if wanted(item)]


def walk(root: Element, here: Place = ()) -> Iterator[tuple[Place, Element]]:
    """Every element below the root with its place."""
    for index, child in enumerate(root.children):
        place = (*here, index)
        yield place, child
        yield from walk(child, place)


def at(root: Element, place: Place) -> Element:
    """The element at a place."""
    for index in place:
        root = root.children[index]
    return root


def put(root: Element, place: Place, *new: Element) -> Element:
    """The tree with other elements (none: nothing) at a place."""
    if not place:
        return new[0]
    index, rest = place[0], place[1:]
    inner = (put(root.children[index], rest, *new),) if rest else new
    return root.with_children((*root.children[:index], *inner, *root.children[index + 1 :]))


def tagged(root: Element, *tags: str) -> list[Place]:
    """The places of all elements with one of these tags."""
    return places(root, lambda item: item.tag in tags)


def below(root: Element, section: str, *tags: str) -> list[Place]:
    """The places of elements with one of these tags inside the first element with tag `section`."""
    top = next((place for place, item in walk(root) if item.tag == section), None)
    if top is None:
        return []
    return [(*top, *place) for place in tagged(at(root, top), *tags)]


def chosen(rng: random.Random, found: list[Place]) -> Place | None:
    """One of them, None when there is none."""
    return rng.choice(found) if found else None


def with_pair(owner: Element, tag: str, name: str, value: str | None) -> Element:
    """The owner with a name/value pair in its sets of that tag: in all that have it, else in the first."""
    done = False

    def change(item: Element) -> Element:
        nonlocal done
        if item.tag != tag:
            return item
        pairs = [pair for pair in item.walk() if pair.tag == "nvpair" and pair.get("name") == name]
        if not pairs:
            return item
        done = True
        return _without_pair(item, name) if value is None else _changed_pair(item, name, value)

    changed = owner.mapped(change)
    if done or value is None:
        return changed
    base = f"{owner.id or owner.tag}-{tag}"
    pair = element("nvpair", {"id": f"{base}-{name.strip('#')}-added", "name": name, "value": value})
    for place, item in walk(changed):
        if item.tag == tag and len(place) == 1:
            return put(changed, place, item.with_children((*item.children, pair)))
    return changed.with_children((element(tag, {"id": f"{base}-added"}, pair), *changed.children))


def _changed_pair(item: Element, name: str, value: str) -> Element:
    if item.tag == "nvpair" and item.get("name") == name:
        return item.with_attributes(value=value)
    return item.mapped(lambda child: _changed_pair(child, name, value))


def _without_pair(item: Element, name: str) -> Element:
    return item.mapped(
        lambda child: (
            None if child.tag == "nvpair" and child.get("name") == name else _without_pair(child, name)
        )
    )
