"""Make a CIB as small as possible while something still holds of it. Pure but for the question asked."""

from __future__ import annotations

from collections.abc import Callable

from crm.cib.model import Element
from tests.differential.tree import Place, at, put, walk

QUESTIONS_MAX = 4000
_KEPT = frozenset({"configuration", "crm_config", "nodes", "resources", "constraints", "status"})
_OPTIONAL_ATTRIBUTES = frozenset(
    {"score", "description", "crm-debug-origin", "exit-reason", "on_node", "exec-time", "queue-time"}
    | {"op-secure-params", "op-secure-digest", "op-force-restart", "op-restart-digest", "last-run"}
)


def shrunk(cib: Element, holds: Callable[[Element], bool], *, questions_max: int = QUESTIONS_MAX) -> Element:
    """Take elements away, big ones first, as long as `holds` stays true; asks it at most so often."""
    asked = 0

    def ask(candidate: Element) -> bool:
        nonlocal asked
        asked += 1
        return asked <= questions_max and holds(candidate)

    before = None
    while before != cib and asked < questions_max:
        before = cib
        cib = _attributes_away(_elements_away(cib, ask), ask)
    return cib


def _elements_away(cib: Element, ask: Callable[[Element], bool]) -> Element:
    depth = 0
    while level := [place for place, item in walk(cib) if len(place) == depth + 1]:
        by_parent: dict[Place, list[Place]] = {}
        for place in level:
            if at(cib, place).tag not in _KEPT:
                by_parent.setdefault(place[:-1], []).append(place)
        for places in reversed(by_parent.values()):
            cib = _some_away(cib, places, ask)
        depth += 1
    return cib


def _some_away(cib: Element, places: list[Place], ask: Callable[[Element], bool]) -> Element:
    """Siblings: all at once, else each half by itself, the later ones first so that places stay right."""
    candidate = cib
    for place in reversed(places):
        candidate = put(candidate, place)
    if ask(candidate):
        return candidate
    if len(places) == 1:
        return _unwrapped(cib, places[0], ask)
    middle = len(places) // 2
    return _some_away(_some_away(cib, places[middle:], ask), places[:middle], ask)


def _unwrapped(cib: Element, place: Place, ask: Callable[[Element], bool]) -> Element:
    """A group with one member becomes the member."""
    item = at(cib, place)
    inner = [child for child in item.children if child.tag == "primitive"]
    if item.tag == "group" and len(inner) == 1:
        candidate = put(cib, place, inner[0])
        if ask(candidate):
            return candidate
    return cib


def _attributes_away(cib: Element, ask: Callable[[Element], bool]) -> Element:
    for place, item in list(walk(cib)):
        names = [name for name in item.attributes if name in _OPTIONAL_ATTRIBUTES]
        if not names:
            continue
        candidate = put(cib, place, item.with_attribute_map(dict.fromkeys(names)))
        if ask(candidate):
            cib = candidate
    return cib
