"""Constraints: circles, contradictions, and those that can never apply."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Final

from crm.cib.model import Element
from crm.cib.schema import Problem
from crm.explain.checks.finding import error, is_promotable, parents, resources, section, value, warning
from crm.scheduler.scores import INFINITY, parse
from crm.scheduler.values import is_true

Point = tuple[str, str]  # a resource and "begin" or "end": of a group these are far apart
Edges = dict[Point, dict[Point, str]]  # to what, and because of what
_PROMOTED: Final = ("promoted", "master", "unpromoted", "slave")
_ROLE_TASKS: Final = ("promote", "demote")


def check(cib: Element) -> Iterator[Problem]:
    """All findings about constraints."""
    tree = {one.id: one for one in resources(cib)}
    constraints = section(cib, "constraints")
    yield from _order_circles(constraints, tree)
    yield from _colocation_circles(constraints)
    yield from _cancelled_locations(constraints)
    yield from _with_itself(constraints, parents(cib))
    yield from _roles(constraints, tree, parents(cib))
    yield from _no_effect(constraints, cib)


# --- orders


def order_edges(constraints: Element, tree: Mapping[str, Element]) -> Edges:
    """What begins after what has ended: mandatory orders of starts, and the order in groups."""
    edges: Edges = {}

    def add(first: Point, then: Point, why: str) -> None:
        edges.setdefault(first, {}).setdefault(then, why)

    for name, one in tree.items():
        members = [child for child in one.children if child.id in tree]
        add((name, "begin"), (name, "end"), "")
        for child in members:
            add((name, "begin"), (child.id, "begin"), "")
            add((child.id, "end"), (name, "end"), "")
        if one.tag == "group" and value(one, "ordered").lower() not in ("false", "no", "off", "0"):
            for upper, lower in itertools.pairwise(members):
                add((upper.id, "end"), (lower.id, "begin"), f"group {name}")
    for one in constraints.all("rsc_order"):
        if not _is_mandatory(one):
            continue
        for first, then in _ordered_pairs(one):
            if first in tree and then in tree:
                add((first, "end"), (then, "begin"), one.id)
    return edges


def _is_mandatory(one: Element) -> bool:
    kind = one.get("kind").lower()
    return kind == "mandatory" or (not kind and one.get("score") not in ("0",))


def _ordered_pairs(one: Element) -> Iterator[tuple[str, str]]:
    if not one.all("resource_set"):
        task = one.get("first-action", "start")
        if task == one.get("then-action", task) and task != "stop":
            yield one.get("first"), one.get("then")
        return
    before: list[str] = []
    for part in one.all("resource_set"):
        names = [item.id for item in part.all("resource_ref")]
        if part.get("action", "start") != "start":
            before = []
            continue
        sequential = is_true(part.get("sequential") or None, default=True)
        if sequential:
            yield from itertools.pairwise(names)
        firsts = before[-1:] if sequential else before
        yield from itertools.product(firsts, names[:1] if sequential else names)
        before = names[-1:] if sequential else names


def _order_circles(constraints: Element, tree: Mapping[str, Element]) -> Iterator[Problem]:
    edges = order_edges(constraints, tree)
    seen: set[frozenset[str]] = set()
    for start in edges:
        path = _way_back(edges, start)
        ids = [why for one, other in itertools.pairwise(path) if (why := edges[one][other])]
        orders = [why for why in dict.fromkeys(ids) if not why.startswith("group ")]
        if not orders or frozenset(ids) in seen:
            continue
        seen.add(frozenset(ids))
        names = [name for name, _ in itertools.groupby(name for name, _ in path)]
        distinct = list(dict.fromkeys(ids))
        subject = (
            f"the orders {', '.join(distinct)} form" if len(distinct) > 1 else f"the order {ids[0]} forms"
        )
        what = f"{subject} a circle: {' then '.join(names)}"
        yield error(orders[0], what, f"delete one of them, as `hacli configure delete {orders[-1]}`")


def _way_back(edges: Mapping[Point, Mapping[Point, str]], start: Point) -> list[Point]:
    """The shortest circle through `start`, its first and last element; empty without one."""
    paths = [[start]]
    visited = {start}
    for path in paths:  # grows while it is walked
        for following in edges.get(path[-1], {}):
            if following == start:
                return [*path, start]
            if following not in visited:
                visited.add(following)
                paths.append([*path, following])
    return []


# --- colocations


def _colocation_circles(constraints: Element) -> Iterator[Problem]:
    edges: Edges = {}
    for one in constraints.all("rsc_colocation"):
        if one.all("resource_set") or parse(one.get("score"), INFINITY) <= 0:
            continue
        edges.setdefault((one.get("rsc"), ""), {})[one.get("with-rsc"), ""] = one.id
    seen: set[frozenset[str]] = set()
    for start in edges:
        path = _way_back(edges, start)
        ids = [edges[one][other] for one, other in itertools.pairwise(path)]
        if not ids or frozenset(ids) in seen:
            continue
        seen.add(frozenset(ids))
        names = " with ".join(name for name, _ in path)
        yield warning(
            ids[0],
            f"the colocations {', '.join(ids)} form a circle: {names}; which is placed first is not defined",
            f"delete one of them, as `hacli configure delete {ids[-1]}`",
        )


# --- locations


def _cancelled_locations(constraints: Element) -> Iterator[Problem]:
    """The same resource and node, wanted and forbidden."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    for one in constraints.all("rsc_location"):
        score = parse(one.get("score"))
        role = one.get("role").lower()
        if one.get("rsc") and one.get("node") and abs(score) >= INFINITY and role in ("", "started"):
            found.setdefault((one.get("rsc"), one.get("node").lower()), {})[score] = one.id
    for (name, node), by_score in found.items():
        if len(by_score) == 2:
            wanted, forbidden = by_score[INFINITY], by_score[-INFINITY]
            yield warning(
                wanted,
                f"it wants {name} on {node}, and {forbidden} forbids it there: -INFINITY wins",
                f"`hacli configure delete {wanted}`, or {forbidden}",
            )


# --- those that never apply


def _with_itself(constraints: Element, inside: Mapping[str, Element]) -> Iterator[Problem]:
    """Between a collective and its own part."""
    for one in constraints.all("rsc_colocation", "rsc_order"):
        if one.all("resource_set"):
            continue
        names = ("rsc", "with-rsc") if one.tag == "rsc_colocation" else ("first", "then")
        left, right = one.get(names[0]), one.get(names[1])
        for part, whole in ((left, right), (right, left)):
            if whole in _holders(part, inside):
                yield warning(
                    one.id,
                    f"{part} is a part of {whole}: the constraint between them has no effect",
                    f"`hacli configure delete {one.id}`",
                )


def _holders(name: str, inside: Mapping[str, Element]) -> Iterator[str]:
    while name in inside:
        name = inside[name].id
        yield name


def _roles(
    constraints: Element, tree: Mapping[str, Element], inside: Mapping[str, Element]
) -> Iterator[Problem]:
    """Roles and tasks that only promotable clones know."""

    def promotable(name: str) -> bool:
        chain = [tree[one] for one in (name, *_holders(name, inside)) if one in tree]
        return not chain or any(map(is_promotable, chain))

    for one in constraints.children:
        asked: list[tuple[str, str]] = []
        for attribute, role in (("rsc", "rsc-role"), ("with-rsc", "with-rsc-role"), ("rsc", "role")):
            if one.get(role).lower() in _PROMOTED:
                asked.append((one.get(attribute), f"role {one.get(role)}"))
        for attribute, task in (("first", "first-action"), ("then", "then-action")):
            if one.get(task) in _ROLE_TASKS:
                asked.append((one.get(attribute), f"action {one.get(task)}"))
        for part in one.all("resource_set"):
            word = part.get("role") if part.get("role").lower() in _PROMOTED else ""
            word = word or (part.get("action") if part.get("action") in _ROLE_TASKS else "")
            asked += [(item.id, word) for item in part.all("resource_ref") if word]
        for rule in one.all("rule"):
            if rule.get("role").lower() in _PROMOTED:
                asked.append((one.get("rsc"), f"role {rule.get('role')}"))
        for name, word in asked:
            if name and not promotable(name):
                inner = any(
                    tree[one].tag == "bundle" for one in (name, *_holders(name, inside)) if one in tree
                )
                how = "set promoted-max" if inner else "set meta promotable=true for the clone"
                yield warning(
                    one.id,
                    f"it is about {word} of {name}, which cannot be promoted: it never applies",
                    f"{how} of {name}, or delete {one.id}",
                )


def _no_effect(constraints: Element, cib: Element) -> Iterator[Problem]:
    tags = {one.id for one in section(cib, "tags").children}
    tags |= {one.id for one in section(cib, "resources").all("template")}
    for one in constraints.children:
        sets = one.all("resource_set")
        members = [item for part in sets for item in part.all("resource_ref")]
        if one.tag in ("rsc_colocation", "rsc_order") and sets and len(members) < 2:
            what = "its sets hold one resource: there is nothing to keep together or in order"
            yield warning(one.id, what, f"add another, or `hacli configure delete {one.id}`")
        zero = one.tag == "rsc_colocation" and not sets and one.get("score") in ("0", "+0", "-0")
        if zero:
            yield warning(one.id, "its score is 0: it has no effect", f"`hacli configure delete {one.id}`")
        if one.tag == "rsc_colocation" and one.get("rsc") in tags and one.get("with-rsc") in tags:
            yield error(
                one.id, "two tags or templates cannot be colocated: it is ignored", "use resource sets"
            )
        if (
            one.tag == "rsc_location"
            and one.get("resource-discovery") == "never"
            and parse(one.get("score")) > -INFINITY
            and one.get("node")
        ):
            yield warning(
                one.id,
                f"resource-discovery=never, but {one.get('rsc')} may run on {one.get('node')}: "
                "it would not be seen there",
                "set the score to -INFINITY, or leave resource-discovery out",
            )
