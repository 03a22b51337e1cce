"""Relations between actions: remembered by key at first, made pairs of actions in the propagation."""

from __future__ import annotations

from crm.scheduler.actions import key_of, split_key
from crm.scheduler.model import Action, Link, Ordering, Rel, Resource, WorkingSet


def order(
    work: WorkingSet,
    first_resource: Resource | None,
    first_key: str,
    first_action: Action | None,
    then_resource: Resource | None,
    then_key: str,
    then_action: Action | None,
    flags: int,
) -> None:
    """Remember a relation; it becomes pairs of actions in the propagation."""
    if first_action is not None:
        first_resource = first_resource or first_action.resource
    if then_action is not None:
        then_resource = then_resource or then_action.resource
    if (
        first_resource is not None
        and then_resource is not None
        and (first_resource.migratable or then_resource.migratable)
    ):
        _order_migrations(
            work, first_resource, _task(first_key, first_action), then_resource, _task(then_key, then_action)
        )
    work.orderings.append(
        Ordering(first_resource, first_key, first_action, then_resource, then_key, then_action, flags)
    )


def order_tasks(
    work: WorkingSet, first: Resource, first_task: str, then: Resource, then_task: str, flags: int
) -> None:
    """FIRST's task before THEN's task."""
    order(work, first, key_of(first.id, first_task), None, then, key_of(then.id, then_task), None, flags)


def order_actions(first: Action, then: Action, flags: int) -> None:
    """One action before another, as a pair at once: older than all that `order` remembers."""
    add_pair(first, then, flags)


def add_pair(first: Action, then: Action, flags: int) -> bool:
    """Relate two actions at once; False if they already share one of the flags (nothing is added then)."""
    if first is then or not flags:
        return False
    known = first.after_flags.get(then.id, 0)
    if known & flags:
        return False
    first.after_flags[then.id] = known | flags
    first.after.append(Link(then, flags))
    then.before.append(Link(first, flags))
    return True


def _task(key: str, action: Action | None) -> str:
    if action is not None:
        return action.task
    parts = split_key(key)
    return parts[1] if parts is not None else ""


def _order_migrations(
    work: WorkingSet, first: Resource, first_task: str, then: Resource, then_task: str
) -> None:
    """What an ordering between two resources means for the steps of a live migration."""
    if first is then or first.is_ancestor_of(then) or then.is_ancestor_of(first):
        return
    first_migrates, then_migrates = first.migratable, then.migratable
    if not first_migrates and not then_migrates:
        return
    match (first_task, then_task):
        case ("start", "start"):
            if first_migrates and then_migrates:
                order_tasks(work, first, "migrate_from", then, "migrate_to", Rel.ORDERED)
            if then_migrates:
                flags = Rel.ORDERED | (Rel.IF_FIRST_UNMIGRATABLE if first_migrates else 0)
                order_tasks(work, first, "start", then, "migrate_to", flags)
        case ("stop", "stop") if then_migrates:
            flags = Rel.ORDERED | (Rel.IF_FIRST_UNMIGRATABLE if first_migrates else 0)
            order_tasks(work, first, "stop", then, "migrate_to", flags)
            if then.partial_target is not None:
                order_tasks(work, first, "stop", then, "migrate_from", flags)
        case ("promote", "start") if then_migrates:
            order_tasks(work, first, "promote", then, "migrate_to", Rel.ORDERED)
        case ("demote", "stop") if then_migrates:
            order_tasks(work, first, "demote", then, "migrate_to", Rel.ORDERED)
            if then.partial_target is not None:
                order_tasks(work, first, "demote", then, "migrate_from", Rel.ORDERED)
        case _:
            pass
