"""Stops and demotes that the history already asks for, and roles it implies."""

from __future__ import annotations

from crm.scheduler.actions import make_for_task
from crm.scheduler.model import Action, Node, Resource, Role, WorkingSet


def set_active(resource: Resource) -> None:
    """Give a resource the role of one that runs."""
    resource.orig_role = Role.UNPROMOTED if resource.top().promotable else Role.STARTED


def stop_on(work: WorkingSet, resource: Resource, node: Node, *, optional: bool) -> Action:
    """The resource's stop on a node."""
    return make_for_task(work, resource, "stop", node, optional=optional)


def demote_on(work: WorkingSet, resource: Resource, node: Node, *, optional: bool) -> Action:
    """The resource's demotion on a node."""
    return make_for_task(work, resource, "demote", node, optional=optional)
