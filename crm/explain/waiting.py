"""What an action waits for, and why one cannot run: the chain of inputs down to the first cause."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crm.cib.model import Element
from crm.explain.facts import Fact, listed
from crm.scheduler.actions import key_of
from crm.scheduler.model import Action, Link, Needs, Rel, Resource, Role, Variant, WorkingSet
from crm.scheduler.propagation.flags import UNDERLYING

_BLOCKING: Final = (
    Rel.UNRUNNABLE_FIRST_BLOCKS
    | Rel.FIRST_IMPLIES_THEN
    | Rel.THEN_IMPLIES_FIRST
    | Rel.MIN_RUNNABLE
    | Rel.UNMIGRATABLE_THEN_BLOCKS
    | Rel.INTERMEDIATE_STOP
    | Rel.NESTED_REMOTE_PROBE
)
CHAIN_MAX: Final = 50


def name_of(action: Action) -> str:
    """The key, with the node."""
    return f"{action.key} on {action.node.name}" if action.node is not None else action.key


def blocked_facts(work: WorkingSet, action: Action) -> Iterator[Fact]:
    """The chain from an action that cannot run down to the first cause."""
    here = action
    seen = {action.id}
    for _ in range(CHAIN_MAX):
        own = own_cause(here)
        if own is not None and not _blocking(here, seen):
            yield own
            return
        links = _blocking(here, seen) or [one for one in _blocked_parts(here) if one.action.id not in seen]
        if not links:
            yield Fact(
                kind="not_runnable",
                text=f"{name_of(here)} cannot run" + _because(here) + ".",
                origin=here.key,
            )
            return
        link = links[0]
        yield Fact(
            kind="waits_for_blocked",
            text=f"{name_of(here)} needs {name_of(link.action)}, which cannot run"
            + _by_rule(work, link.action, here)
            + ".",
            origin=link.action.key,
        )
        here = link.action
        seen.add(here.id)


def _blocking(action: Action, seen: set[int]) -> list[Link]:
    found = [
        link
        for link in action.before
        if not link.action.runnable and link.flags & _BLOCKING and link.action.id not in seen
    ]
    return sorted(found, key=lambda link: (link.action.pseudo, link.action.optional))


def _because(action: Action) -> str:
    return f" ({action.reason})" if action.reason else ""


def own_cause(action: Action) -> Fact | None:
    """Why an action cannot run that lies with itself: its node, quorum, management."""
    resource, node = action.resource, action.node
    subject = resource.id if resource is not None else action.key

    def fact(kind: str, text: str, origin: str = "") -> Fact:
        return Fact(
            kind=kind, text=text, origin=origin or subject, node=node.name if node is not None else ""
        )

    if action.needs is not Needs.NOTHING and action.reason in ("no quorum", "quorum freeze"):
        return fact("no_quorum", f"{name_of(action)} needs quorum, which the partition has not.", "quorum")
    if resource is not None and resource.variant is Variant.PRIMITIVE and node is None:
        return fact("no_node", f"{subject} has no node to run on (`hacli why {subject}`).")
    if node is not None and not action.pseudo:
        if not node.online:
            return fact("node_offline", f"{node.name} is offline: nothing can be done there.", node.name)
        if node.pending:
            return fact("node_pending", f"{node.name} is still joining the cluster.", node.name)
    if resource is not None and resource.blocked:
        return fact("blocked", f"{subject} is blocked after a failure.")
    if resource is not None and resource.is_primitive and not resource.managed:
        return fact("unmanaged", f"{subject} is not managed: it is left as it is.")
    if resource is not None and action.interval_ms and resource.assigned_node is not node:
        where = resource.assigned_node.name if resource.assigned_node is not None else "nowhere"
        return fact("not_there", f"{subject} is to run {'on ' * (where != 'nowhere')}{where}, not there.")
    if resource is not None and not resource.is_primitive:
        return _collective_cause(action, resource)
    if (
        resource is not None
        and resource.is_primitive
        and resource.assigned_node is None
        and action.task in {"start", "promote"}
    ):
        return fact("no_node", f"{subject} is not to run anywhere (`hacli why {subject}`).")
    return None


def _collective_cause(action: Action, collective: Resource) -> Fact | None:
    """What keeps every instance or member from it: mostly that there is none to do it."""
    task = UNDERLYING.get(action.task, action.task)
    parts = list(collective.primitives())
    if task in {"stop", "demote"} and not any(part.active_nodes for part in parts):
        text = f"nothing of {collective.id} is active: there is nothing to {task}."
        return Fact(kind="nothing_active", text=text[0].upper() + text[1:], origin=collective.id)
    if task == "promote" and not any(part.next_role is Role.PROMOTED for part in parts):
        text = f"No instance of {collective.id} is to be promoted (`hacli why {collective.id}`)."
        return Fact(kind="no_promotion", text=text, origin=collective.id)
    if task in {"start", "promote"}:
        able = [part for part in parts if part.assigned_node is not None]
        if not able:
            text = f"{collective.id} is to run nowhere (`hacli why {collective.id}`)."
            return Fact(kind="no_node", text=text, origin=collective.id)
    return None


def _blocked_parts(action: Action) -> list[Link]:
    """For a collective's point in time: the instances' actions that cannot run."""
    resource = action.resource
    if resource is None or resource.is_primitive:
        return []
    task = UNDERLYING.get(action.task, action.task)
    return [
        Link(one, 0)
        for part in resource.primitives()
        for one in part.actions_by_key.get(key_of(part.id, task), ())
        if not one.runnable
    ]


def _by_rule(work: WorkingSet, first: Action, then: Action) -> str:
    rule = rule_between(work, first, then)
    return f" ({rule})" if rule else ""


def rule_between(work: WorkingSet, first: Action, then: Action) -> str:
    """The ordering constraint, or the group, because of which `then` waits for `first`; empty if neither."""
    if first.resource is None or then.resource is None:
        return ""
    if first.resource is then.resource:
        return ""
    before, after = _names(first.resource), _names(then.resource)
    constraints = work.cib.path("configuration", "constraints")
    for one in constraints.all("rsc_order") if constraints is not None else ():
        if _orders(one, before, after) or _orders(one, after, before):
            return f"order {one.id}"
    common = [name for name in before if name in after]
    group = work.resources_by_id.get(common[0]) if common else None
    if group is not None and group.variant is Variant.GROUP:
        return f"order of group {group.id}"
    return ""


def _names(resource: Resource) -> list[str]:
    names: list[str] = []
    here: Resource | None = resource
    while here is not None:
        names += [here.id, here.id.partition(":")[0]]
        here = here.parent
    return names


def _orders(constraint: Element, before: list[str], after: list[str]) -> bool:
    sets = constraint.all("resource_set")
    if not sets:
        return constraint.get("first") in before and constraint.get("then") in after
    named = [reference.id for one in sets for reference in one.all("resource_ref")]
    firsts = [at for at, name in enumerate(named) if name in before]
    thens = [at for at, name in enumerate(named) if name in after]
    return bool(firsts and thens and min(firsts) < max(thens))


def requirement_facts(work: WorkingSet, action: Action, inputs: list[Action]) -> list[Fact]:
    """One fact for each action waited for; points in time are replaced by what they stand for."""
    found: list[Fact] = []
    for first in sorted(inputs, key=lambda one: (one.pseudo, name_of(one))):
        rule = rule_between(work, first, action)
        text = f"It waits for {name_of(first)}"
        if first.pseudo:
            behind = sorted(name_of(one) for one in real_inputs(first))
            if not behind:
                continue
            text += f", which is reached after {listed(behind[:5])}"
            if len(behind) > 5:
                text += f" and {len(behind) - 5} more"
        found.append(Fact(kind="waits_for", text=text + (f" ({rule})." if rule else "."), origin=first.key))
    return found


def real_inputs(action: Action) -> list[Action]:
    """The actions in the graph that a point in time comes after."""
    found: list[Action] = []
    seen = {action.id}
    waiting = [action]
    while waiting:
        for link in waiting.pop().before:
            first = link.action
            if first.id in seen or not link.flags or not first.in_graph:
                continue
            seen.add(first.id)
            if first.pseudo:
                waiting.append(first)
            else:
                found.append(first)
    return found
