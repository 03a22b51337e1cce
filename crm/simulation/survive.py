"""What would not be served if nodes were lost: every loss is simulated until nothing is left to do. Pure.

Quorum after a loss: a partition of more than half of all cluster nodes has it. Of two nodes the one that is
left keeps what the CIB says, as two-node clusters do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from crm.cib.model import Element
from crm.explain.changes import edited
from crm.explain.checks.fencing import static_hosts
from crm.explain.contributions import contributions, node_trouble
from crm.explain.placement import start_facts
from crm.scheduler.activity import is_available
from crm.scheduler.model import NodeKind, Resource, Role, Variant, WorkingSet
from crm.scheduler.options import NoQuorum
from crm.scheduler.pipeline import schedule
from crm.scheduler.scores import INFINITY
from crm.simulation.execute import execute
from crm.simulation.status_edit import StatusEdit
from crm.transition.graph import ActionKind, TransitionGraph

_REAL: Final = frozenset({"start", "stop", "promote", "demote", "stonith", "migrate_to", "migrate_from"})
TRANSITIONS_MAX: Final = 20
"""A cluster that is not at rest after so many transitions is reported as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """A top-level resource that would not be served, and what makes it so, a line for each reason."""

    resource: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What follows from losing these nodes (none: the cluster as it is)."""

    nodes: tuple[str, ...]
    unserved: tuple[Unserved, ...]
    transitions: int
    settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A CIB run until nothing is left to do, and the last look at it."""

    cib: Element
    work: WorkingSet
    transitions: int
    settled: bool


def run_until_settled(cib: Element, now_s: int, *, sanitized: bool = False) -> Settled:
    """Schedule and execute again and again, at most TRANSITIONS_MAX times. `sanitized`: as in `schedule`."""
    before: TransitionGraph | None = None
    for count in range(TRANSITIONS_MAX):
        transition = schedule(cib, now_s, sanitized=sanitized)
        if not transition.graph.synapses:
            return Settled(cib=cib, work=transition.work, transitions=count, settled=True)
        done = execute(cib, transition.graph, now_s, stamp_s=now_s + count + 1)  # after all that is there
        after = unfenced(tidied(done.cib, transition.graph), transition.graph, now_s)
        if after == cib or _same_work(transition.graph, before):
            return Settled(cib=cib, work=transition.work, transitions=count, settled=True)
        cib, before = after, transition.graph
    return Settled(
        cib=cib,
        work=schedule(cib, now_s, sanitized=sanitized).work,
        transitions=TRANSITIONS_MAX,
        settled=False,
    )


def _same_work(graph: TransitionGraph, before: TransitionGraph | None) -> bool:
    """The same actions once more, none of which starts, stops or fences: results that leave no trace here."""
    if before is None:
        return False
    both = [sorted((action.key, action.node) for action in one.actions()) for one in (graph, before)]
    real = any(
        action.operation in _REAL and action.kind is not ActionKind.PSEUDO for action in graph.actions()
    )
    return both[0] == both[1] and not real


def unfenced(cib: Element, graph: TransitionGraph, now_s: int) -> Element:
    """What the cluster notes of a node that has been unfenced: when, and by devices with which digests."""
    edit, found = StatusEdit(cib, now_s), False
    for action in graph.actions():
        if action.operation == "stonith" and action.attributes.get("CRM_meta_stonith_action") == "on":
            found = True
            edit.set_attribute(action.node, "#node-unfenced", str(now_s))
            for kind in ("all", "secure"):
                digests = action.attributes.get(f"CRM_meta_digests_{kind}", "")
                edit.set_attribute(action.node, f"#digests-{kind}", digests)
    return edit.cib() if found else cib


def tidied(cib: Element, graph: TransitionGraph) -> Element:
    """What the executors do to the history beyond recording results: delete, cancel, forget failures."""
    gone: dict[str, set[tuple[str, str]]] = {}
    for action in graph.actions():
        if action.operation not in {"delete", "lrm_delete", "cancel", "clear_failcount"}:
            continue
        primitive = next((child for child in action.children if child.tag == "primitive"), None)
        name = primitive.id if primitive is not None else action.key.rpartition("_")[0].rpartition("_")[0]
        what = action.key if action.operation == "cancel" else name
        gone.setdefault(action.node, set()).add((action.operation, what))

    def visit(item: Element) -> Element | None:
        doomed = gone.get(item.get("uname")) if item.tag == "node_state" else None
        return edited(item, lambda one: None if _is_doomed(one, doomed) else one) if doomed else item

    return edited(cib, visit) if gone else cib


def _is_doomed(item: Element, doomed: set[tuple[str, str]]) -> bool:
    match item.tag:
        case "lrm_resource":
            return ("delete", item.id) in doomed or ("lrm_delete", item.id) in doomed
        case "lrm_rsc_op":
            return ("cancel", item.get("operation_key", item.id)) in doomed
        case "nvpair":
            kind, _, rest = item.get("name").partition("-")
            name = rest.partition("-")[2].partition("#")[0]
            counts = item.get("name").startswith(("fail-count-", "last-failure-"))
            return kind in {"fail", "last"} and counts and ("clear_failcount", name) in doomed
        case _:
            return False


class Survival:
    """A cluster run until it is at rest, from which nodes are then lost."""

    def __init__(self, cib: Element, now_s: int, *, sanitized: bool = False) -> None:
        self._now_s, self._sanitized = now_s, sanitized
        self._base = run_until_settled(cib, now_s, sanitized=sanitized)
        self._already = _unserved(self._base.work)
        self._known = {one.resource for one in self._already}
        self._promoted = _promoted(self._base.work)

    @property
    def cib(self) -> Element:
        """The CIB at rest."""
        return self._base.cib

    def as_it_is(self) -> Loss:
        """Without any loss."""
        base = self._base
        return Loss(nodes=(), unserved=self._already, transitions=base.transitions, settled=base.settled)

    def combinations(self, count: int) -> tuple[tuple[str, ...], ...]:
        """All sets of `count` cluster nodes that are online."""
        return combinations(self._base.work, count)

    def lose(self, names: tuple[str, ...]) -> Loss:
        """What follows from losing these nodes at once; what is not served anyway is left out."""
        after = without_nodes(self._base.cib, self._base.work, names, self._now_s)
        lost = run_until_settled(after, self._now_s, sanitized=self._sanitized)
        unserved = tuple(
            one for one in _unserved(lost.work, self._promoted) if one.resource not in self._known
        )
        return Loss(nodes=names, unserved=unserved, transitions=lost.transitions, settled=lost.settled)


def losses(cib: Element, now_s: int, count: int, *, sanitized: bool = False) -> Iterator[Loss]:
    """First the cluster as it is, then each loss of `count` of the nodes that are online."""
    survival = Survival(cib, now_s, sanitized=sanitized)
    yield survival.as_it_is()
    for names in survival.combinations(count):
        yield survival.lose(names)


def combinations(work: WorkingSet, count: int) -> tuple[tuple[str, ...], ...]:
    """All sets of `count` cluster nodes that are online."""
    online = [node.name for node in work.nodes if node.online and node.kind is NodeKind.CLUSTER]
    return tuple(itertools.combinations(online, count))


def without_nodes(cib: Element, work: WorkingSet, names: tuple[str, ...], now_s: int) -> Element:
    """The CIB after these nodes vanished."""
    edit = StatusEdit(cib, now_s)
    for name in names:
        edit.node_failed(name)
    members = [node for node in work.nodes if node.kind is NodeKind.CLUSTER]
    left = sum(node.online and node.name not in names for node in members)
    if len(members) > 2 and 2 * left <= len(members):
        edit.set_quorum(quorate=False)
    return edit.cib()


def _promoted(work: WorkingSet) -> frozenset[str]:
    return frozenset(
        top.id for top in work.resources if any(one.orig_role is Role.PROMOTED for one in top.primitives())
    )


def _unserved(work: WorkingSet, promoted: frozenset[str] = frozenset()) -> tuple[Unserved, ...]:
    found: list[Unserved] = []
    for top in work.resources:
        if top.removed or _is_wanted_stopped(top) or _is_idle_device(work, top):
            continue
        missing = _missing(top)
        if missing:
            found.append(Unserved(resource=top.id, reasons=_reasons(work, missing[0])))
        elif top.id in promoted and not any(one.orig_role is Role.PROMOTED for one in top.primitives()):
            found.append(Unserved(resource=top.id, reasons=("none of its instances would be promoted",)))
    return tuple(found)


def _is_wanted_stopped(resource: Resource) -> bool:
    if resource.meta.get("target-role", "").lower() == "stopped":
        return True
    return bool(resource.children) and all(_is_wanted_stopped(one) for one in resource.children)


def _is_idle_device(work: WorkingSet, resource: Resource) -> bool:
    """Whether it is a fence device that only fences the one node that is left: nobody is there to use it."""
    if resource.agent_class != "stonith" or resource.variant is not Variant.PRIMITIVE:
        return False
    left = [node.name.lower() for node in work.nodes if node.kind is NodeKind.CLUSTER and is_available(node)]
    return len(left) == 1 and static_hosts(resource.element) == set(left)


def _missing(resource: Resource) -> list[Resource]:
    """The primitives for want of which it is not served: a member of a group, all instances of a clone."""
    if resource.variant is Variant.PRIMITIVE:
        return [] if _is_active(resource) or _is_wanted_stopped(resource) else [resource]
    parts = resource.children
    if resource.bundle is not None:
        parts = [replica.container for replica in resource.bundle.replicas]
    missing = [_missing(child) for child in parts]
    if resource.variant is Variant.GROUP:
        return [one for some in missing for one in some]
    return [] if not missing or not all(missing) else missing[0]


def _is_active(resource: Resource) -> bool:
    return resource.orig_role > Role.STOPPED and any(
        node.online and not node.unclean for node in resource.active_nodes
    )


def _reasons(work: WorkingSet, resource: Resource) -> tuple[str, ...]:
    found: list[str] = []
    policy = work.options.no_quorum
    if not work.have_quorum and policy is not NoQuorum.IGNORE:
        return (f"the nodes that are left have no quorum (no-quorum-policy={policy.value})",)
    if not resource.managed:
        found.append(f"{resource.id} is not managed or blocked: it is left as it is")
    for node in work.nodes:
        if node.kind is not NodeKind.CLUSTER:
            continue
        trouble = node_trouble(work, node)
        if trouble:
            found.append(trouble[0].text)
            continue
        entry = resource.allowed.get(node.id)
        if entry is None:
            found.append(f"{node.name}: no constraint allows it there")
        elif entry.score < 0:
            worst = [
                one for one in contributions(work, resource, entry) if one.score is not None and one.score < 0
            ]
            final = [one for one in worst if one.score == -INFINITY] or worst
            found += [f"{node.name}: {one.text}" for one in final[:1]]
        elif is_available(node):
            found += [fact.text.rstrip(".") for fact in start_facts(work, resource)][-1:]
    return tuple(dict.fromkeys(found))
