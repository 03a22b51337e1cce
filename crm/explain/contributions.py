"""A contribution to a score as a sentence; why a node is not available."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from crm.explain.facts import Fact
from crm.scheduler.activity import is_available
from crm.scheduler.failures import fail_count
from crm.scheduler.model import Colocation, Entry, FailedOperation, Node, NodeKind, Resource, Role, WorkingSet
from crm.scheduler.scores import INFINITY, Why, render

_Say = Callable[[WorkingSet, Resource, Node, str, int], str]


def contributions(work: WorkingSet, resource: Resource, entry: Entry) -> tuple[Fact, ...]:
    """Everything that was added to a node's score, oldest first; the same ban is named once."""
    found: list[tuple[int, str, str]] = []
    why: Why | None = entry.why
    while why is not None:
        found.append((why[0], why[1], why[2]))
        why = why[3]
    found.reverse()
    seen: set[tuple[int, str, str]] = set()
    unique: list[tuple[int, str, str]] = []
    for one in found:
        if one[0] <= -INFINITY and one in seen:
            continue  # a ban twice is the same ban; of all else each part counts
        seen.add(one)
        unique.append(one)
    return tuple(
        Fact(
            kind=kind,
            text=f"{_times(score, count)} {sentence(work, resource, entry.node, kind, origin, score)}",
            node=entry.node.name,
            origin=origin,
            score=score * count,
        )
        for (score, kind, origin), count in _counted(unique)
    )


def _counted(parts: list[tuple[int, str, str]]) -> Iterator[tuple[tuple[int, str, str], int]]:
    """Each with how often it stands there; one by one where the sum would leave the range of scores."""
    for one, count in Counter(parts).items():
        if abs(one[0] * count) < INFINITY:
            yield one, count
        else:
            yield from ((one, 1) for _ in range(count))


def _times(score: int, count: int) -> str:
    return _signed(score) if count == 1 else f"{_signed(score * count)} ({count} times {_signed(score)})"


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


def _colocation(work: WorkingSet, resource: Resource, node: Node, origin: str, score: int) -> str:
    one = _colocation_of(work, resource, origin)
    own = resource.top(including_bundle=True)
    if one is None or (_is_part(one.dependent, own) and _is_part(one.primary, own)):
        return f"it has to be where the rest of {resource.top().id} is (`hacli why {resource.top().id}`)"
    other, role = one.primary, one.primary_role
    if not _is_part(one.dependent, own):
        other, role = one.dependent, one.dependent_role
    together = "with" if one.score > 0 else "apart from"
    places = places_of(other, role)
    if together == "with" and score < 0 and node.name in places and (other.is_clone or other.bundle):
        # An instance goes with one of the other's instances: that on its own node.
        place, what = resource.assigned_node, "instance" if other.is_clone else "replica"
        if place is None:
            return f"colocation {origin}: the {what} of {other.id} there is not one that it may go with"
        return f"colocation {origin}: it is to be {together} the {what} of {other.id} on {place.name}"
    return f"colocation {origin}: it is to be {together} {other.id}, which {whereabouts(other, role)}"


def _colocation_of(work: WorkingSet, resource: Resource, origin: str) -> Colocation | None:
    """The one with this id that concerns the resource: those that are made for groups share theirs."""
    own = resource.top(including_bundle=True)
    found = [item for item in work.colocations if item.id == origin]
    about = (item for item in found if _is_part(item.dependent, own) or _is_part(item.primary, own))
    return next(about, found[0] if found else None)


def _is_part(resource: Resource, top: Resource) -> bool:
    return resource.top(including_bundle=True) is top


def places_of(resource: Resource, role: Role = Role.UNKNOWN) -> list[str]:
    """The nodes where it is to be; with the role Promoted or Unpromoted, where it is to have that role."""
    wanted = role if role in (Role.PROMOTED, Role.UNPROMOTED) else None
    return sorted(
        {
            _host(one, one.assigned_node).name
            for one in resource.primitives()
            if one.assigned_node is not None and wanted in (None, one.next_role)
        }
    )


def _host(resource: Resource, node: Node) -> Node:
    """Of what is inside of a bundle: where its container is."""
    launcher = node.launcher if resource.replica is not None else None
    return node if launcher is None or launcher.assigned_node is None else launcher.assigned_node


def whereabouts(resource: Resource, role: Role = Role.UNKNOWN) -> str:
    """`places_of` in words: "is on n1, n2", "is promoted on n1", "is promoted nowhere", "runs nowhere"."""
    places = ", ".join(places_of(resource, role))
    if role in (Role.PROMOTED, Role.UNPROMOTED):
        return f"is {role.label.lower()} {f'on {places}' if places else 'nowhere'}"
    return f"is on {places}" if places else "runs nowhere"


def _wish(work: WorkingSet, resource: Resource, _node: Node, origin: str, score: int) -> str:
    one = _colocation_of(work, resource, origin)
    like = "would like to be there" if score > 0 else "would not like to be there"
    if one is None or _is_part(one.dependent, resource.top(including_bundle=True)):
        return f"others of its group, or of what goes with it, {like}"
    return f"colocation {origin}: {one.dependent.id}, which goes with it, {like}"


def _unwelcome(work: WorkingSet, resource: Resource, _node: Node, origin: str, _score: int) -> str:
    one = _colocation_of(work, resource, origin)
    who = one.dependent.id if one is not None else origin
    return f"colocation {origin}: {who}, which goes with it, cannot be there, so no more than this counts"


def _threshold(work: WorkingSet, resource: Resource, node: Node, origin: str, _score: int) -> str:
    failed = work.resources_by_id.get(origin, resource)
    count, last_s = fail_count(work, failed, node, effective=True, launched=True)
    shown = render(count)
    times = "once" if count == 1 else f"{shown} times"
    last = _last_failure(work, failed, node)
    return (
        f"{failed.id} failed {times} there, migration-threshold is {render(failed.migration_threshold)}{last}"
        + _forgotten(work, failed, last_s)
    )


def _forgotten(work: WorkingSet, failed: Resource, last_s: int) -> str:
    """When the failures will be forgotten; only somebody's cleanup does it without failure-timeout."""
    timeout_s = failed.failure_timeout_ms // 1000
    if timeout_s <= 0 or last_s <= 0:
        return "; it stays so until somebody cleans up (no failure-timeout)"
    left_s = last_s + timeout_s - work.now_s
    return f"; forgotten in {span(max(0, left_s))} (failure-timeout={span(timeout_s)})"


def span(seconds: int) -> str:
    """A length of time for people: "45s", "3min 20s", "2h 5min"."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}min" if minutes else ""]
    parts.append(f"{rest}s" if rest and not hours else "")
    return " ".join(part for part in parts if part) or "0s"


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


def _instance_limit(_work: WorkingSet, resource: Resource, node: Node, origin: str, _score: int) -> str:
    bundle = _bundle_of_container(resource)
    clone = resource.top() if bundle is None else bundle
    what = "containers" if bundle is not None else "instances"
    limit = "replicas" if bundle is not None else "clone-max"
    if origin not in (resource.id, *_holders(resource)):  # of the collective, not of one of its parts
        return f"{clone.id} has as many {what} elsewhere as it may have ({limit})"
    if not is_available(node):
        return f"none of the {what} of {clone.id} can be on a node in that state"
    placed = [one for one in _parts(clone) if any(part.assigned_node is node for part in one.primitives())]
    if placed:
        per_node = "replicas-per-host" if bundle is not None else "clone-node-max"
        return f"{clone.id} has as many {what} there as it may have ({per_node})"
    entry = clone.allowed.get(node.id)
    if entry is not None and entry.score < 0:
        return f"{clone.id} as a whole may not be there (score {render(entry.score)})"
    return f"no further one of the {what} of {clone.id} may be there"


def _bundle_of_container(resource: Resource) -> Resource | None:
    replica = resource.replica
    is_container = replica is not None and replica.container is resource
    return resource.top(including_bundle=True) if is_container else None


def _holders(resource: Resource) -> Iterator[str]:
    """The ids of the instance it is, or is in."""
    here = resource.parent
    while here is not None and not here.is_clone and here.bundle is None:
        yield here.id
        here = here.parent


def _parts(collective: Resource) -> list[Resource]:
    if collective.bundle is not None:
        return [replica.container for replica in collective.bundle.replicas]
    return collective.children


def _utilization(_work: WorkingSet, resource: Resource, node: Node, origin: str, _score: int) -> str:
    needs = resource.utilization
    if not needs:
        return f"the node has not capacity enough for {origin} and what has to be with it"
    capacity = _capacity(node)
    parts: list[str] = []
    for name, amount in sorted(needs.items()):
        users = [one for one in node.assigned if one.utilization.get(name, 0) > 0]
        taken = f", {capacity.get(name, 0) - node.utilization.get(name, 0)} of them taken by " + ", ".join(
            f"{one.id} ({one.utilization[name]})" for one in users
        )
        parts.append(f"{name}={amount}, the node has {capacity.get(name, 0)}" + (taken if users else ""))
    return f"not capacity enough for {origin}: it needs " + "; ".join(parts)


def _capacity(node: Node) -> dict[str, int]:
    """What a node offers: what is left and what was given away."""
    found = dict(node.utilization)
    for one in node.assigned:
        for name, amount in one.utilization.items():
            found[name] = found.get(name, 0) + amount
    return found


def _ticket(work: WorkingSet, _resource: Resource, _node: Node, origin: str, _score: int) -> str:
    ticket = work.tickets.get(origin)
    if ticket is None or not ticket.granted:
        return f"ticket {origin} is not granted to this site"
    return f"ticket {origin} is in standby"


def _shutdown_lock(work: WorkingSet, resource: Resource, _node: Node, origin: str, _score: int) -> str:
    locked = work.resources_by_id.get(origin, resource)
    holder = locked.lock_node.name if locked.lock_node is not None else "the node that was shut down"
    limit_s = work.options.shutdown_lock_limit_s
    left = ""
    if limit_s > 0:
        left = f", for {span(max(0, locked.lock_time + limit_s - work.now_s))} more (shutdown-lock-limit)"
    return f"{origin} is kept for {holder}, which was shut down (shutdown-lock){left}"


def _health(work: WorkingSet, _resource: Resource, node: Node, origin: str, _score: int) -> str:
    bad = sorted(f"{name}={value}" for name, value in node.attributes.items() if name.startswith("#health"))
    strategy = origin or work.options.health_strategy
    return f"the node's health: {', '.join(bad) or 'no attribute'} (node-health-strategy={strategy})"


def _node_score(work: WorkingSet, _resource: Resource, node: Node, _origin: str, _score: int) -> str:
    if node.kind is NodeKind.GUEST and node.attributes.get("#kind") == "container":
        return "only what the bundle holds can be inside of it"
    trouble = node_trouble(work, node)
    return trouble[0].text if trouble else "the node's own score"


def _promotion(_work: WorkingSet, _resource: Resource, _node: Node, origin: str, _score: int) -> str:
    return f"promotion score of {origin}"


def _plain(text: str) -> _Say:
    return lambda _work, resource, node, origin, _score: text.format(
        origin=origin, resource=resource.id, node=node.name
    )


_SENTENCES: Final[Mapping[str, _Say]] = {
    "location": _location,
    "colocation": _colocation,
    "wish": _wish,
    "unwelcome": _unwelcome,
    "migration_threshold": _threshold,
    "instance_limit": _instance_limit,
    "stickiness": _plain("it runs there already (resource-stickiness of {origin})"),
    "unmanaged": _plain("it runs there and is not managed ({origin})"),
    "target_role": _plain("target-role of {origin} is Stopped"),
    "multiply_active": _plain("{origin} runs in several places (multiple-active=stop_only)"),
    "ticket": _ticket,
    "shutdown_lock": _shutdown_lock,
    "resource_discovery": _plain("{origin} is looked for on other nodes only (resource-discovery)"),
    "utilization": _utilization,
    "removed": _plain("{origin} is no longer in the configuration"),
    "promotion": _promotion,
    "bundle": _plain("its place in bundle {origin} is there"),
    "node": _node_score,
    "remote_node": _plain("a connection cannot run on a remote node ({origin})"),
    "container": _plain("it has to run in its container ({origin})"),
    "health": _health,
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
