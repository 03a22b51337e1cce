"""Probes come before what depends on their result: starts, and restarts of what follows them."""

from __future__ import annotations

from typing import Final

from crm.scheduler.actions import key_of
from crm.scheduler.compatible import Partners
from crm.scheduler.model import Action, Link, Ordering, Rel, Resource, Variant, WorkingSet
from crm.scheduler.relations import add_pair

_RESTARTED: Final = {"start": "stop", "promote": "demote"}
_FILTERED: Final = (Rel.IF_REQUIRED_ON_SAME_NODE, Rel.IF_ON_SAME_NODE_OR_TARGET)


def order_probes(work: WorkingSet) -> None:
    """After the relations have become pairs."""
    followers = Followers()
    for top in work.resources:
        for resource in top.primitives():
            _after_probes(resource, followers)
    _before_stops(work)


def _probes(resource: Resource) -> list[Action]:
    return list(resource.actions_by_key.get(key_of(resource.id, "monitor"), ()))


# --- starts and restarts


def _after_probes(resource: Resource, followers: Followers) -> None:
    known: dict[int, list[Action]] = {}
    for probe in _probes(resource):
        for link in reversed(list(probe.after)):
            _hold_back_instances(probe, link)
            reached = known.get(link.action.id)
            if reached is None:
                reached = known[link.action.id] = _restarts_after(resource, link.action, followers)
            for action in reached:
                add_pair(probe, action, Rel.ORDERED)


def _hold_back_instances(probe: Action, link: Link) -> None:
    after = link.action
    if (
        after.resource is None
        or after.resource.variant <= Variant.GROUP
        or probe.runnable
        or link.flags & Rel.UNRUNNABLE_FIRST_BLOCKS
        or probe.resource is None
        or probe.resource.top() is not after.resource
        or after.task != "start"
    ):
        return
    for then in reversed(after.after):
        resource = then.action.resource
        if (
            resource is None
            or resource.active_nodes
            or resource.top() is not after.resource
            or then.action.task != "start"
        ):
            continue
        add_pair(probe, then.action, Rel.ORDERED | Rel.UNRUNNABLE_FIRST_BLOCKS)


def _restarts_after(resource: Resource, start: Action, followers: Followers) -> list[Action]:
    """The stops and demotes of other primitives whose start or promotion follows from `start`."""
    found: list[Action] = []
    seen: set[int] = set()
    stack = [start]
    while stack:
        after = stack.pop()
        if after.id in seen:
            continue
        seen.add(after.id)
        other = after.resource
        if other is not None and other.is_primitive and other is not resource:
            task = _RESTARTED.get(after.task)
            if task is not None:
                key = key_of(other.id, task)
                found.extend(one for one in other.actions_by_key.get(key, ()) if not one.pseudo)
        stack.extend(followers.of(resource, after))
    return found


class Followers:
    """What follows from an action; looked up from every resource before it, so remembered."""

    def __init__(self) -> None:
        self._implied: dict[int, list[Action]] = {}  # by action; what is added here later implies nothing
        self._partners = Partners()

    def of(self, resource: Resource, after: Action) -> list[Action]:
        """What to look at next, the newest last (it is taken first)."""
        other = after.resource
        if other is not None and other.variant >= Variant.GROUP and resource.parent is not other:
            return self._of_collective(resource, after, other)
        found = self._implied.get(after.id)
        if found is None:
            found = [link.action for link in after.after if link.flags & Rel.FIRST_IMPLIES_THEN]
            self._implied[after.id] = found
        return found

    def _of_collective(self, resource: Resource, after: Action, other: Resource) -> list[Action]:
        """Its members' or instances' actions follow, too; of interleaved ones the partner's."""
        interleaved = other.variant > Variant.GROUP and other.interleave
        partner = self._partners.find(resource, other, current=False) if interleaved else None
        found: list[Action] = []
        for link in after.after:
            then = link.action
            if not link.flags & Rel.FIRST_IMPLIES_THEN:
                part = then.resource
                if part is None or part.variant > Variant.GROUP or part.parent is not other:
                    continue
                if interleaved and partner is not part:
                    continue
            found.append(then)
        return found


# --- what waits for a stop waits for the probe


def _before_stops(work: WorkingSet) -> None:
    for ordering in work.orderings:
        if _concerns_stop(ordering):
            _order(ordering)


def _concerns_stop(ordering: Ordering) -> bool:
    first = ordering.first_resource
    if not ordering.flags or first is None or first is ordering.then_resource:
        return False
    if ordering.first_action is not None:
        if ordering.first_action.task != "stop":
            return False
    elif not ordering.first_key.endswith("_stop_0"):
        return False
    if ordering.then_action is None and not ordering.then_key:
        return False
    if ordering.then_resource is not None and first.launcher is ordering.then_resource:
        then = ordering.then_action
        if then is not None:
            return then.task != "stop"
        return not ordering.then_key.endswith("_stop_0")
    return True


def _order(ordering: Ordering) -> None:
    assert ordering.first_resource is not None
    probes = _probes(ordering.first_resource)
    if not probes:
        return
    flags = Rel.ORDERED | (ordering.flags & (Rel.IF_FIRST_UNMIGRATABLE | Rel.IF_ON_SAME_NODE))
    if ordering.flags in _FILTERED:
        flags = ordering.flags
    if ordering.then_action is not None:
        thens = [ordering.then_action]
    elif ordering.then_resource is not None:
        thens = list(ordering.then_resource.actions_by_key.get(ordering.then_key, ()))
    else:
        return
    for probe in probes:
        for then in thens:
            same = probe.node is then.node
            if then.task == "stonith" and then.meta.get("stonith_action") == "on" and same:
                continue
            if then.task == "do_shutdown" and not same:
                continue
            add_pair(probe, then, flags)
