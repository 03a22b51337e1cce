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
    | Rel.ASYMMETRIC
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
        links = (
            _blocking(here, seen)
            or [one for one in _blocked_parts(here) if one.action.id not in seen]
            or _same_reason(here, seen)
        )
        together = _partner(work, here) if not links else None
        if together is not None:
            yield together
            return
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


def _same_reason(action: Action, seen: set[int]) -> list[Link]:
    """Inputs that cannot run for the same reason: of what the action's resource is part of."""
    found = [link for link in action.before if not link.action.runnable and link.action.id not in seen]
    return [link for link in found if link.action.reason == action.reason and action.reason] or found


def _partner(work: WorkingSet, action: Action) -> Fact | None:
    """The mandatory colocation because of which an action is not done: the other one cannot be there."""
    prefix, _, name = action.reason.partition("colocation with ")
    if prefix or not name:
        return None
    other = work.resources_by_id.get(name)
    base = name.partition(":")[0]
    rule = next(
        (
            one.id
            for one in work.colocations
            if one.primary.id in (name, base) or (other is not None and one.primary is other.top())
        ),
        "",
    )
    subject = action.resource.id if action.resource is not None else action.key
    return Fact(
        kind="colocation_blocked",
        text=f"{subject} has to be with {name}, which cannot be {action.task}ed there".replace(
            "promoteed", "promoted"
        )
        + (f" (colocation {rule})" if rule else "")
        + f" (`hacli why {name}`).",
        origin=rule or name,
    )


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
        hosts = node.launcher.active_nodes if node.launcher is not None else []
        unclean = next((one for one in (node, *hosts) if one.unclean), None)
        if unclean is not None:
            where = f", which {node.name} lives on," if unclean is not node else ""
            text = f"{unclean.name}{where} is unclean: nothing is done there before it is fenced."
            return fact("node_unclean", text, unclean.name)
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
    if action.task in {"migrate_to", "migrate_from"} and resource is not None:
        return fact("no_migration", f"{subject} is not moved live: {_why_not_live(action)}.")
    if (
        resource is not None
        and resource.is_primitive
        and resource.assigned_node is None
        and action.task in {"start", "promote"}
    ):
        return fact("no_node", f"{subject} is not to run anywhere (`hacli why {subject}`).")
    return None


def _why_not_live(action: Action) -> str:
    """Why stop and start take the place of a migration."""
    resource = action.resource
    assert resource is not None
    if not resource.migratable:
        return "it does not allow it (meta attribute allow-migrate)"
    held = [
        link.action.resource.id
        for link in action.before
        if link.action.resource not in (None, resource) and link.action.resource is not None
        if not link.action.optional
    ]
    if held:
        return f"what it depends on is stopped and started meanwhile ({listed(list(dict.fromkeys(held)))})"
    return "something it depends on, or that depends on it, is stopped meanwhile"


def _collective_cause(action: Action, collective: Resource) -> Fact | None:
    """What keeps every instance or member from it: mostly that there is none to do it."""
    task = action.meta.get("notify_key_operation", "") or UNDERLYING.get(action.task, action.task)
    task = UNDERLYING.get(task, task)
    parts = list(collective.primitives())
    told = " and nobody to be told of it" if action.task in {"notify", "notified"} else ""

    def fact(kind: str, text: str) -> Fact:
        return Fact(kind=kind, text=text, origin=collective.id)

    if task in {"stop", "demote"} and not any(part.active_nodes for part in parts):
        return fact(
            "nothing_active", f"Nothing of {collective.id} is active: there is nothing to {task}{told}."
        )
    if task == "demote" and not any(part.orig_role is Role.PROMOTED for part in parts):
        return fact(
            "none_promoted", f"No instance of {collective.id} is promoted: there is nothing to demote{told}."
        )
    if task == "promote" and not any(part.next_role is Role.PROMOTED for part in parts):
        return fact(
            "no_promotion", f"No instance of {collective.id} is to be promoted (`hacli why {collective.id}`)."
        )
    if task in {"start", "promote"}:
        able = [part for part in parts if part.assigned_node is not None]
        if not able:
            return fact("no_node", f"{collective.id} is to run nowhere (`hacli why {collective.id}`).")
    if told and not any(_does(part, task) for part in parts):
        return fact("nothing_to_tell", f"There is nothing of {collective.id} to {task}{told}.")
    return None


def _does(part: Resource, task: str) -> bool:
    return any(one.runnable and not one.optional for one in part.actions_by_task.get(task, ()))


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
