"""A contribution to a score as a sentence; why a node is not available."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from crm.explain.facts import Fact
from crm.scheduler.failures import fail_count
from crm.scheduler.model import Entry, FailedOperation, Node, Resource, WorkingSet
from crm.scheduler.scores import Why, render

_Say = Callable[[WorkingSet, Resource, Node, str, int], str]


def contributions(work: WorkingSet, resource: Resource, entry: Entry) -> tuple[Fact, ...]:
    """Everything that was added to a node's score, oldest first; the same ban is named once."""
    found: list[tuple[int, str, str]] = []
    why: Why | None = entry.why
    while why is not None:
        found.append((why[0], why[1], why[2]))
        why = why[3]
    unique = dict.fromkeys(reversed(found)) if entry.score <= -1 else list(reversed(found))
    return tuple(
        Fact(
            kind=kind,
            text=f"{_signed(score)} {sentence(work, resource, entry.node, kind, origin, score)}",
            node=entry.node.name,
            origin=origin,
            score=score,
        )
        for score, kind, origin in unique
    )


def _signed(score: int) -> str:
    return render(score) if score < 0 else f"+{render(score)}"


def sentence(work: WorkingSet, resource: Resource, node: Node, kind: str, origin: str, score: int = 0) -> str:
    """Where a contribution comes from, in words."""
    say = _SENTENCES.get(kind)
    return say(work, resource, node, origin, score) if say is not None else f"{kind} of {origin}"


def _location(work: WorkingSet, resource: Resource, _node: Node, origin: str, _score: int) -> str:
    if origin.startswith("cli-ban-"):
        return f"constraint {origin}, left by `hacli resource ban`"
    if origin.startswith("cli-prefer-"):
        return f"constraint {origin}, left by `hacli resource move`"
    about = next(
        (one.resource.id for one in work.locations if one.id == origin and one.resource is not resource), ""
    )
    inside = f" of {about}" if about and about not in resource.id else ""
    return f"location constraint {origin}{inside}"


def _colocation(work: WorkingSet, resource: Resource, _node: Node, origin: str, _score: int) -> str:
    one = next((item for item in work.colocations if item.id == origin), None)
    if one is None or (one.dependent.top() is resource.top() and one.primary.top() is resource.top()):
        return f"it has to be where the rest of {resource.top().id} is"
    other = one.primary if one.dependent.top() is resource.top() else one.dependent
    places = [child.assigned_node.name for child in other.primitives() if child.assigned_node is not None]
    where = f"is on {', '.join(sorted(set(places)))}" if places else "runs nowhere"
    together = "with" if one.score > 0 else "apart from"
    return f"colocation {origin}: it is to be {together} {other.id}, which {where}"


def _wish(work: WorkingSet, resource: Resource, _node: Node, origin: str, score: int) -> str:
    one = next((item for item in work.colocations if item.id == origin), None)
    if one is None or one.dependent.top() is resource.top():
        return "what others of its group would like"
    like = "would like to be there" if score > 0 else "would not like to be there"
    return f"colocation {origin}: {one.dependent.id}, which goes with it, {like}"


def _threshold(work: WorkingSet, resource: Resource, node: Node, origin: str, _score: int) -> str:
    failed = work.resources_by_id.get(origin, resource)
    count, _ = fail_count(work, failed, node, effective=True, launched=True)
    shown = render(count)
    times = "once" if count == 1 else f"{shown} times"
    last = _last_failure(work, failed, node)
    return (
        f"{failed.id} failed {times} there, migration-threshold is {render(failed.migration_threshold)}{last}"
    )


def _last_failure(work: WorkingSet, resource: Resource, node: Node) -> str:
    found = [one for one in work.failed_operations if one.node is node and _same(one, resource)]
    return f" ({failure_text(found[-1])})" if found else ""


def _same(one: FailedOperation, resource: Resource) -> bool:
    return one.resource is resource or one.resource.id.partition(":")[0] == resource.id.partition(":")[0]


def failure_text(one: FailedOperation) -> str:
    """The failed operation with its exit code and the agent's own words."""
    reason = one.element.get("exit-reason")
    return f"{one.key} ended with rc={one.rc}" + (f", {reason!r}" if reason else "")


def _failed(what: str) -> _Say:
    def say(work: WorkingSet, resource: Resource, node: Node, origin: str, _score: int) -> str:
        return f"{origin}: {what}{_last_failure(work, work.resources_by_id.get(origin, resource), node)}"

    return say


def _instance_limit(_work: WorkingSet, resource: Resource, node: Node, _origin: str, _score: int) -> str:
    clone = resource.top()
    if any(one.assigned_node is node for one in clone.primitives()):
        return f"{clone.id} has all the instances there that it may have (clone-node-max)"
    return f"no further instance of {clone.id} may run there (clone-max, or the node is unusable)"


def _plain(text: str) -> _Say:
    return lambda _work, resource, node, origin, _score: text.format(
        origin=origin, resource=resource.id, node=node.name
    )


_SENTENCES: Final[Mapping[str, _Say]] = {
    "location": _location,
    "colocation": _colocation,
    "wish": _wish,
    "migration_threshold": _threshold,
    "instance_limit": _instance_limit,
    "stickiness": _plain("it runs there already (resource-stickiness of {origin})"),
    "unmanaged": _plain("it runs there and is not managed ({origin})"),
    "target_role": _plain("target-role of {origin} is Stopped"),
    "multiply_active": _plain("{origin} runs in several places (multiple-active=stop_only)"),
    "ticket": _plain("ticket {origin} is not granted"),
    "shutdown_lock": _plain("{origin} is kept for the node that was shut down (shutdown-lock)"),
    "resource_discovery": _plain("{origin} is looked for on other nodes only (resource-discovery)"),
    "utilization": _plain("the node has not capacity enough for {origin}"),
    "removed": _plain("{origin} is no longer in the configuration"),
    "promotion": _plain("promotion score of {origin}"),
    "bundle": _plain("its place in bundle {origin} is there"),
    "node": _plain("the node's own score"),
    "remote_node": _plain("a connection cannot run on a remote node ({origin})"),
    "container": _plain("it has to run in its container ({origin})"),
    "health": _plain("the node's health ({origin})"),
    "node_health": _plain("the node's health ({origin})"),
    "masked_probe": _failed("the probe said that it cannot run there"),
    "not_installed": _failed("its agent or what that needs is not installed there"),
    "hard_error": _failed("an error that only this node's administrator can mend"),
    "fatal_error": _failed("an error in its configuration, on every node"),
    "stop_failed": _failed("a stop failed there"),
    "on_fail_stop": _failed("it failed, and on-fail=stop says to leave it stopped"),
    "failure": _failed("it failed there"),
}


def node_trouble(work: WorkingSet, node: Node) -> tuple[Fact, ...]:
    """Every reason why nothing may be placed on a node; empty when it is available."""
    found: list[Fact] = []

    def add(kind: str, text: str) -> None:
        found.append(Fact(kind=kind, text=text, node=node.name, origin=node.name))

    if node.unclean:
        why = next(
            (one.reason for one in work.actions if one.task == "stonith" and one.node is node and one.reason),
            "",
        )
        add("node_unclean", f"{node.name} is unclean: it has to be fenced" + (f" ({why})" if why else ""))
    if not node.online:
        add("node_offline", f"{node.name} is offline")
    elif node.pending:
        add("node_pending", f"{node.name} is still joining the cluster")
    if node.shutdown and node.online:
        add("node_shutdown", f"{node.name} is shutting down")
    if node.standby and node.online and not node.pending:
        cause = "after a failure with on-fail=standby" if node.standby_on_fail else "attribute standby"
        add("node_standby", f"{node.name} is in standby ({cause})")
    if node.maintenance:
        add("node_maintenance", f"{node.name} is in maintenance")
    return tuple(found)
