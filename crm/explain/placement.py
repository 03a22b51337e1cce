"""Why a resource runs where it does, or not at all: every node's score, piece by piece, and the tie-break."""

from __future__ import annotations

from crm.explain.contributions import contributions, failure_text, node_trouble
from crm.explain.facts import Fact, listed
from crm.explain.promotion import instance_of, promotable_of, promotion_facts
from crm.explain.waiting import blocked_facts
from crm.scheduler import scores
from crm.scheduler.actions import first_with_task
from crm.scheduler.activity import is_available
from crm.scheduler.colocation import this_with
from crm.scheduler.model import Action, Entry, Node, NodeKind, Resource, Role, Variant, WorkingSet
from crm.scheduler.node_order import sorted_entries
from crm.scheduler.options import NoQuorum
from crm.scheduler.scores import INFINITY, render


def answer(work: WorkingSet, resource: Resource) -> str:
    """Where it is and where it is to be, in one sentence."""
    if resource.variant is Variant.PRIMITIVE:
        return _answer_primitive(work, resource)
    parts = [one for one in resource.primitives() if resource.bundle is None or _is_container(one)]
    now = sorted({node.name for one in parts for node in one.active_nodes})
    then = sorted({one.assigned_node.name for one in parts if one.assigned_node is not None})
    kind = resource.variant.name.lower()
    there = f"runs on {listed(now)}" if now else "runs nowhere"
    promoted = _promoted_text(resource)
    if now == then:
        return (
            f"{kind.capitalize()} {resource.id} {there}" + (", and stays there." if now else ".") + promoted
        )
    return (
        f"{kind.capitalize()} {resource.id} {there}; it is to run "
        + (f"on {listed(then)}." if then else "nowhere.")
        + promoted
    )


def _is_container(one: Resource) -> bool:
    return one.replica is not None and one.replica.container is one


def _promoted_text(resource: Resource) -> str:
    """Of what can be promoted: where it is and is to be."""
    clone = promotable_of(resource)
    if clone is None or resource.top() is not resource:
        return ""
    parts = list(clone.primitives())
    now = sorted({node.name for one in parts if one.orig_role is Role.PROMOTED for node in one.active_nodes})
    then = sorted(
        {
            one.assigned_node.name
            for one in parts
            if one.next_role is Role.PROMOTED and one.assigned_node is not None
        }
    )
    there = f"on {listed(now)}" if now else "nowhere"
    if now == then:
        return f" Promoted: {there}" + (", as it is to be." if now else ".")
    return f" Promoted: {there}, then {'on ' + listed(then) if then else 'nowhere'}."


def _answer_primitive(work: WorkingSet, resource: Resource) -> str:
    now = [node.name for node in resource.active_nodes]
    target = resource.assigned_node
    role = f" ({resource.orig_role.label})" if resource.orig_role > Role.STARTED else ""
    there = f"{resource.id} runs on {listed(now)}{role}" if now else f"{resource.id} does not run"
    if target is None or resource.next_role <= Role.STOPPED:
        return f"{there}; it is to be stopped." if now else f"{there}, and is not to be started."
    role = resource.next_role.label.lower() if resource.next_role > Role.STARTED else ""
    goal = f" as {role}" if role else ""
    if now == [target.name]:
        if any(one.task == "stop" and not one.optional and one.node is target for one in resource.actions):
            reason = _restart_reason(work, resource, target)
            return f"{there}; it is to be restarted there{f' ({reason})' if reason else ''}."
        same = resource.next_role is resource.orig_role
        return (
            f"{there}, and stays there." if same else f"{there}; it is to become {role or 'started'} there."
        )
    start = first_with_task(resource, "start", target)
    if start is not None and not start.runnable and not start.optional:
        return f"{there}; it is meant for {target.name}, but cannot be started there."
    live = first_with_task(resource, "migrate_from", target)
    moved = "to move live to" if live is not None and live.in_graph else "to move to"
    verb = moved if now else "to be started on"
    return f"{there}; it is {verb} {target.name}{goal}."


def _restart_reason(work: WorkingSet, resource: Resource, node: Node) -> str:
    """What a restart in place is for: what its stop says, the operation that failed, what its start says."""
    stop, start = (
        next(
            (
                one.reason
                for one in reversed(resource.actions)
                if one.task == task and not one.optional and one.node is node and one.reason
            ),
            "",
        )
        for task in ("stop", "start")
    )
    failed = [one for one in work.failed_operations if one.resource is resource and one.node is node]
    return stop or (failure_text(failed[-1]) if resource.failed and failed else start)


def placement_facts(work: WorkingSet, resource: Resource, only: Node | None = None) -> tuple[Fact, ...]:
    """Everything that decides about one primitive; with `only`, of that node and of the chosen one."""
    facts = [*_state_facts(work, resource)]
    chosen = resource.assigned_node
    entries = sorted_entries(resource, None, work.options.placement)
    entries.sort(key=lambda entry: entry.node is not chosen)
    named = {entry.node.id for entry in entries}
    facts += [
        _node_fact(work, resource, entry, chosen)
        for entry in entries
        if only is None or entry.node is only or entry.node is chosen
    ]
    facts += _not_in_table(
        work,
        resource,
        [node for node in work.nodes if node.id not in named and (only is None or node is only)],
    )
    facts += _decision(work, resource, entries, only)
    cause = unplaced_cause(resource)
    if cause is not None and cause is not resource:
        text = f"In the end it has to be with {cause.id}, which runs nowhere (`hacli why {cause.id}`)."
        facts.append(Fact(kind="unplaced_cause", text=text, origin=cause.id))
    facts += _role_facts(work, resource)
    facts += start_facts(work, resource)
    return tuple(facts)


def unplaced_cause(resource: Resource) -> Resource | None:
    """Where mandatory colocations end, along resources that have no node: the one that lacks it by itself."""
    if resource.assigned_node is not None:
        return None
    here, seen = resource, {resource.id}
    while True:
        primaries = [
            primary
            for holder in _with_ancestors(here)
            for one in holder.this_with
            if one.score >= INFINITY
            for primary in one.primary.primitives()
        ]
        following = next((one for one in primaries if one.assigned_node is None and one.id not in seen), None)
        if following is None or any(one.assigned_node is not None for one in primaries):
            return here
        seen.add(following.id)
        here = following


def _state_facts(work: WorkingSet, resource: Resource) -> list[Fact]:
    options = work.options
    found: list[Fact] = []

    def add(kind: str, text: str, origin: str) -> None:
        found.append(Fact(kind=kind, text=text, origin=origin))

    if options.maintenance_mode:
        add(
            "maintenance_mode",
            "Option maintenance-mode is true: nothing is started or stopped.",
            "maintenance-mode",
        )
    if options.stop_all:
        add("stop_all", "Option stop-all-resources is true: everything is stopped.", "stop-all-resources")
    if options.fencing_enabled and not work.have_fencing:
        add(
            "no_fencing",
            "Fencing is enabled but there is no fence device: no resource is started or stopped.",
            "stonith-enabled",
        )
    if not work.have_quorum and options.no_quorum is not NoQuorum.IGNORE:
        add(
            "no_quorum",
            f"The partition has no quorum (no-quorum-policy={options.no_quorum.value}).",
            "quorum",
        )
    for one in _with_ancestors(resource):
        if one.meta.get("target-role", "").lower() == "stopped":
            add("target_role", f"target-role of {one.id} is Stopped.", one.id)
            break
    if resource.blocked:
        add("blocked", _blocked_text(work, resource), resource.id)
    elif resource.maintenance:
        add("maintenance", f"{resource.id} is in maintenance: it is left as it is.", resource.id)
    elif not resource.managed and not (options.fencing_enabled and not work.have_fencing):
        add(
            "unmanaged", f"{resource.id} is not managed (is-managed=false): it is left as it is.", resource.id
        )
    if resource.removed:
        add("removed", f"{resource.id} is not in the configuration any more.", resource.id)
    return found


def _blocked_text(work: WorkingSet, resource: Resource) -> str:
    text = f"{resource.id} is blocked: it is left as it is until somebody has looked at it and cleaned up"
    failed = [one for one in work.failed_operations if one.resource is resource]
    if failed:
        last = failed[-1]
        text += f" ({failure_text(last)} on {last.node.name})"
    elif len(resource.active_nodes) > 1:
        text += (
            f" (it runs on {listed([node.name for node in resource.active_nodes])}, multiple-active=block)"
        )
    return f"{text}."


def _with_ancestors(resource: Resource) -> list[Resource]:
    chain = [resource]
    while chain[-1].parent is not None:
        chain.append(chain[-1].parent)
    return chain


def _node_fact(work: WorkingSet, resource: Resource, entry: Entry, chosen: Node | None) -> Fact:
    node = entry.node
    trouble = node_trouble(work, node)
    details, score = _until_placed(resource, contributions(work, resource, entry), entry.score)
    if node is chosen:
        verdict = f"{node.name}: chosen, score {render(score)}"
    elif trouble:
        reasons = listed([one.text.removeprefix(f"{node.name} is ") for one in trouble])
        verdict = f"{node.name}: not available, {reasons}"
    elif score < 0:
        verdict = f"{node.name}: not allowed, score {render(score)}"
    else:
        verdict = f"{node.name}: possible, score {render(score)}"
    return Fact(
        kind="node",
        text=f"{verdict}." if not details else f"{verdict}:",
        node=node.name,
        score=score,
        details=(*(trouble if len(trouble) > 1 else ()), *details),
    )


def _until_placed(resource: Resource, details: tuple[Fact, ...], score: int) -> tuple[tuple[Fact, ...], int]:
    """Without what was added once the place was found: tickets that only the role Promoted needs."""
    clone = resource.top()
    late = {use.ticket.id for use in clone.tickets if use.role is Role.PROMOTED}
    if not late or not clone.promotable or resource.assigned is None or resource.assigned.score < 0:
        return details, score
    left = tuple(one for one in details if one.kind != "ticket" or one.origin not in late)
    if len(left) == len(details):
        return details, score
    total = 0
    for one in left:
        total = scores.add(total, one.score or 0)
    return left, total


def _not_in_table(work: WorkingSet, resource: Resource, nodes: list[Node]) -> list[Fact]:
    """Nodes that the resource has no score for, those for the same reason together."""
    reasons: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        reasons.setdefault(_why_unknown(work, resource, node), []).append(node)
    return [
        Fact(
            kind="node_not_allowed",
            text=f"{listed([one.name for one in some])}: not allowed, {why}.",
            node=some[0].name if len(some) == 1 else "",
            origin=origin,
        )
        for (why, origin), some in reasons.items()
    ]


def _why_unknown(work: WorkingSet, resource: Resource, node: Node) -> tuple[str, str]:
    """(reason, origin)."""
    if node.kind is NodeKind.GUEST and node.attributes.get("#kind") == "container":
        return "only what the bundle holds can be inside of it", "bundle"
    if not work.options.symmetric:
        return (
            "the cluster is not symmetric and no constraint allows it (option symmetric-cluster=false)",
            "symmetric-cluster",
        )
    if resource.replica is not None and not _is_container(resource):
        return f"{resource.id} belongs into its bundle", resource.top(including_bundle=True).id
    return "it is looked for on other nodes only (resource-discovery)", resource.id


def _decision(work: WorkingSet, resource: Resource, entries: list[Entry], only: Node | None) -> list[Fact]:
    usable = [one for one in entries if one.score >= 0 and is_available(one.node)]
    chosen = resource.assigned_node
    if not resource.managed:
        return []
    if chosen is None:
        return [_no_place(resource, usable)] if not work.options.stop_all else []
    if len(usable) == 1:
        return [
            Fact(kind="only_node", text=f"{chosen.name} is the only node it may run on.", node=chosen.name)
        ]
    tie = resource.tie
    if tie is not None and chosen.name in (tie[0], tie[2]):
        asked = next((one for one in usable if one.node is only and only is not chosen), None)
        taken = next(one for one in entries if one.node is chosen)
        if asked is not None and asked.score == taken.score and chosen in resource.active_nodes:
            tie = (
                chosen.name,
                0,
                asked.node.name,
                0,
            )  # what is asked about, not the first one that is as good
        return [_tie(work, resource, chosen, tie)]
    second = next((one for one in usable if one.node is not chosen), None)
    own = resource.assigned.score if resource.assigned is not None else 0
    if second is None or own <= second.score:
        return []
    return [
        Fact(
            kind="best_score",
            text=f"{chosen.name} has the highest score: {render(own)} against {render(second.score)} "
            f"on {second.node.name}.",
            node=chosen.name,
        )
    ]


def _tie(work: WorkingSet, resource: Resource, chosen: Node, tie: tuple[str, int, str, int]) -> Fact:
    first, first_count, second, second_count = tie
    if chosen.name == second:
        first, first_count, second, second_count = second, second_count, first, first_count
    head = f"{first} and {second} have the same score"
    if chosen in resource.active_nodes:
        text = f"{head}; it runs on {first} already."
    elif work.options.placement == "balanced":
        text = f"{head}; {first} has more capacity left (placement-strategy=balanced), or comes first."
    elif first_count < second_count and work.options.placement != "minimal":
        text = f"{head}; {first} has fewer resources ({first_count} against {second_count})."
    elif first < second:
        text = f"{head} and as many resources; {first} comes first by name."
    else:
        text = f"{head}; {first} was preferred for what depends on it."
    return Fact(kind="tie_break", text=text, node=first)


def _no_place(resource: Resource, usable: list[Entry]) -> Fact:
    if not usable:
        return Fact(
            kind="no_node", text=f"There is no node that {resource.id} may run on.", origin=resource.id
        )
    for one in this_with(resource):
        if one.score >= INFINITY and not any(part.assigned_node for part in one.primary.primitives()):
            return Fact(
                kind="colocation_unplaced",
                text=f"Colocation {one.id}: it has to be with {one.primary.id}, which runs nowhere.",
                origin=one.id,
            )
    top = resource.top()
    text = f"{resource.id} is not placed although {usable[0].node.name} would do"
    if top.is_clone:
        text = f"{top.id} has all the instances it may have (clone-max={top.clone_max})"
    return Fact(kind="not_placed", text=f"{text}.", origin=top.id)


def _role_facts(work: WorkingSet, resource: Resource) -> list[Fact]:
    inside = resource.replica.child if resource.replica is not None and _is_container(resource) else resource
    instance = instance_of(inside) if inside is not None else None
    if instance is None or next(instance.primitives()) is not inside:
        return []
    return promotion_facts(work, instance)


def start_facts(work: WorkingSet, resource: Resource) -> list[Fact]:
    """Why a primitive that has a node cannot be started or promoted there; nothing where it can."""
    target = resource.assigned_node
    if target is None:
        return []
    for task in ("start", "promote"):
        action: Action | None = first_with_task(resource, task, target)
        if (
            action is not None
            and not action.runnable
            and (not action.optional or target not in resource.active_nodes)
        ):
            return [*blocked_facts(work, action)]
    return []
