"""Relations that would contradict guests or close a loop are disabled."""

from __future__ import annotations

from crm.scheduler.model import Action, Link, Node, Rel, Resource, WorkingSet
from crm.scheduler.propagation.inputs import is_input


def disable_invalid_relations(work: WorkingSet) -> None:
    """For every relation that is left."""
    for action in reversed(work.actions):
        for link in reversed(action.before):
            if link.flags and _is_invalid(action, link):
                link.flags = 0


def _is_invalid(action: Action, link: Link) -> bool:
    if (
        not link.flags & Rel.GUEST_ALLOWED
        and link.action.resource is not None
        and _starts_guest(action.resource, link.action.node)
    ):
        return True
    return (
        link.flags == Rel.IF_ON_SAME_NODE_OR_TARGET
        and action.resource is not None
        and action.task == "migrate_to"
        and _has_loop(action, link)
    )


def _starts_guest(resource: Resource | None, node: Node | None) -> bool:
    """True if the resource launches that guest node."""
    return (
        resource is not None
        and bool(resource.launched)
        and node is not None
        and node.connection is not None
        and node.connection.launcher is resource
    )


def _has_loop(action: Action, link: Link) -> bool:
    seen: set[int] = set()
    stack: list[tuple[Action, Link]] = [(action, link)]
    while stack:
        then, one = stack.pop()
        first = one.action
        if first.id in seen or not is_input(then, one):
            continue
        if first is action:
            return True
        seen.add(first.id)
        stack.extend((first, other) for other in first.before)
    return False
