"""Reasons as data and as text: why a resource may, or may not, be on a node (`hacli why`)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from crm.scheduler.model import Entry, Resource, WorkingSet
from crm.scheduler.scores import render
from hacluster.records import record

# What a kind of contribution means to people; %s is its origin's id.
TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "node": "score of node %s",
        "location": "location constraint %s",
        "health": "node health (strategy %s)",
        "stickiness": "stickiness of %s",
        "colocation": "colocation %s",
        "wish": "what depends on it through colocation %s",
        "promotion": "promotion score of %s",
        "migration_threshold": "%s failed there as often as its migration-threshold allows",
        "resource_discovery": "resource-discovery of %s is exclusive to other nodes",
        "instance_limit": "no further instance of %s can be there",
        "utilization": "not enough capacity there for %s",
        "target_role": "target-role of %s is Stopped",
        "shutdown_lock": "%s is locked to the node it was on at its clean shutdown",
        "ticket": "ticket %s is not granted",
        "removed": "%s is no longer configured",
        "masked_probe": "a probe of %s said that it cannot run there",
        "not_installed": "%s is not installed there",
        "hard_error": "%s failed there in a way that trying again cannot mend",
        "fatal_error": "%s is not configured correctly",
        "stop_failed": "the stop of %s failed there",
        "failure": "%s failed there and its on-fail is migrate",
        "on_fail_stop": "%s failed and its on-fail is stop",
        "multiply_active": "%s was active in several places and is to be stopped",
        "unmanaged": "%s is not managed and stays where it is",
        "remote_node": "%s must run on nodes of the cluster proper",
        "container": "it lives in %s",
        "bundle": "place within bundle %s",
    }
)


@record(frozen=True, kw_only=True)
class Contribution:
    """One addition to a score: what was added, the kind of rule, and the id of its origin."""

    score: int
    kind: str
    origin: str

    def __str__(self) -> str:
        text = TEXTS.get(self.kind, self.kind + " %s")
        return f"{render(self.score)} {text.replace('%s', self.origin)}"


@record(frozen=True, kw_only=True)
class Place:
    """How a resource stands to a node."""

    node: str
    score: int
    chosen: bool
    contributions: tuple[Contribution, ...]


def contributions(entry: Entry) -> tuple[Contribution, ...]:
    """All that was added to an entry's score, oldest first."""
    found: list[Contribution] = []
    why = entry.why
    while why is not None:
        score, kind, origin, why = why
        found.append(Contribution(score=score, kind=kind, origin=origin))
    return tuple(reversed(found))


def places(resource: Resource) -> tuple[Place, ...]:
    """The resource's nodes by falling score, then name, after assignment."""
    found = [
        Place(
            node=entry.node.name,
            score=entry.score,
            chosen=resource.assigned_node is entry.node,
            contributions=contributions(entry),
        )
        for entry in resource.allowed.values()
    ]
    return tuple(sorted(found, key=lambda place: (not place.chosen, -place.score, place.node)))


def explain(work: WorkingSet, name: str) -> tuple[str, ...]:
    """Text for people about the resource with this id, and all primitives below it; empty if unknown."""
    resource = work.resources_by_id.get(name)
    lines: list[str] = []
    for one in resource.primitives() if resource is not None else ():
        where = f"runs on {one.assigned_node.name}" if one.assigned_node is not None else "runs nowhere"
        lines.append(f"{one.id} {where}")
        for place in places(one):
            lines.append(f"  {place.node}: {render(place.score)}")
            lines.extend(f"    {item}" for item in place.contributions)
        lines.extend(_actions(one))
    return tuple(lines)


def _actions(resource: Resource) -> list[str]:
    found: list[str] = []
    for action in resource.actions:
        if action.reason and not (action.optional and action.runnable):
            state = "" if action.runnable else " (cannot run)"
            where = f" on {action.node.name}" if action.node is not None else ""
            found.append(f"  {action.task}{where}{state}: {action.reason}")
    return found
