"""Updating an action for all that comes before it, until nothing changes any more."""

from __future__ import annotations

from typing import Final

from crm.scheduler.actions import key_of, split_key
from crm.scheduler.activity import location
from crm.scheduler.model import Action, Link, Node, Rel, Variant, WorkingSet
from crm.scheduler.propagation.flags import OPTIONAL, RUNNABLE
from crm.scheduler.propagation.methods import FIRST, THEN, Updater
from crm.scheduler.relations import add_pair

_COMPLETED: Final = {
    "start": "running",
    "stop": "stopped",
    "promote": "promoted",
    "demote": "demoted",
    "running": "running",
    "stopped": "stopped",
    "promoted": "promoted",
    "demoted": "demoted",
}
_IMPLYING: Final = Rel.FIRST_IMPLIES_THEN | Rel.THEN_IMPLIES_FIRST | Rel.INTERMEDIATE_STOP
# Flags handled one by one, in this order, after those that need more than a call.
_BLOCKING: Final = Rel.UNRUNNABLE_FIRST_BLOCKS


class Propagation:
    """One run of the propagation over a working set."""

    def __init__(self, work: WorkingSet) -> None:
        self._work = work
        self._updater = Updater(work, self.update)
        self._known = self._updater.known

    def update(self, then: Action) -> None:
        """Let everything before `then` act on it, and on itself."""
        changed = 0
        counts = then.required_runnable_before > 0
        was = _state(then)
        if counts:
            then.runnable_before = 0
            then.runnable = False
            self._known.epoch += 1
        for link in reversed(then.before):
            if link.flags:
                one = self._update_for(then, link)
                if one:
                    self._known.epoch += 1
                    changed |= one
        if counts:
            changed = THEN if _state(then) != was else 0
        if not changed & THEN:
            return
        if was[1] and not then.runnable:
            self._updater.block_dependents(then)
        self.update(then)
        for after in reversed(then.after):
            self.update(after.action)

    def block_dependents(self, action: Action) -> None:
        """See `Updater.block_dependents`."""
        self._updater.block_dependents(action)

    def _update_for(self, then: Action, link: Link) -> int:
        first = link.action
        first_node, then_node = _node_of(first), _node_of(then)
        if (
            link.flags & Rel.IF_ON_SAME_NODE
            and first_node is not None
            and then_node is not None
            and first_node is not then_node
        ):
            link.flags = 0
            return 0
        if link.flags & Rel.THEN_CANCELS_FIRST and first.resource is not None and not then.optional:
            first.optional = True
            self._known.epoch += 1
            if first.task == "reload-agent":
                first.resource.reload = False
        completed = _completed(first, then)
        if completed is not first:
            changed = THEN if add_pair(completed, then, link.flags) else 0
            link.flags = 0
            return changed
        changed = self._propagate(first, then, link, first_node, then_node)
        if changed & FIRST:
            self._known.epoch += 1
            for after in reversed(first.after):
                self.update(after.action)
            self.update(first)
        return changed & THEN

    def _propagate(
        self, first: Action, then: Action, link: Link, first_node: Node | None, then_node: Node | None
    ) -> int:
        first_flags = self._known.flags_for_ordering(first, then_node)
        then_flags = self._known.flags_for_ordering(then, first_node)
        call = self._updater.call
        node = then.node
        if link.flags & Rel.FIRST_IMPLIES_SAME_NODE_THEN:
            link.flags = link.flags & ~Rel.FIRST_IMPLIES_SAME_NODE_THEN | Rel.FIRST_IMPLIES_THEN
            node = first.node
        changed = 0
        if link.flags & Rel.FIRST_IMPLIES_THEN:
            if then.resource is not None:
                changed |= call(then.resource, first, then, node, first_flags, Rel.FIRST_IMPLIES_THEN)
            elif not first_flags & OPTIONAL and then.optional:
                then.optional = False
                changed |= THEN
        if link.flags & Rel.INTERMEDIATE_STOP and then.resource is not None:
            changed |= call(then.resource, first, then, node, first_flags, Rel.INTERMEDIATE_STOP)
        if link.flags & Rel.THEN_IMPLIES_FIRST:
            if first.resource is not None:
                changed |= call(first.resource, first, then, node, first_flags, Rel.THEN_IMPLIES_FIRST)
            elif not first_flags & OPTIONAL and first.runnable:
                first.runnable = False
                changed |= FIRST
        if link.flags & Rel.PROMOTED_THEN_IMPLIES_FIRST and then.resource is not None:
            changed |= call(then.resource, first, then, node, first_flags, Rel.PROMOTED_THEN_IMPLIES_FIRST)
        changed |= self._propagate_runnable(first, then, link, node, first_flags)
        if then.resource is not None:
            for flag in (
                Rel.UNMIGRATABLE_THEN_BLOCKS,
                Rel.FIRST_ELSE_THEN,
                Rel.ORDERED,
                Rel.ASYMMETRIC,
            ):
                if link.flags & flag:
                    changed |= call(then.resource, first, then, node, first_flags, flag)
        return changed | _graphed(first, then, link, first_flags, then_flags)

    def _propagate_runnable(
        self, first: Action, then: Action, link: Link, node: Node | None, first_flags: int
    ) -> int:
        changed = 0
        call = self._updater.call
        if link.flags & Rel.MIN_RUNNABLE:
            if then.resource is not None:
                changed |= call(then.resource, first, then, node, first_flags, Rel.MIN_RUNNABLE)
            elif first_flags & RUNNABLE:
                then.runnable_before += 1
                if then.runnable_before >= then.required_runnable_before and not then.runnable:
                    then.runnable = True
                    changed |= THEN
        if link.flags & Rel.NESTED_REMOTE_PROBE and then.resource is not None:
            if not first_flags & RUNNABLE and first.resource is not None and first.resource.active_nodes:
                link.flags = 0
            else:
                changed |= call(then.resource, first, then, node, first_flags, _BLOCKING)
        if link.flags & Rel.UNRUNNABLE_FIRST_BLOCKS:
            if then.resource is not None:
                changed |= call(then.resource, first, then, node, first_flags, _BLOCKING)
            elif not first_flags & RUNNABLE and then.runnable:
                then.runnable = False
                changed |= THEN
        return changed


def _state(action: Action) -> tuple[bool, bool, bool, bool, bool]:
    return action.optional, action.runnable, action.migratable, action.pseudo, action.always_in_graph


def _node_of(action: Action) -> Node | None:
    resource = action.resource
    if resource is not None and resource.variant is Variant.GROUP and action.task == "start":
        return location(resource, current=False)
    return action.node


def _graphed(first: Action, then: Action, link: Link, first_flags: int, then_flags: int) -> int:
    if first.runnable and link.flags & Rel.FIRST_IMPLIES_THEN_GRAPHED and not first_flags & OPTIONAL:
        then.always_in_graph = True
    if link.flags & Rel.THEN_IMPLIES_FIRST_GRAPHED and not then_flags & OPTIONAL:
        first.always_in_graph = True
    resource = first.resource
    if (
        link.flags & _IMPLYING
        and resource is not None
        and not resource.managed
        and resource.blocked
        and not first.runnable
        and first.task == "stop"
        and then.runnable
    ):
        then.runnable = False
        return THEN
    return 0


def _completed(first: Action, then: Action) -> Action:
    """What really completes an action of another resource's collective: running for start, and so on."""
    resource = first.resource
    if (
        resource is None
        or resource.variant is Variant.PRIMITIVE
        or then.resource is None
        or then.resource is resource
        or resource.is_ancestor_of(then.resource)
        or "notify" in first.key
    ):
        return first
    parts = split_key(first.key)
    if parts is None or parts[2] > 0 or parts[1] not in _COMPLETED:
        return first
    task = _COMPLETED[parts[1]]
    if resource.notify and (resource.variant >= Variant.CLONE or resource.is_in_bundle()):
        key = f"{parts[0]}_confirmed-post_notify_{task}_0"
    else:
        key = key_of(parts[0], task)
    found = resource.actions_by_key.get(key)
    return found[-1] if found else first
