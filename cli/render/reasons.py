"""Why a resource is where it is: the scores of every node with what each was made of. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.render.cluster_status import node_status
from cli.render.status_primitive import base_name
from cli.render.transition_summary import summary_lines
from crm.scheduler.model import Entry, Resource, WorkingSet
from crm.scheduler.pipeline import Transition
from crm.scheduler.scores import INFINITY

# Rule -> words; {0} is the id of what the contribution came from.
_WORDS: Final = {
    "location": "location constraint {0}",
    "stickiness": "it is there already (resource-stickiness)",
    "colocation": "colocation {0}",
    "wish": "what is to be with it, by colocation {0}",
    "instance_limit": "no further instance may run there",
    "target_role": "target-role of {0} is Stopped",
    "promotion": "promotion score",
    "removed": "it is not in the configuration any more",
    "migration_threshold": "it failed there as often as migration-threshold allows",
    "ticket": "ticket constraint {0}",
    "node": "the node cannot run anything now",
    "on_fail_stop": "it failed, and on-fail says stop",
    "health": "the health of the node",
    "remote_node": "what {0} allows on remote nodes",
    "utilization": "the node has not enough capacity left",
    "hard_error": "it failed there in a way that trying again does not mend",
    "fatal_error": "it failed in a way that no node mends",
    "resource_discovery": "it is not looked for there (resource-discovery)",
    "multiply_active": "it was active on several nodes",
    "stop_failed": "it could not be stopped there",
    "unmanaged": "it is unmanaged: it stays where it is",
    "shutdown_lock": "it waits for its node to come back (shutdown-lock)",
    "masked_probe": "its agent cannot run there",
    "not_installed": "its agent is not installed there",
    "failure": "it failed there",
    "container": "its container is not there",
}
_GROUP: Final = "#group-members"


def score_text(score: int) -> str:
    """INFINITY by name, else the number with its sign."""
    if abs(score) >= INFINITY:
        return "-INFINITY" if score < 0 else "INFINITY"
    return f"{score:+d}" if score else "0"


def matching(work: WorkingSet, name: str) -> list[Resource]:
    """The primitives that a name means: itself, all instances, or the members of a collective."""
    found: list[Resource] = []
    for top in work.resources:
        for one in top.primitives():
            holder: Resource | None = one
            while holder is not None:
                if name in (holder.id, base_name(holder)):
                    found.append(one)
                    break
                holder = holder.parent
    return found


def reason_lines(transition: Transition, name: str, only_node: str = "") -> Iterator[str]:
    """The text for one resource (and one node, when given)."""
    work = transition.work
    plans = [line.strip("* ").rstrip() for line in map(str, summary_lines(work))]
    for index, resource in enumerate(matching(work, name)):
        if index:
            yield ""
        yield f"{resource.id} {_fate(resource)}."
        for line in plans:
            if resource.id in line.replace("(", " ").split():
                yield f"  plan: {' '.join(line.split())}"
        if resource.blocked:
            yield "  blocked: a failure that the cluster may not recover from by itself"
        entries = sorted(resource.allowed.values(), key=lambda entry: (-entry.score, entry.node.name))
        for entry in entries:
            if not only_node or entry.node.name == only_node:
                yield from _entry_lines(work, resource, entry)


def _fate(resource: Resource) -> str:
    active = [node.name for node in resource.active_nodes]
    chosen = resource.assigned.node.name if resource.assigned is not None else ""
    if not active:
        return f"is not running and starts on {chosen}" if chosen else "is not running and stays so"
    where = f"is on {' and '.join(active)}"
    if not chosen:
        return f"{where} and is to be stopped"
    return f"{where} and stays there" if active == [chosen] else f"{where} and is to be on {chosen}"


def _entry_lines(work: WorkingSet, resource: Resource, entry: Entry) -> Iterator[str]:
    status, special = node_status(work, entry.node)
    state = f" ({status})" if special or not entry.node.online else ""
    chosen = resource.assigned is not None and resource.assigned.node is entry.node
    yield f"  {entry.node.name}{state}: {score_text(entry.score)}{'  <- chosen' if chosen else ''}"
    parts: list[tuple[int, str]] = []
    why = entry.why
    while why is not None:
        score, kind, origin, why = why
        words = "the members of the group are together" if origin == _GROUP else ""
        parts.append((score, words or _WORDS.get(kind, f"{kind} {{0}}").format(origin)))
    for score, words in reversed(parts):
        yield f"    {score_text(score):>9}  {words}"
