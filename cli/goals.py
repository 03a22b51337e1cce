"""What a command wants to reach, so that -w can say whether it was reached. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from cli.grammar.document import find_resource

if TYPE_CHECKING:
    from cli.render.cluster_view import ClusterView, Place

Goal = Callable[["ClusterView"], str]
"""What is not as wanted, in words; empty: reached."""


def _places(view: ClusterView, name: str) -> list[Place]:
    resource = find_resource(view.cib, name)
    if resource is None:
        return []
    every = view.placements()
    return [
        place
        for one in resource.walk()
        if one.tag == "primitive"
        for place in every.get(one.id, ())
        if place.role != "Stopped"
    ]


def stopped(names: Iterable[str]) -> Goal:
    """None of them runs."""

    def check(view: ClusterView) -> str:
        found = [f"{name} runs on {one.node}" for name in names for one in _places(view, name)[:1]]
        return ", ".join(found)

    return check


def running(names: Iterable[str]) -> Goal:
    """Each of them (every member of a group) runs, and none has failed."""

    def check(view: ClusterView) -> str:
        missing: list[str] = []
        every = view.placements()
        for name in names:
            resource = find_resource(view.cib, name)
            for one in resource.walk() if resource is not None else ():
                if one.tag == "primitive":
                    places = [place for place in every.get(one.id, ()) if place.role != "Stopped"]
                    if not places:
                        missing.append(f"{one.id} does not run")
                    elif all(place.failed for place in places):
                        missing.append(f"{one.id} has failed")
        return ", ".join(missing)

    return check


def on_node(name: str, node: str) -> Goal:
    """It runs on that node."""

    def check(view: ClusterView) -> str:
        nodes = sorted({one.node for one in _places(view, name)})
        return "" if node in nodes else f"{name} runs on {', '.join(nodes) or 'no node'}, not on {node}"

    return check


def not_on_node(name: str, node: str) -> Goal:
    """It does not run on that node."""

    def check(view: ClusterView) -> str:
        return f"{name} still runs on {node}" if node in {one.node for one in _places(view, name)} else ""

    return check


def in_role(name: str, role: str) -> Goal:
    """An instance has that role; for "Unpromoted": none is promoted."""

    def check(view: ClusterView) -> str:
        roles = [one.role for one in _places(view, name)]
        if role == "Promoted":
            return "" if "Promoted" in roles else f"no instance of {name} is promoted"
        return f"{name} is promoted still" if "Promoted" in roles else ""

    return check


def empty(node: str) -> Goal:
    """Nothing runs on that node, but for fence devices' monitors."""

    def check(view: ClusterView) -> str:
        left = [
            name
            for name, places in view.placements().items()
            if any(one.node == node and one.role != "Stopped" for one in places)
        ]
        return f"{', '.join(left)} still on {node}" if left else ""

    return check
