"""Assignment of groups: members one after the other; colocation keeps them together."""

from __future__ import annotations

from crm.scheduler.model import Node, Resource, WorkingSet
from crm.scheduler.placement.assign import assign
from crm.scheduler.placement.nodes import record_scores


def assign_group(
    work: WorkingSet, group: Resource, prefer: Node | None, *, stop_if_fail: bool
) -> Node | None:
    """Assign the members in order; the first node found is returned (none for scattered groups)."""
    if not group.unassigned or group.assigning:
        return None
    if not group.children:
        group.unassigned = False
        return None
    group.assigning = True
    group.orig_role = group.children[0].orig_role
    record_scores(work, group, "pcmk__group_assign")
    first: Node | None = None
    for member in group.children:
        node = assign(work, member, prefer, stop_if_fail=stop_if_fail)
        if first is None:
            first = node
    group.next_role = group.children[0].next_role
    group.assigning = group.unassigned = False
    return first if group.colocated else None
