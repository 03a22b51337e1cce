"""What a configuration says that cannot work, or hardly what was meant: beyond its structure. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crm.cib.model import Element, element
from crm.cib.schema import Problem, Severity
from crm.explain.changes import edited
from crm.explain.checks import (
    constraints,
    fencing,
    names,
    operations,
    option_values,
    rules,
    state,
    structure,
)
from crm.explain.checks.finding import is_promotable
from crm.explain.checks.members import check as checked_members
from crm.explain.contributions import contributions
from crm.scheduler.model import Colocation, NodeKind, Resource, Role, Variant, WorkingSet
from crm.scheduler.options import NoQuorum
from crm.scheduler.pipeline import schedule
from crm.scheduler.scores import INFINITY
from crm.scheduler.stages.unpack_bundles import REPLICAS_MAX
from crm.scheduler.values import integer_or_none
from crm.simulation.inject import with_option
from crm.simulation.status_edit import StatusEdit

_NODE_STATES: Final = ("standby", "maintenance", "shutdown", "terminate")


def doubts(cib: Element, now_s: int) -> tuple[Problem, ...]:
    """All findings: errors first, each once."""
    ideal = schedule(at_its_best(cib, now_s), now_s).work
    nodes = frozenset(node.name.lower() for node in ideal.nodes)
    members = frozenset(node.name.lower() for node in ideal.nodes if node.kind is NodeKind.CLUSTER)
    enabled = ideal.options.fencing_enabled
    found = [
        *structure.check(cib),
        *constraints.check(cib),
        *_contradictions(ideal),
        *_unreachable(ideal),
        *_unknown_nodes(cib),
        *_fencing(ideal),
        *fencing.check(cib, nodes, members, fencing=enabled),
        *operations.check(cib, fencing=enabled),
        *checked_members(cib),
        *rules.check(cib, now_s, nodes),
        *names.check(cib),
        *option_values.check(cib),
        *_timeouts(cib, ideal),
        *_unwatched(ideal),
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda one: one.severity is Severity.WARNING))


def in_this_state(cib: Element, now_s: int, *, sanitized: bool = False) -> tuple[Problem, ...]:
    """Findings about the state that the cluster is in now. `sanitized`: as in `schedule`."""
    return tuple(dict.fromkeys(state.check(schedule(cib, now_s, sanitized=sanitized).work)))


def at_its_best(cib: Element, now_s: int) -> Element:
    """The same configuration with all nodes online and in use, quorum, no history; fencing seen to."""
    configuration = edited(cib.child("configuration") or element("configuration"), _node_in_use)
    status = cib.child("status") or element("status")
    configuration = _with_bundles_scores(configuration)
    kept = tuple(_attributes_only(one) for one in status.all("node_state"))
    tickets = status.all("tickets")
    bare = element(
        "cib", {**cib.attributes, "have-quorum": "1"}, configuration, element("status", None, *kept, *tickets)
    )
    edit = StatusEdit(bare, now_s)
    nodes = configuration.child("nodes") or element("nodes")
    for node in nodes.all("node"):
        if node.get("type", "member") in ("member", "normal"):
            edit.node_is_up(node.get("uname"))
    for one in (configuration.child("constraints") or element("constraints")).all("rsc_ticket"):
        edit.set_ticket(one.get("ticket"), granted=True, standby=False)
    for name in _promotable_names(configuration):
        for place in edit.node_names():
            edit.set_attribute(place, f"master-{name}", edit.attribute(place, f"master-{name}") or "1")
    best = edit.cib()
    for name in ("maintenance-mode", "stop-all-resources"):
        best = with_option(best, name, "false")
    return best


def _promotable_names(configuration: Element) -> Iterator[str]:
    """The primitives that would set a promotion score once they ran."""
    for holder in (configuration.child("resources") or element("resources")).walk():
        if holder.tag in ("clone", "master", "bundle") and is_promotable(holder):
            yield from (one.id for one in holder.walk() if one.tag == "primitive")


def _with_bundles_scores(configuration: Element) -> Element:
    """With promotion scores for what is inside bundles, on their own nodes, which nobody needs to list."""
    nodes = configuration.child("nodes") or element("nodes")
    resources = configuration.child("resources") or element("resources")
    for bundle in resources.all("bundle"):
        inside = bundle.child("primitive")
        if inside is None or not is_promotable(bundle):
            continue
        for name in _replicas(bundle):
            node = nodes.by_id(name, "node") or element("node", {"id": name, "uname": name, "type": "remote"})
            score = element("nvpair", {"id": f"{name}-score", "name": f"master-{inside.id}", "value": "1"})
            scores = element("instance_attributes", {"id": f"{name}-scores"}, score)
            nodes = nodes.with_child(node.with_children((*node.children, scores)))
    return configuration.with_child(nodes)


def _replicas(bundle: Element) -> Iterator[str]:
    """The names of its nodes."""
    engine = next((one for one in bundle.children if "image" in one.attributes), element("docker"))
    asked = (engine.get(name) for name in ("replicas", "promoted-max", "masters"))
    count = next((number for number in map(integer_or_none, asked) if number), 1)
    return (f"{bundle.id}-{number}" for number in range(min(count, REPLICAS_MAX)))


def _node_in_use(item: Element) -> Element | None:
    if item.tag != "node":
        return item
    return edited(item, lambda one: None if one.get("name") in _NODE_STATES else one)


def _attributes_only(state: Element) -> Element:
    """A node's state without history and failures; attributes that rules may ask for stay."""
    kept = state.with_children(state.all("transient_attributes"))
    return edited(
        kept,
        lambda one: (
            None
            if one.get("name") in _NODE_STATES or one.get("name").startswith(("fail-count-", "last-failure-"))
            else one
        ),
    )


def _problem(severity: Severity, where: str, what: str, remedy: str) -> Problem:
    return Problem(severity=severity, where=where, what=what, remedy=remedy)


# --- colocations


def _contradictions(work: WorkingSet) -> Iterator[Problem]:
    """Pairs that must be together and must be apart."""
    explicit = [one for one in work.colocations if _is_for_all(one) and not one.id.startswith("#")]
    together: dict[str, str] = {}

    def root(name: str) -> str:
        while together.get(name, name) != name:
            name = together[name]
        return name

    for top in work.resources:
        if top.variant is Variant.GROUP and top.colocated:
            together.update((member.id, top.id) for member in top.children)
    for one in explicit:
        if one.score >= INFINITY and not _is_collective(one):
            together[root(one.dependent.id)] = root(one.primary.id)
    for one in explicit:
        if one.score <= -INFINITY and root(one.dependent.id) == root(one.primary.id):
            yield _problem(
                Severity.ERROR,
                one.id,
                f"{one.dependent.id} and {one.primary.id} must be apart, and by others together",
                f"`hacli configure delete {one.id}`, or one of those with score INFINITY",
            )


def _is_collective(one: Colocation) -> bool:
    return one.primary.variant > Variant.GROUP or one.dependent.variant > Variant.GROUP


def _is_for_all(one: Colocation) -> bool:
    roles = (one.dependent_role, one.primary_role)
    return all(role in (Role.UNKNOWN, Role.STARTED) for role in roles) and one.attribute == "#uname"


# --- resources


def _unreachable(work: WorkingSet) -> Iterator[Problem]:
    if work.options.fencing_enabled and not work.have_fencing:
        return  # nothing would be placed; the missing device is said by itself
    if not any(node.online for node in work.nodes):
        return
    configured = work.cib.path("configuration", "constraints") or element("constraints")
    by_attribute = any(
        one.tag == "expression" and one.get("attribute")[:1] != "#" for one in configured.walk()
    )
    severity = (
        Severity.WARNING if by_attribute else Severity.ERROR
    )  # attributes that agents set may be missing
    for top in work.resources:
        if top.removed or _is_wanted_stopped(top) or not _is_managed(top):
            continue
        if top.is_clone and top.clone_max == 0:
            continue
        for one in top.primitives():
            if any(other.assigned_node is not None for other in _alternatives(top, one)):
                continue
            yield _problem(
                severity,
                top.id,
                f"{one.id} could run nowhere even if all nodes were well" + _bars(work, one),
                f"`hacli why {one.id}` shows what each node's score consists of",
            )
            break


def _alternatives(top: Resource, one: Resource) -> list[Resource]:
    if top.variant > Variant.GROUP:
        plain = one.id.partition(":")[0]
        return [other for other in top.primitives() if other.id.partition(":")[0] == plain or top.bundle]
    return [one]


def _bars(work: WorkingSet, resource: Resource) -> str:
    origins: dict[str, None] = {}
    for entry in resource.allowed.values():
        for fact in contributions(work, resource, entry):
            if fact.score is not None and fact.score <= -INFINITY:
                origins[fact.origin] = None
                break
    return f" (barred by {', '.join(origins)})" if origins else ""


def _is_wanted_stopped(resource: Resource) -> bool:
    if resource.meta.get("target-role", "").lower() == "stopped":
        return True
    return bool(resource.children) and all(_is_wanted_stopped(one) for one in resource.children)


def _is_managed(resource: Resource) -> bool:
    return any(one.managed for one in resource.primitives())


def _unknown_nodes(cib: Element) -> Iterator[Problem]:
    nodes = cib.path("configuration", "nodes") or element("nodes")
    known = {one.get("uname").lower() for one in nodes.all("node")}
    resources = cib.path("configuration", "resources") or element("resources")
    known |= {one.id.lower() for one in resources.walk() if one.get("type") == "remote"}
    known |= {one.get("value").lower() for one in resources.walk() if one.get("name") == "remote-node"}
    configured = cib.path("configuration", "constraints") or element("constraints")
    for one in configured.all("rsc_location"):
        node = one.get("node")
        if node and known and node.lower() not in known:
            yield _problem(
                Severity.WARNING,
                one.id,
                f"there is no node {node!r}",
                f"correct the name, or `hacli configure delete {one.id}`",
            )


def _unwatched(work: WorkingSet) -> Iterator[Problem]:
    seen: set[str] = set()
    for top in work.resources:
        for one in top.primitives():
            name = one.id.partition(":")[0]
            if name in seen or one.removed or one.replica is not None:
                continue
            seen.add(name)
            if not any(op.name == "monitor" and op.interval_ms > 0 and op.enabled for op in one.operations):
                yield _problem(
                    Severity.WARNING,
                    name,
                    "it has no recurring monitor: nobody will notice when it fails",
                    f"`hacli configure monitor {name} 20s:60s`",
                )


# --- options


def _fencing(work: WorkingSet) -> Iterator[Problem]:
    members = [node for node in work.nodes if node.kind is NodeKind.CLUSTER]
    options = work.options
    if not work.resources or options.fencing_enabled:
        return
    where, remedy = "stonith-enabled", "define fence devices, test them, and set stonith-enabled=true"
    if len(members) == 2:
        what = (
            "two nodes without fencing: when they lose sight of each other both run everything, "
            "and data on shared storage is lost"
        )
    else:
        what = (
            "fencing is disabled: a node that cannot be reached may go on running what is started elsewhere"
        )
    yield _problem(Severity.WARNING, where, what, remedy)
    if options.no_quorum is NoQuorum.IGNORE and len(members) > 2:
        yield _problem(
            Severity.WARNING,
            "no-quorum-policy",
            "quorum is ignored and nothing is fenced: every part of a split cluster runs everything",
            "set no-quorum-policy=stop",
        )


def _timeouts(cib: Element, work: WorkingSet) -> Iterator[Problem]:
    recheck = work.options.get("cluster-recheck-interval")
    if recheck is None or recheck.strip().rstrip("smhind") not in ("0", ""):
        return
    configuration = cib.child("configuration") or element("configuration")
    for one in configuration.walk():
        if (
            one.tag == "nvpair"
            and one.get("name") == "failure-timeout"
            and one.get("value") not in ("0", "0s")
        ):
            yield _problem(
                Severity.WARNING,
                one.id,
                "failure-timeout is set, but cluster-recheck-interval is 0: nobody looks when it is over",
                "set cluster-recheck-interval, as 15min",
            )
            return
