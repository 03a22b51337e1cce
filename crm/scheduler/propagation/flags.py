"""The flags of an action as others see them: those of a collective follow from its instances or members."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from crm.scheduler.actions import first_with_task
from crm.scheduler.compatible import parts_of
from crm.scheduler.model import Action, Node, Resource, Variant

OPTIONAL: Final = 1
RUNNABLE: Final = 2
MIGRATABLE: Final = 4
PSEUDO: Final = 8

UNDERLYING: Final = {
    "running": "start",
    "started": "start",
    "stopped": "stop",
    "promoted": "promote",
    "demoted": "demote",
}
_INNER_TASKS: Final = frozenset({"promote", "promoted", "demote", "demoted", "notify", "notified"})


def own_flags(action: Action) -> int:
    """The action's own flags as bits."""
    return (
        (OPTIONAL if action.optional else 0)
        | (RUNNABLE if action.runnable else 0)
        | (MIGRATABLE if action.migratable else 0)
        | (PSEUDO if action.pseudo else 0)
    )


class Known:
    """What is known of flags while no action is made, moved or renamed; `epoch` grows with every change."""

    def __init__(self) -> None:
        self.epoch = 0
        self._flags: dict[tuple[Action, Node | None], tuple[int, int]] = {}
        self._on_node: dict[tuple[Resource, str, str], dict[Node | None, list[Action]]] = {}

    def flags_of(self, action: Action, node: Node | None) -> int:
        """As the function, which it asks once an epoch."""
        resource = action.resource
        if resource is None or resource.variant is Variant.PRIMITIVE:
            return own_flags(action)
        found = self._flags.get((action, node))
        if found is not None and found[0] == self.epoch:
            return found[1]
        flags = flags_of(action, node, self)
        self._flags[action, node] = (self.epoch, flags)
        return flags

    def flags_for_ordering(self, action: Action, node: Node | None) -> int:
        """Without a node, but for actions of clones."""
        flags = self.flags_of(action, None)
        resource = action.resource
        if node is None or resource is None or not resource.is_clone:
            return flags
        return self.flags_of(action, node) | (flags & RUNNABLE)

    def on_node(self, action: Action, instances: list[Resource], task: str, node: Node) -> list[Action]:
        """The newest action there of each instance that counts for its collective's action."""
        assert action.resource is not None
        key = (action.resource, action.task, task)
        by_node = self._on_node.get(key)
        if by_node is None:
            by_node = self._on_node[key] = {}
            for instance in instances:
                seen: set[Node | None] = set()
                for one in reversed(instance.actions_by_task.get(task, ())):
                    if one.node not in seen:
                        seen.add(one.node)
                        by_node.setdefault(one.node, []).append(one)
        return by_node.get(node, [])


def flags_of(action: Action, node: Node | None, known: Known | None = None) -> int:
    """By the variant of the action's resource; may change the collective's own action."""
    resource = action.resource
    if resource is None or resource.variant is Variant.PRIMITIVE:
        return own_flags(action)
    was = (action.optional, action.runnable)
    if resource.variant is Variant.GROUP:
        flags = _group_flags(action, resource, node, known)
    else:
        flags = collective_flags(action, instances_for(action, resource), node, known)
    if known is not None and was != (action.optional, action.runnable):
        known.epoch += 1
    return flags


def _part_flags(action: Action, node: Node | None, known: Known | None) -> int:
    return flags_of(action, node) if known is None else known.flags_of(action, node)


def instances_for(action: Action, resource: Resource) -> list[Resource]:
    """The instances whose actions count; of bundles the containers or the inner instances."""
    data = resource.bundle
    if data is None:
        return resource.children
    if data.child is not None and action.task in _INNER_TASKS:
        return data.child.children
    return parts_of(resource)


def underlying_task(action: Action, instances: list[Resource]) -> str:
    """The task instances have for a collective's action; groups have the completed ones themselves."""
    if action.task in {"notify", "notified"}:
        task = action.meta.get("notify_key_operation", "")
    else:
        task = action.task
    if instances and instances[0].variant is not Variant.PRIMITIVE:
        return task
    return UNDERLYING.get(task, task)


def _group_flags(action: Action, group: Resource, node: Node | None, known: Known | None) -> int:
    flags = OPTIONAL | RUNNABLE | PSEUDO
    task = UNDERLYING.get(action.task, action.task)
    for member in group.children:
        one = first_with_task(member, task, node)
        if one is None:
            if task not in {"stop", "demote"}:
                flags &= ~RUNNABLE
            continue
        member_flags = _part_flags(one, node, known)
        if flags & OPTIONAL and not member_flags & OPTIONAL:
            flags &= ~OPTIONAL
            action.optional = False
        if task != action.task and flags & RUNNABLE and not member_flags & RUNNABLE:
            flags &= ~RUNNABLE
            action.runnable = False
    return flags


def collective_flags(
    action: Action, instances: list[Resource], node: Node | None, known: Known | None = None
) -> int:
    """Required if any instance's is; runnable if any instance's is."""
    flags = OPTIONAL | RUNNABLE | PSEUDO
    any_runnable = False
    for one in _of_instances(action, instances, node, known):
        instance_flags = _part_flags(one, node, known)
        if flags & OPTIONAL and not instance_flags & OPTIONAL:
            flags &= ~OPTIONAL
            action.optional = False
        if instance_flags & RUNNABLE:
            any_runnable = True
    if not any_runnable:
        flags &= ~RUNNABLE
        if node is None:
            action.runnable = False
    return flags


def _of_instances(
    action: Action, instances: list[Resource], node: Node | None, known: Known | None
) -> Iterable[Action]:
    """What the instances do for the collective's action; primitives of them on that node."""
    task = underlying_task(action, instances)
    if known is not None and node is not None and instances and instances[0].is_primitive:
        return known.on_node(action, instances, task, node)
    found = (first_with_task(one, task, node if one.is_primitive else None) for one in instances)
    return [one for one in found if one is not None]
