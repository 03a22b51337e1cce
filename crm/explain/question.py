"""A question about a CIB -> an explanation with commands that were really tried on it. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from crm.cib.model import Element
from crm.explain.changes import (
    Change,
    ban_change,
    failure_changes,
    move_change,
    node_changes,
    option_changes,
    promote_change,
    resource_changes,
)
from crm.explain.doing import explain_action, explain_fencing, find_actions
from crm.explain.facts import Explanation, Fact, Remedy, listed
from crm.explain.placement import answer, placement_facts, start_facts, unplaced_cause
from crm.explain.promotion import is_promoted, node_of, promotable_of, promotion_facts
from crm.scheduler.actions import first_with_task, split_key
from crm.scheduler.model import Node, Resource, Role, Variant, WorkingSet
from crm.scheduler.pipeline import schedule
from crm.simulation.inject import nearest
from hacluster.errors import InvalidRequest, NotFound

Goal = Callable[[WorkingSet], bool]

TRIED_MAX: Final = 40
"""Runs of the scheduler for one question: each takes as long as the transition itself."""
TRIED_MIN: Final = 8
ACTIONS_MAX: Final = 100_000
"""That all these runs may consider together: some seconds of work."""
REMEDIES_MAX: Final = 3
_TAGS: Final = ("primitive", "group", "clone", "master", "bundle")


class Asked:
    """A CIB and the transition computed from it. `sanitized`: as in `schedule`."""

    def __init__(self, cib: Element, now_s: int, *, sanitized: bool = False) -> None:
        self._cib, self._now_s, self._sanitized = cib, now_s, sanitized
        self.work = schedule(cib, now_s, sanitized=sanitized).work

    # --- questions

    def resource(self, name: str, node_name: str = "", *, absent: bool = False) -> Explanation:
        """Why a resource is where it is; with a node, why it is (or with `absent` is not) there.

        Raises NotFound for unknown names, InvalidRequest when the question states what is not so.
        """
        resource = _resource(self.work, name)
        node = _node(self.work, node_name) if node_name else None
        there = node is not None and any(one.assigned_node is node for one in resource.primitives())
        facts = [*_resource_facts(self.work, resource, node)]
        head = answer(self.work, resource)
        if node is not None and absent and there:
            head += f" It is meant for {node.name}, contrary to the question."
        elif node is not None and not absent and not there:
            head += f" It is not meant for {node.name}."
        remedies, tried = self._remedies(resource, node, there=there)
        return Explanation(subject=name, answer=head, facts=tuple(facts), remedies=remedies, tried=tried)

    def promoted(self, name: str, node_name: str, *, absent: bool) -> Explanation:
        """Why an instance is, or with `absent` is not, promoted on a node.

        Raises NotFound for unknown names, InvalidRequest for what cannot be promoted.
        """
        resource = _resource(self.work, name)
        node = _node(self.work, node_name)
        clone = promotable_of(resource)
        if clone is None:
            raise InvalidRequest(
                what=f"{name} cannot be promoted",
                remedy="ask about a clone with meta attribute promotable=true",
            )
        places = [one for one in clone.children if is_promoted(one)]
        there = any(_is_at(one, node) for one in places)
        names = listed([one.name for child in places if (one := host_of(child)) is not None])
        head = (
            f"{clone.id} is to be promoted on {names}."
            if places
            else f"{clone.id} is to be promoted nowhere."
        )
        if there is absent:
            head += " That is not what the question says."
        order = sorted(clone.children, key=lambda one: (not is_promoted(one), not _is_at(one, node)))
        chosen = [one for one in order if is_promoted(one) or _is_at(one, node)]
        facts = [fact for one in chosen for fact in promotion_facts(self.work, one)]
        if not any(_is_at(one, node) for one in chosen):
            facts.append(
                Fact(
                    kind="not_here",
                    text=f"No instance of {clone.id} is to be on {node.name}.",
                    node=node.name,
                )
            )
            facts += [
                fact
                for one in clone.children[:1]
                for part in one.primitives()
                for fact in placement_facts(self.work, part, node)
                if fact.kind == "node" and fact.node == node.name
            ]

        def goal(work: WorkingSet) -> bool:
            found = _find(work, clone.id)
            if found is None:
                return False
            promoted = [one for one in found.children if is_promoted(one)]
            return (
                bool(promoted)
                and any(_is_at(one, work.nodes_by_name[node.name]) for one in promoted) != there
            )

        changes = itertools.chain(
            self._changes(self._concerned(clone), node),
            self._leaving(clone) if there else [promote_change(clone, node)],
        )
        where = "elsewhere" if there else f"on {node.name}"
        remedies, tried = self._try(changes, goal, f"{name} would be promoted {where}")
        return Explanation(subject=name, answer=head, facts=tuple(facts), remedies=remedies, tried=tried)

    def action(self, key: str, node_name: str = "") -> Explanation:
        """Why an action is done, not done, or cannot be done. Raises NotFound."""
        node = _node(self.work, node_name) if node_name else None
        explained = explain_action(self.work, key, node)
        actions = find_actions(self.work, key, node)
        if any(one.in_graph or (one.optional and one.runnable) for one in actions):
            return explained
        resource = next((one.resource for one in actions if one.resource is not None), None)
        if resource is None:
            return explained

        def goal(work: WorkingSet) -> bool:
            return any(one.in_graph for one in find_actions(work, key, None))

        causes = [self.work.resources_by_id.get(_about(fact.origin)) for fact in explained.facts]
        concerned = [resource, *(one for one in causes if one is not None)]
        remedies, tried = self._try(
            self._changes(dict.fromkeys(concerned), None), goal, f"{key} would be done"
        )
        return Explanation(
            subject=key, answer=explained.answer, facts=explained.facts, remedies=remedies, tried=tried
        )

    def fenced(self, node_name: str) -> Explanation:
        """Why a node is to be fenced, or not. Raises NotFound."""
        node = _node(self.work, node_name)
        explained = explain_fencing(self.work, node)
        if not node.unclean:
            return explained

        def goal(work: WorkingSet) -> bool:
            return not work.nodes_by_name[node_name].unclean

        remedies, tried = self._try(
            failure_changes(self.work, node), goal, f"{node_name} would not have to be fenced"
        )
        return Explanation(
            subject=explained.subject,
            answer=explained.answer,
            facts=explained.facts,
            remedies=remedies,
            tried=tried,
        )

    # --- remedies

    def _remedies(
        self, resource: Resource, node: Node | None, *, there: bool
    ) -> tuple[tuple[Remedy, ...], int]:
        name = resource.id
        if node is None:
            changes = self._changes(self._concerned(resource), None)
            if any(one.blocked for one in resource.primitives()):
                return self._try(
                    changes, lambda work: _is_free(work, name), f"{name} would not be blocked any more"
                )
            if served(self.work, name):
                return (), 0
            return self._try(changes, lambda work: served(work, name), f"{name} would run")
        if there:
            moves = itertools.chain(self._leaving(resource), [ban_change(resource, node)])
            return self._try(
                moves,
                lambda work: not _is_on(work, name, node.name) and served(work, name),
                f"{name} would run elsewhere",
            )
        changes = itertools.chain(
            self._changes(self._concerned(resource), node), [move_change(resource, node)]
        )
        return self._try(
            changes, lambda work: _is_on(work, name, node.name), f"{name} would run on {node.name}"
        )

    def _leaving(self, resource: Resource) -> Iterator[Change]:
        for one in self._concerned(resource):
            for change in resource_changes(self.work, one, None):
                if "delete" in change.command or "clear" in change.command:
                    yield change

    def _concerned(self, resource: Resource) -> dict[Resource, None]:
        """The primitives asked about, and those they must be with."""
        own = list(resource.primitives())
        causes = [cause for one in own if (cause := unplaced_cause(one)) is not None]
        found = dict.fromkeys([*causes, *own])
        for one in own:
            here: Resource | None = one
            while here is not None:
                for colocation in here.this_with:
                    found.update(dict.fromkeys(colocation.primary.primitives()))
                here = here.parent
        for one in resource.primitives():
            for fact in start_facts(self.work, one):
                other = self.work.resources_by_id.get(_about(fact.origin))
                found.update(dict.fromkeys(other.primitives() if other is not None else ()))
        return found

    def _changes(self, resources: dict[Resource, None], node: Node | None) -> Iterator[Change]:
        work = self.work
        yield from option_changes(work)
        for one in resources:
            yield from resource_changes(work, one, node)
        for place in (node,) if node is not None and work.have_quorum else work.nodes:
            yield from node_changes(work, place)

    def _try(self, changes: Iterator[Change], goal: Goal, outcome: str) -> tuple[tuple[Remedy, ...], int]:
        """Single changes that reach the goal; else pairs, else all of them but what is not needed."""
        distinct = list({change.command: change for change in changes}.values())
        tried = 0
        tried_max = min(TRIED_MAX, max(TRIED_MIN, ACTIONS_MAX // (len(self.work.actions) + 1)))
        found: list[Remedy] = []
        sizes = (1, 2, len(distinct)) if len(distinct) > 2 else (1, 2)
        for size in sizes:
            for chosen in itertools.combinations(distinct, size):
                if tried >= tried_max or len(found) >= REMEDIES_MAX:
                    break
                tried += 1
                if self._reaches(chosen, goal):
                    if size > 2:
                        chosen, runs = self._needed(chosen, goal, runs_max=tried_max - tried)
                        tried += runs
                    found.append(Remedy(commands=tuple(one.command for one in chosen), outcome=outcome))
            if found:
                break
        return tuple(found), tried

    def _needed(
        self, chosen: tuple[Change, ...], goal: Goal, *, runs_max: int
    ) -> tuple[tuple[Change, ...], int]:
        """Without those that it is reached without, as far as so many runs tell; and how many it took."""
        tested = chosen[:runs_max]
        for change in tested:
            fewer = tuple(one for one in chosen if one is not change)
            if self._reaches(fewer, goal):
                chosen = fewer
        return chosen, len(tested)

    def _reaches(self, chosen: tuple[Change, ...], goal: Goal) -> bool:
        cib = self._cib
        for change in chosen:
            cib = change.apply(cib)
        return goal(schedule(cib, self._now_s, sanitized=self._sanitized).work)


def ask(asked: Asked, words: tuple[str, ...]) -> Explanation:
    """A question in words: RESOURCE [[not] [promoted] on NODE], ACTION [on NODE], fenced NODE.

    Raises InvalidRequest for other words, NotFound for unknown names.
    """
    match words:
        case ("fenced", node):
            return asked.fenced(node)
        case (name,):
            return _about_name(asked, name, "", absent=False)
        case (name, "promoted", "on", node) | (name, "promoted", node):
            return asked.promoted(name, node, absent=False)
        case (name, "not", "promoted", "on", node):
            return asked.promoted(name, node, absent=True)
        case (name, "on", node) | (name, node):
            return _about_name(asked, name, node, absent=False)
        case (name, "not", "on", node):
            return _about_name(asked, name, node, absent=True)
        case _:
            raise InvalidRequest(
                what=f"the question {' '.join(words)!r} is not understood",
                remedy="RESOURCE [[[not] [promoted] on] NODE], ACTION [on NODE] or fenced NODE",
            )


def _about_name(asked: Asked, name: str, node: str, *, absent: bool) -> Explanation:
    work = asked.work
    if _find(work, name) is not None:
        return asked.resource(name, node, absent=absent)
    place = _node(work, node) if node else None
    if find_actions(work, name, place):
        return asked.action(name, node)
    parts = split_key(name)
    if parts is not None and _find(work, parts[0]) is not None:
        about = asked.resource(parts[0], node, absent=absent)
        where = f" on {node}" if node else ""
        return replace(
            about,
            subject=name,
            answer=f"{name}{where} is not part of this transition: nothing asks for it. {about.answer}",
        )
    if name in work.nodes_by_name:
        raise InvalidRequest(
            what=f"{name} is a node: the question is about a resource or an action",
            remedy=f"hacli why fenced {name}; hacli why RESOURCE on {name}",
        )
    configured = work.cib.path("configuration", "resources")
    if configured is not None and configured.by_id(name, *_TAGS) is not None:
        raise InvalidRequest(
            what=f"{name} is configured, but the scheduler leaves it out", remedy="`hacli verify` says why"
        )
    names = [*(one.id for one in work.all_resources()), *work.actions_by_key]
    raise NotFound(kind="resource or action", name=name, remedy=nearest(name, names, "resources"))


def served(work: WorkingSet, name: str) -> bool:
    """Whether a resource would run: all members of a group, any instance of a clone or bundle."""
    resource = _find(work, name)
    if resource is None:
        return False
    if resource.variant is Variant.PRIMITIVE:
        return _runs(resource)
    states = [served_resource(child) for child in resource.children]
    return bool(states) and all(states) if resource.variant is Variant.GROUP else any(states)


def served_resource(resource: Resource) -> bool:
    """As `served` for what was found already."""
    if resource.variant is Variant.PRIMITIVE:
        return _runs(resource)
    states = [served_resource(child) for child in resource.children]
    return bool(states) and all(states) if resource.variant is Variant.GROUP else any(states)


def _runs(resource: Resource) -> bool:
    node = resource.assigned_node
    if node is None or resource.next_role <= Role.STOPPED:
        return False
    if node in resource.active_nodes and resource.orig_role > Role.STOPPED:
        return True
    if not resource.managed:
        return False
    start = first_with_task(resource, "start", node)
    return start is not None and start.runnable


def _is_at(instance: Resource, node: Node) -> bool:
    return node in (node_of(instance), host_of(instance))


def host_of(instance: Resource) -> Node | None:
    """The cluster node an instance is to be on: of a bundle's inner instance where its container is."""
    node = node_of(instance)
    launcher = node.launcher if node is not None else None
    return launcher.assigned_node if launcher is not None else node


def _is_free(work: WorkingSet, name: str) -> bool:
    resource = _find(work, name)
    return resource is not None and not any(one.blocked for one in resource.primitives())


def _is_on(work: WorkingSet, name: str, node: str) -> bool:
    resource = _find(work, name)
    if resource is None or not served_resource(resource):
        return False
    return any(
        one.assigned_node is not None and one.assigned_node.name == node for one in resource.primitives()
    )


def _about(key: str) -> str:
    parts = split_key(key)
    return parts[0] if parts is not None else key


def _find(work: WorkingSet, name: str) -> Resource | None:
    found = work.resources_by_id.get(name)
    if found is not None:
        return found
    for one in work.all_resources():
        if one.id == name:
            return one
        if one.parent is not None and one.id.partition(":")[0] == name:
            return one.parent if one.parent.is_clone else one
    return None


def _resource(work: WorkingSet, name: str) -> Resource:
    found = _find(work, name)
    if found is None:
        names = [one.id for one in work.all_resources()]
        raise NotFound(kind="resource", name=name, remedy=nearest(name, names, "resources"))
    return found


def _node(work: WorkingSet, name: str) -> Node:
    found = work.nodes_by_name.get(name)
    if found is None:
        known = listed([one.name for one in work.nodes]) or "none"
        raise InvalidRequest(what=f"there is no node {name!r}", remedy=f"nodes: {known}")
    return found


def _resource_facts(work: WorkingSet, resource: Resource, node: Node | None) -> Iterator[Fact]:
    if resource.variant is Variant.PRIMITIVE:
        yield from placement_facts(work, resource, node)
        return
    if resource.variant is Variant.GROUP:
        first = resource.children[0] if resource.children else None
        for member in resource.children:
            together = (
                first is not None and member.assigned_node is first.assigned_node and member is not first
            )
            if together and resource.colocated and served_resource(member):
                text = f"{member.id}: with the members before it."
                yield Fact(kind="member", text=text, origin=member.id)
            else:
                details = tuple(_resource_facts(work, member, node))
                yield Fact(kind="member", text=answer(work, member), origin=member.id, details=details)
        return
    unplaced = False
    for child in _inside(resource):
        placed = any(one.assigned_node is not None for one in child.primitives())
        if not placed and unplaced:
            continue
        unplaced = unplaced or not placed
        details = tuple(_resource_facts(work, child, node))
        yield Fact(kind="instance", text=answer(work, child), origin=child.id, details=details)


def _inside(resource: Resource) -> list[Resource]:
    if resource.bundle is not None:
        return [replica.container for replica in resource.bundle.replicas]
    return resource.children
