"""Which instance of one collective goes with an instance of another: the one on the same node."""

from __future__ import annotations

from collections.abc import Iterable

from crm.scheduler.activity import locations, state
from crm.scheduler.colocation import colocation_attribute
from crm.scheduler.model import Node, NodeKind, Resource, Role, Variant
from crm.scheduler.node_order import sorted_entries


def parts_of(collective: Resource) -> list[Resource]:
    """The instances of a clone, the containers of a bundle."""
    if collective.bundle is not None:
        return [replica.container for replica in collective.bundle.replicas]
    return collective.children


def _matches(
    match: Resource, instance: Resource, node: Node, *, role: Role, current: bool, attribute: str
) -> bool:
    if role is not Role.UNKNOWN and state(instance, current=current) is not role:
        return False
    if any(one.blocked for one in instance.walk()):
        return False
    places = locations(instance, current=current)
    if len(places) != 1:
        return False
    if places[0] is node:
        return True
    if attribute == "#uname":
        return False
    theirs = colocation_attribute(instance, places[0], attribute)
    return theirs is not None and theirs == colocation_attribute(match, node, attribute)


def find_compatible(
    match: Resource,
    collective: Resource,
    *,
    role: Role,
    current: bool,
    attribute: str = "#uname",
) -> Resource | None:
    """The first instance that is (to be) where the match resource is, with that role if one is asked for."""
    places = locations(match, current=current)
    if len(places) == 1:
        return _first(match, collective, places, role=role, current=current, attribute=attribute)
    candidates = (entry.node for entry in sorted_entries(match, None))
    return _first(match, collective, candidates, role=role, current=current, attribute=attribute)


def _first(
    match: Resource,
    collective: Resource,
    nodes: Iterable[Node],
    *,
    role: Role,
    current: bool,
    attribute: str,
) -> Resource | None:
    for node in nodes:
        for instance in parts_of(collective):
            if _matches(match, instance, node, role=role, current=current, attribute=attribute):
                return instance
    return None


class Partners:
    """`find_compatible` for any role, by node, while nothing is assigned: the same is asked many times."""

    def __init__(self) -> None:
        self._found: dict[tuple[Resource, Resource, bool], Resource | None] = {}
        self._first: dict[tuple[Resource, bool], dict[Node, Resource]] = {}

    def find(self, match: Resource, collective: Resource, *, current: bool) -> Resource | None:
        """The first instance that is (to be) where the match resource is."""
        key = (match, collective, current)
        if key not in self._found:
            self._found[key] = self._look(match, self._by_node(collective, current=current), current=current)
        return self._found[key]

    def _by_node(self, collective: Resource, *, current: bool) -> dict[Node, Resource]:
        key = (collective, current)
        first = self._first.get(key)
        if first is None:
            first = self._first[key] = {}
            for instance in parts_of(collective):
                places = locations(instance, current=current)
                if len(places) == 1 and not any(one.blocked for one in instance.walk()):
                    first.setdefault(places[0], instance)
        return first

    def _look(self, match: Resource, first: dict[Node, Resource], *, current: bool) -> Resource | None:
        places = locations(match, current=current)
        if len(places) == 1:
            return first.get(places[0])
        if not first:
            return None
        candidates = (first.get(entry.node) for entry in sorted_entries(match, None))
        return next((one for one in candidates if one is not None), None)


def host_of(node: Node) -> Node | None:
    """A bundle node's host, other nodes themselves."""
    launcher = node.launcher if node.kind is NodeKind.GUEST else None
    if launcher is None or launcher.replica is None:
        return node
    return launcher.assigned_node


def find_compatible_container(dependent: Resource, bundle: Resource) -> Resource | None:
    """As `find_compatible`, for containers: who is inside a bundle is where that bundle's container is."""
    assert bundle.variant is Variant.BUNDLE
    places = locations(dependent, current=False)
    nodes = places if len(places) == 1 else [entry.node for entry in sorted_entries(dependent, None)]
    for node in nodes:
        host = host_of(node)
        for container in parts_of(bundle) if host is not None else ():
            if locations(container, current=False) == [host] and not container.blocked:
                return container
    return None
