"""A configuration taken apart into tables, for the many changes of a load; put together again at the end.

Resources stand in one table with their members as `#member` placeholders; everything else by section. The
order is that of the document, new objects come last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from cli.grammar.document import (
    CONTAINER_TAGS,
    RESOURCE_TAGS,
    SECTION_OF,
    SECTIONS,
    configuration_of,
    with_section,
)
from cli.grammar.resources import MEMBER
from crm.cib.model import Element, element

_Key = tuple[str, str]
_Row = TypeVar("_Row")
_SETS: Final = ("rsc_defaults", "op_defaults")


class Table:
    """Mutable; belongs to one load."""

    def __init__(self, cib: Element) -> None:
        self._cib = cib
        self._sections: dict[str, dict[_Key, Element]] = {}
        self._kinds: dict[str, str] = {}
        self._resources: dict[str, Element] = {}
        self._parents: dict[str, str] = {}
        self._top: dict[_Key, Element | None] = {}
        self.topology: Element | None = None
        for part in configuration_of(cib).children:
            if part.tag == "resources":
                for child in part.children:
                    self._read_top(child)
            elif part.tag == "fencing-topology":
                self.topology = part
            elif part.tag in SECTIONS:
                rows = self._sections.setdefault(part.tag, {})
                for child in part.children:
                    rows[self._key(child, rows)] = child
                    self._note(child)

    @staticmethod
    def _key(item: Element, rows: dict[_Key, Element] | dict[_Key, Element | None]) -> _Key:
        """Objects by tag and id; what has no id by its place."""
        return (item.tag, item.id or f"#{len(rows)}")

    def _note(self, item: Element) -> None:
        if item.tag in SECTION_OF and item.tag != "node":
            self._kinds[item.id] = item.tag

    def _read_top(self, item: Element) -> None:
        if item.tag not in RESOURCE_TAGS and item.tag != "template":
            self._top[self._key(item, self._top)] = item
            return
        self._top[item.tag, item.id] = None
        for one in flattened(item):
            self._take(one)

    def _take(self, item: Element) -> None:
        self._resources[item.id] = item
        self._kinds[item.id] = item.tag
        for child in item.all(MEMBER):
            self._parents[child.id] = item.id

    # questions

    def kind_of(self, identifier: str) -> str:
        """The tag of the object (nodes aside) with that id, "" when there is none."""
        return self._kinds.get(identifier, "")

    def get(self, tag: str, identifier: str) -> Element | None:
        """An object; resources with placeholders for their members."""
        if tag in RESOURCE_TAGS or tag == "template":
            found = self._resources.get(identifier)
            return found if found is not None and found.tag == tag else None
        return self._sections.get(SECTION_OF[tag], {}).get((tag, identifier))

    def option_set(self, section: str, tag: str, identifier: str) -> Element | None:
        """A set of cluster options or of defaults."""
        return self._sections.get(section, {}).get((tag, identifier))

    def resource(self, identifier: str) -> Element | None:
        """A resource (no template) of any kind."""
        found = self._resources.get(identifier)
        return None if found is None or found.tag == "template" else found

    def parent_of(self, identifier: str) -> str:
        """The container a resource is in, "" for one at the top."""
        return self._parents.get(identifier, "")

    def nodes(self) -> tuple[Element, ...]:
        """The nodes, in order."""
        return tuple(one for one in self._sections.get("nodes", {}).values() if one.tag == "node")

    def names(self, tag: str = "") -> frozenset[str]:
        """The ids that a constraint may name: resources, templates, tags; or those of one kind only."""
        if tag:
            return frozenset(one.id for one in self._resources.values() if one.tag == tag)
        tags = (one.id for one in self._sections.get("tags", {}).values())
        return frozenset((*self._resources, *tags))

    def rows(self, section: str) -> tuple[Element, ...]:
        """What stands in a section that is not resources."""
        return tuple(self._sections.get(section, {}).values())

    # changes

    def put(self, item: Element, section: str = "") -> None:
        """Add or replace an object that is no resource."""
        name = section or SECTION_OF[item.tag]
        self._sections.setdefault(name, {})[item.tag, item.id] = item
        self._note(item)

    def drop(self, item: Element) -> None:
        """Remove an object that is no resource."""
        self._sections.get(SECTION_OF[item.tag], {}).pop((item.tag, item.id), None)
        self._kinds.pop(item.id, None)

    def put_resource(self, item: Element) -> None:
        """Add or replace a resource or template; members it loses go to the top, those it gets leave it."""
        old = self._resources.get(item.id)
        stays = {child.id for child in item.all(MEMBER)}
        for child in old.all(MEMBER) if old is not None else ():
            if child.id not in stays:
                del self._parents[child.id]
                self._top[self._resources[child.id].tag, child.id] = None
        for name in stays:
            self._top.pop((self._resources[name].tag, name), None)
        if old is None:
            self._top[item.tag, item.id] = None
        self._take(item)

    def drop_resource(self, identifier: str) -> None:
        """Remove a resource with all below it, wherever it is."""
        item = self._resources.pop(identifier)
        self._kinds.pop(identifier, None)
        self._top.pop((item.tag, identifier), None)
        parent = self._parents.pop(identifier, "")
        if parent in self._resources:
            self._resources[parent] = self._resources[parent].mapped(
                lambda one: None if one.tag == MEMBER and one.id == identifier else one
            )
        for child in item.all(MEMBER):
            self.drop_resource(child.id)

    def in_the_order_of(self, before: Element) -> None:
        """What is in `before` as well comes first, and in its order."""
        old = Table(before)
        self._top = _sorted(self._top, old._top)
        for name, rows in self._sections.items():
            self._sections[name] = _sorted(rows, old._sections.get(name, {}))

    def new_resources_in_order(self, names: Iterable[str]) -> None:
        """Resources at the top that were not there before come last, in this order."""
        old = {one.id for one in configuration_of(self._cib).all("resources") for one in one.children}
        ranks = {name: rank for rank, name in enumerate(names, 1)}
        rows = sorted(
            self._top.items(), key=lambda row: 0 if row[0][1] in old else ranks.get(row[0][1], len(ranks) + 1)
        )
        self._top = dict(rows)

    # the whole

    def built(self) -> Element:
        """The CIB with everything put back."""
        cib = self._cib
        present = {part.tag: part for part in configuration_of(cib).children}
        for name in SECTIONS:
            if name == "fencing-topology":
                if self.topology is not present.get(name):
                    cib = with_section(cib, name, self.topology)
                continue
            children = tuple(self._resource_rows()) if name == "resources" else self.rows(name)
            old = present.get(name)
            if old is None and not children:
                continue
            if old is None or old.children != children:
                cib = with_section(cib, name, (old or element(name)).with_children(children))
        return cib

    def _resource_rows(self) -> Iterator[Element]:
        for (_tag, identifier), other in self._top.items():
            yield self._assembled(identifier) if other is None else other

    def _assembled(self, identifier: str) -> Element:
        item = self._resources[identifier]
        if item.tag not in CONTAINER_TAGS:
            return item
        return item.with_children(
            tuple(self._assembled(child.id) if child.tag == MEMBER else child for child in item.children)
        )


def _sorted(rows: dict[_Key, _Row], old: Iterable[_Key]) -> dict[_Key, _Row]:
    known = {key: rank for rank, key in enumerate(old)}
    return dict(sorted(rows.items(), key=lambda row: known.get(row[0], len(known))))


def flattened(item: Element) -> Iterator[Element]:
    """A resource and all below it, each with placeholders for its members; inner ones first."""
    if item.tag not in CONTAINER_TAGS:
        yield item
        return
    children: list[Element] = []
    for child in item.children:
        if child.tag in RESOURCE_TAGS:
            yield from flattened(child)
            child = element(MEMBER, {"id": child.id})
        children.append(child)
    yield item.with_children(tuple(children))
