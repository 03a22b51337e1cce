"""Putting a resource on a node (or on none), and taking it off again."""

from __future__ import annotations

from collections.abc import Mapping

from crm.scheduler.activity import entry_available
from crm.scheduler.model import Action, Entry, NodeKind, RecordedScores, Resource, Role, WorkingSet


def assign_to(
    work: WorkingSet, resource: Resource, entry: Entry | None, *, force: bool, stop_if_fail: bool
) -> None:
    """Decide where a resource (with all its children) runs. Unless forced an unusable node means none."""
    if not resource.is_primitive:
        for child in resource.children:
            own = child.allowed.get(entry.node.id) if entry is not None else None
            chosen = own if own is not None else entry
            assign_to(work, child, chosen, force=force, stop_if_fail=stop_if_fail)
        resource.unassigned = False
        return
    if (
        not force
        and entry is not None
        and (
            entry.score < 0
            or (not entry_available(entry, score=True) and entry.node.kind is not NodeKind.GUEST)
        )
    ):
        if stop_if_fail:
            resource.next_role = Role.STOPPED
        entry = None
    unassign(resource)
    resource.unassigned = False
    if entry is None:
        if stop_if_fail:
            _stop_everything(resource)
        return
    resource.assigned = entry.copy()
    entry.count += 1
    node = entry.node
    node.assigned.append(resource)
    node.assigned_count += 1
    for name, amount in resource.utilization.items():
        if name in node.utilization:
            node.utilization[name] -= amount
    if resource.utilization and work.options.placement != "default":
        amounts = amounts_text(resource.utilization)
        work.utilization_lines.append(
            f"pcmk__assign_resource: {resource.id} utilization on {node.name}:{amounts}"
        )


def amounts_text(amounts: Mapping[str, int]) -> str:
    """ " NAME=VALUE" for each."""
    return "".join(f" {name}={value}" for name, value in amounts.items())


def _stop_everything(resource: Resource) -> None:
    resource.next_role = Role.STOPPED
    for action in resource.actions:
        if action.task == "stop":
            action.optional = False
        elif action.task == "start" or _is_recurring_while_active(action):
            action.runnable = False


def _is_recurring_while_active(action: Action) -> bool:
    return action.meta.get("interval", "0") != "0" and action.meta.get("op_target_rc") != "7"


def unassign(resource: Resource) -> None:
    """Take a resource and its children off their nodes."""
    for child in resource.children:
        unassign(child)
    resource.unassigned = True
    if resource.assigned is None:
        return
    node = resource.assigned.node
    resource.assigned = None
    node.assigned.remove(resource)
    node.assigned_count -= 1
    for name, amount in resource.utilization.items():
        if name in node.utilization:
            node.utilization[name] += amount


def record_scores(work: WorkingSet, resource: Resource, prefix: str) -> None:
    """Write down the scores of a resource and of all below it."""
    if resource.removed:
        return
    entries = resource.allowed.values()
    names = tuple([entry.node.name for entry in entries])
    work.scores.append(
        RecordedScores(
            f"{prefix}: {resource.id} allocation score on ",
            work.recorded_names.setdefault(names, names),
            [entry.score for entry in entries],
        )
    )
    for child in resource.children:
        record_scores(work, child, prefix)
