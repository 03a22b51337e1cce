"""Creating the actions of all resources, collectives with their points in time (start, running, ...)."""

from __future__ import annotations

from crm.scheduler.acting.notifications import create_notification_points
from crm.scheduler.acting.primitives import create_primitive_actions
from crm.scheduler.actions import resource_pseudo_action
from crm.scheduler.model import Resource, Variant, WorkingSet
from crm.scheduler.scores import INFINITY


def create_actions(work: WorkingSet) -> None:
    """For every top-level resource, in list order."""
    for resource in list(work.resources):
        create_for(work, resource)


def create_for(work: WorkingSet, resource: Resource) -> None:
    """By the variant's rule."""
    match resource.variant:
        case Variant.PRIMITIVE:
            create_primitive_actions(work, resource)
        case Variant.GROUP:
            _group(work, resource)
        case Variant.CLONE:
            _clone(work, resource)
        case _:
            _bundle(work, resource)


def _group(work: WorkingSet, group: Resource) -> None:
    for member in group.children:
        create_for(work, member)
    for task in ("start", "running", "stop", "stopped"):
        resource_pseudo_action(work, group, task, optional=True, runnable=True)
    if group.top().promotable:
        for task in ("demote", "demoted", "promote", "promoted"):
            resource_pseudo_action(work, group, task, optional=True, runnable=True)


def _clone(work: WorkingSet, clone: Resource) -> None:
    create_instances_actions(work, clone, clone.children)
    if clone.promotable:
        _promotable(work, clone)


def create_instances_actions(work: WorkingSet, collective: Resource, instances: list[Resource]) -> None:
    """The instances' actions, then the collective's start, running, stop, stopped."""
    stopping = starting = active = both = False
    for instance in instances:
        create_for(work, instance)
    for instance in instances:
        for one in instance.primitives():
            stops, starts = _stops(one), _starts(one)
            stopping = stopping or stops
            starting = starting or starts
            both = both or (stops and starts)
            active = active or bool(one.active_nodes)
    start = resource_pseudo_action(work, collective, "start", optional=not starting, runnable=True)
    running = resource_pseudo_action(
        work, collective, "running", optional=not starting, runnable=active or starting
    )
    running.priority = INFINITY
    stop = resource_pseudo_action(work, collective, "stop", optional=not stopping, runnable=True)
    stop.migratable = not both
    stopped = resource_pseudo_action(work, collective, "stopped", optional=not stopping, runnable=True)
    stopped.priority = INFINITY
    create_notification_points(work, collective, "start", start, running)
    create_notification_points(work, collective, "stop", stop, stopped)


def _starts(resource: Resource) -> bool:
    return any(
        not action.optional and action.runnable for action in resource.actions_by_task.get("start", ())
    )


def _stops(resource: Resource) -> bool:
    return any(
        not action.optional and (action.runnable or action.pseudo)
        for action in resource.actions_by_task.get("stop", ())
    )


def _has_required(resource: Resource, task: str) -> bool:
    return any(
        not action.optional for one in resource.primitives() for action in one.actions_by_task.get(task, ())
    )


def _promotable(work: WorkingSet, clone: Resource) -> None:
    promoting = demoting = False
    for instance in clone.children:
        create_for(work, instance)
        promoting = promoting or _has_required(instance, "promote")
        demoting = demoting or _has_required(instance, "demote")
    promotable_points(work, clone, promoting=promoting, demoting=demoting)
    for instance in clone.children:
        instance.priority = clone.priority


def promotable_points(work: WorkingSet, clone: Resource, *, promoting: bool, demoting: bool) -> None:
    """promote, promoted, demote and demoted of a collective, with their notifications."""
    promote = resource_pseudo_action(work, clone, "promote", optional=not promoting, runnable=True)
    promoted = resource_pseudo_action(work, clone, "promoted", optional=not promoting, runnable=True)
    promoted.priority = INFINITY
    create_notification_points(work, clone, "promote", promote, promoted)
    demote = resource_pseudo_action(work, clone, "demote", optional=not demoting, runnable=True)
    demoted = resource_pseudo_action(work, clone, "demoted", optional=not demoting, runnable=True)
    demoted.priority = INFINITY
    create_notification_points(work, clone, "demote", demote, demoted)


def _bundle(work: WorkingSet, bundle: Resource) -> None:
    data = bundle.bundle
    assert data is not None
    for replica in data.replicas:
        if replica.ip is not None:
            create_for(work, replica.ip)
        create_for(work, replica.container)
        if replica.connection is not None:
            create_for(work, replica.connection)
    create_instances_actions(work, bundle, [replica.container for replica in data.replicas])
    inner = data.child
    if inner is None:
        return
    create_for(work, inner)
    if inner.promotable:
        for task in ("promote", "promoted", "demote", "demoted"):
            action = resource_pseudo_action(work, bundle, task, optional=True, runnable=True)
            if task.endswith("ed"):
                action.priority = INFINITY
