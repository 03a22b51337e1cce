"""What one flag of a relation does to a pair of actions, by the kind of resource it is applied for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from crm.scheduler.actions import first_with_task, set_reason
from crm.scheduler.activity import state
from crm.scheduler.colocation import with_this
from crm.scheduler.compatible import Partners, parts_of
from crm.scheduler.model import Action, Node, Rel, Resource, Role, Variant, WorkingSet
from crm.scheduler.placement.nodes import assign_to
from crm.scheduler.propagation.flags import (
    MIGRATABLE,
    OPTIONAL,
    RUNNABLE,
    Known,
    underlying_task,
)
from crm.scheduler.scores import INFINITY

FIRST: Final = 1
THEN: Final = 2
_CONTAINED_THEN: Final = frozenset({"promote", "promoted", "demote", "demoted"})


def _because(action: Action, cause: Action, change: str) -> None:
    if action.resource is not cause.resource or action.resource is None:
        name = f"{cause.resource.id} {cause.task}" if cause.resource is not None else cause.task
        set_reason(action, f"{change} {name}")


def clear_optional(action: Action, cause: Action) -> None:
    """Make an action required because of another one."""
    if action.optional:
        action.optional = False
        _because(action, cause, "required")


def clear_runnable(action: Action, cause: Action) -> None:
    """Make an action impossible because of another one."""
    if action.runnable:
        action.runnable = False
        _because(action, cause, "unrunnable")


def clear_migratable(action: Action, cause: Action) -> None:
    """Make an action no part of a live migration because of another one."""
    if action.migratable:
        action.migratable = False
        _because(action, cause, "unmigrateable")


class Updater:
    """Applies single flags; `update` is how an action is updated for all its relations once more."""

    def __init__(self, work: WorkingSet, update: Callable[[Action], None]) -> None:
        self._work = work
        self._update = update
        self.known = Known()
        self._partners = Partners()
        self._settled: set[tuple[object, ...]] = set()  # calls that changed nothing in this epoch
        self._settled_epoch = 0

    def call(
        self, resource: Resource, first: Action, then: Action, node: Node | None, flags: int, flag: int
    ) -> int:
        """One flag for one pair, with the method of `resource`'s variant; returns FIRST and THEN bits."""
        variant = resource.variant
        if variant is Variant.PRIMITIVE:
            return self._pair(first, then, flags, flag)
        if variant is not Variant.GROUP and _interleaves(first, then):
            return self._interleaved(first, then, node, flag)
        # What the outcome depends on, but for the flags of `then` and its parts, which the epoch stands for.
        restarting = first.resource if flag == Rel.INTERMEDIATE_STOP else None
        key = (variant, then, node, flags, flag, first.optional, first.runnable, first.migratable, restarting)
        epoch = self.known.epoch
        if epoch != self._settled_epoch:
            self._settled.clear()
            self._settled_epoch = epoch
        elif key in self._settled:
            return 0
        method = self._group if variant is Variant.GROUP else self._collective
        changed = method(first, then, node, flags, flag)
        if not changed and epoch == self.known.epoch == self._settled_epoch:
            self._settled.add(key)
        return changed

    # --- one pair

    def _pair(self, first: Action, then: Action, flags: int, flag: int) -> int:
        first_was = (first.optional, first.runnable, first.migratable)
        then_was = (then.optional, then.runnable, then.migratable, then.pseudo)
        match flag:
            case Rel.FIRST_IMPLIES_THEN:
                if then.optional and not flags & OPTIONAL and not first.migratable:
                    clear_optional(then, first)
            case Rel.UNRUNNABLE_FIRST_BLOCKS:
                if then.runnable and not flags & RUNNABLE:
                    clear_runnable(then, first)
                    clear_migratable(then, first)
            case Rel.INTERMEDIATE_STOP:
                _restart(first, then)
            case Rel.THEN_IMPLIES_FIRST:
                if not then.optional:
                    if not flags & OPTIONAL:
                        clear_optional(first, then)
                    if flags & MIGRATABLE and not then.migratable:
                        clear_migratable(first, then)
            case Rel.PROMOTED_THEN_IMPLIES_FIRST:
                promoted = then.resource is not None and then.resource.orig_role is Role.PROMOTED
                if promoted and not then.optional:
                    clear_optional(first, then)
                    if not then.migratable:
                        clear_migratable(first, then)
            case Rel.UNMIGRATABLE_THEN_BLOCKS:
                if not (then.migratable and then.runnable):
                    clear_runnable(first, then)
                if not then.optional:
                    clear_optional(first, then)
            case Rel.FIRST_ELSE_THEN:
                if not first.runnable:
                    clear_migratable(then, first)
                    then.pseudo = False
            case Rel.ASYMMETRIC:
                _asymmetric(first, then)
            case _:
                return 0
        changed = 0
        if then_was != (then.optional, then.runnable, then.migratable, then.pseudo):
            changed |= THEN
            self.known.epoch += 1
            if then.resource is not None and then.resource.parent is not None:
                self._update(then)
        if first_was != (first.optional, first.runnable, first.migratable):
            changed |= FIRST
            self.known.epoch += 1
        return changed

    # --- collectives

    def _group(self, first: Action, then: Action, node: Node | None, flags: int, flag: int) -> int:
        changed = self._pair(first, then, flags, flag)
        for member in then.resource.children if then.resource is not None else ():
            action = first_with_task(member, then.task, node)
            if action is not None:
                changed |= self.call(member, first, action, node, flags, flag)
        return changed

    def _collective(self, first: Action, then: Action, node: Node | None, flags: int, flag: int) -> int:
        resource = then.resource
        if resource is None:
            return 0
        changed = self._pair(first, then, flags, flag)
        for instance in _instances(resource):
            action = first_with_task(instance, then.task, node)
            if action is None or not self.known.flags_of(action, node) & RUNNABLE:
                continue
            result = self.call(instance, first, action, node, flags, flag)
            changed |= result
            if result & THEN:
                for after in reversed(action.after):
                    self._update(after.action)
        return changed

    def _interleaved(self, first: Action, then: Action, node: Node | None, flag: int) -> int:
        from crm.scheduler.relations import add_pair

        assert first.resource is not None
        assert then.resource is not None
        current = first.key.endswith(("_stopped_0", "_demoted_0"))
        task = underlying_task(first, _instances(first.resource))
        changed = 0
        for instance in _instances(then.resource):
            partner = self._partners.find(instance, first.resource, current=current)
            if partner is None:
                if self._without_partner(instance, flag, current=current):
                    changed |= THEN
                continue
            first_action = _instance_action(first, partner, task, node, for_first=True)
            if first_action is None:
                continue
            then_action = _instance_action(then, instance, then.task, node, for_first=False)
            if then_action is None:
                continue
            if add_pair(first_action, then_action, flag):
                changed |= FIRST | THEN
            changed |= self.call(
                instance,
                first_action,
                then_action,
                node,
                self.known.flags_of(first_action, node),
                flag,
            )
        return changed

    def _without_partner(self, instance: Resource, flag: int, *, current: bool) -> bool:
        if current or not flag & (Rel.UNRUNNABLE_FIRST_BLOCKS | Rel.FIRST_IMPLIES_THEN):
            return False
        before = instance.assigned
        assign_to(self._work, instance, None, force=True, stop_if_fail=True)
        self._partners = Partners()
        self.known.epoch += 1
        return before is not None

    # --- colocation dependents

    def block_dependents(self, action: Action) -> None:
        """What must be with something that cannot start (be promoted) cannot start either."""
        resource = action.resource
        if action.runnable or resource is None or action.task not in {"start", "promote"}:
            return
        top = resource.top(including_bundle=True)
        for child in top.children:
            own = first_with_task(child, action.task)
            if own is None or own.runnable:
                return
        for colocation in with_this(top):
            if colocation.score < INFINITY:
                continue
            if action.task == "promote" and colocation.primary_role is not Role.PROMOTED:
                continue
            task = "promote" if colocation.dependent_role is Role.PROMOTED else "start"
            self._block(colocation.dependent, task, resource)

    def _block(self, resource: Resource, task: str, cause: Resource) -> None:
        for action in reversed(list(resource.actions_by_task.get(task, ()))):
            if action.runnable:
                action.runnable = False
                self.known.epoch += 1
                set_reason(action, f"colocation with {cause.id}")
                self.block_dependents(action)
                self._update(action)
        for child in resource.children:
            self._block(child, task, cause)


def _instances(resource: Resource) -> list[Resource]:
    return parts_of(resource) if resource.variant >= Variant.CLONE else []


def _interleaves(first: Action, then: Action) -> bool:
    one, two = first.resource, then.resource
    if one is None or two is None or one is two:
        return False
    if one.variant < Variant.CLONE or two.variant < Variant.CLONE:
        return False
    deciding = one if then.task in {"stop", "demote"} else two
    return is_interleaved(deciding)


def is_interleaved(resource: Resource) -> bool:
    """Meta attribute interleave of a clone or bundle."""
    return resource.interleave


def _instance_action(
    action: Action, instance: Resource, task: str, node: Node | None, *, for_first: bool
) -> Action | None:
    """The action of an instance; for a bundle's container sometimes of the resource inside."""
    inner: Resource | None = None
    inside = action.task not in {"stop", "stopped"} if for_first else action.task in _CONTAINED_THEN
    if inside and instance.replica is not None and instance.replica.container is instance:
        inner = instance.replica.child
    if inner is not None:
        return first_with_task(inner, task)
    return first_with_task(instance, task, node)


def _restart(first: Action, then: Action) -> None:
    resource = then.resource
    needed = not then.optional or (
        not then.runnable and resource is not None and resource.managed and first.resource is resource
    )
    if not needed:
        return
    if first.runnable:
        clear_optional(first, then)
    if not then.optional:
        clear_optional(first, then)
    if not then.migratable:
        clear_migratable(first, then)
    if not first.optional and not first.runnable:
        clear_runnable(then, first)


def _asymmetric(first: Action, then: Action) -> None:
    resource = then.resource
    if resource is None or first.runnable:
        return
    if then.optional:
        role = state(resource, current=True)
        if role is Role.STOPPED and then.task == "stop":
            return
        only_there = len(resource.active_nodes) == 1 and resource.active_nodes[0] is then.node
        if role >= Role.STARTED and then.task == "start" and only_there:
            return
    clear_optional(then, first)
    clear_runnable(then, first)
