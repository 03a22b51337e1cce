"""Relations by key become pairs of actions."""

from __future__ import annotations

from crm.scheduler.actions import find_or_make, key_of, split_key
from crm.scheduler.activity import state
from crm.scheduler.model import Action, Ordering, Rel, Resource, Role, WorkingSet
from crm.scheduler.relations import add_pair


def resolve_orderings(work: WorkingSet) -> None:
    """In the order of their creation; a missing first action is created, which later ones then find."""
    for ordering in work.orderings:
        _resolve(work, ordering)


def _resolve(work: WorkingSet, ordering: Ordering) -> None:
    first = ordering.first_resource
    if first is not None:
        for action in _first_actions(work, ordering, first):
            _pair(ordering, action)
    elif ordering.first_action is not None:
        _pair(ordering, ordering.first_action)
    elif ordering.then_resource is not None and ordering.flags & Rel.FIRST_IMPLIES_THEN:
        for then in _then_actions(ordering):
            then.runnable = False


def _first_actions(work: WorkingSet, ordering: Ordering, first: Resource) -> list[Action]:
    if ordering.first_action is not None:
        return [ordering.first_action]
    found = first.actions_by_key.get(ordering.first_key)
    if found:
        return list(found)
    parts = split_key(ordering.first_key)
    if parts is None:
        return []
    _, task, interval_ms = parts
    # "lrm_delete" reads as the delete of a resource whose name ends with "lrm": so deletes are found as well.
    found = first.actions_by_key.get(key_of(first.id, task, interval_ms))
    if found:
        return list(found)
    if first is ordering.then_resource:
        return []
    role = state(first, current=True)
    if (task == "stop" and role is Role.STOPPED) or (task == "demote" and role is Role.UNPROMOTED):
        return []
    return [find_or_make(work, first, ordering.first_key, task, None, optional=True)]


def _then_actions(ordering: Ordering) -> list[Action]:
    if ordering.then_action is not None:
        return [ordering.then_action]
    if ordering.then_resource is None:
        return []
    return list(ordering.then_resource.actions_by_key.get(ordering.then_key, ()))


def _pair(ordering: Ordering, first: Action) -> None:
    flags = ordering.flags
    if first.migration_abort and first.resource is ordering.then_resource:
        flags &= ~Rel.FIRST_IMPLIES_THEN
    for then in _then_actions(ordering):
        add_pair(first, then, flags)
