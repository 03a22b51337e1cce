"""Assignment of clones."""

from __future__ import annotations

from crm.scheduler.colocation import has_influence, this_with, with_this
from crm.scheduler.model import Node, Resource, WorkingSet
from crm.scheduler.placement.assign import add_dependent_wishes, assign
from crm.scheduler.placement.instances import assign_instances, sort_instances
from crm.scheduler.placement.nodes import record_scores
from crm.scheduler.placement.promotion import add_promotion_scores, set_instance_roles


def assign_clone(
    work: WorkingSet, clone: Resource, prefer: Node | None, *, stop_if_fail: bool
) -> Node | None:
    """Primaries first, then the instances, then (promotable) their roles."""
    if not clone.unassigned or clone.assigning:
        return None
    if clone.promotable:
        add_promotion_scores(clone)
    clone.assigning = True
    for one in this_with(clone):
        assign(work, one.primary, prefer, stop_if_fail=stop_if_fail)
    for one in with_this(clone):
        if has_influence(one):
            add_dependent_wishes(one, clone)
    record_scores(work, clone, "pcmk__clone_assign")
    clone.children = sort_instances(clone.children)
    assign_instances(work, clone, clone.children, clone.clone_max, clone.clone_node_max)
    if clone.promotable:
        set_instance_roles(work, clone)
    clone.unassigned = clone.assigning = False
    return None
