"""Why an action is done, not done, or cannot be done; why a node is fenced."""

from __future__ import annotations

from typing import Final

from crm.cib.model import Element
from crm.explain.contributions import failure_text
from crm.explain.facts import Explanation, Fact
from crm.explain.placement import answer
from crm.explain.waiting import blocked_facts, name_of, requirement_facts
from crm.scheduler.actions import can_fence, key_of, split_key
from crm.scheduler.failures import without_number
from crm.scheduler.model import Action, Node, WorkingSet
from crm.scheduler.options import NoQuorum
from crm.scheduler.propagation.inputs import is_input
from hacluster.errors import NotFound

_PURPOSEFUL: Final = frozenset({"start", "stop", "promote", "demote", "migrate_to", "migrate_from"})
"""Tasks whose purpose is where their resource is to be."""


def find_actions(work: WorkingSet, key: str, node: Node | None) -> list[Action]:
    """Actions with that operation key, on that node if one is given; none for an action never thought of.

    A graph, a history and a log name an anonymous instance without its number: that key is that of them all.
    """
    return [one for one in _with_key(work, key) if node is None or one.node is None or one.node is node]


def _with_key(work: WorkingSet, key: str) -> list[Action]:
    found = work.actions_by_key.get(key)
    parts = None if found else split_key(key)
    if parts is None:
        return list(found or ())
    name, task, interval = parts
    return [
        one
        for resource in work.all_resources()
        if resource.is_primitive and not resource.unique and without_number(resource.id) == name
        for one in resource.actions_by_key.get(key_of(resource.id, task, interval), ())
    ]


def explain_action(work: WorkingSet, key: str, node: Node | None) -> Explanation:
    """Why what has this operation key is done or not. Raises NotFound for what was never considered."""
    actions = find_actions(work, key, node)
    if not actions:
        raise NotFound(kind="action", name=key)
    chosen = sorted(actions, key=lambda one: (not one.in_graph, one.optional))
    if chosen[0].in_graph:
        chosen = [one for one in chosen if one.in_graph]
    facts = _action_facts(work, chosen[0])
    for one in chosen[1:]:
        details = tuple(_action_facts(work, one))
        where = one.node.name if one.node is not None else ""
        facts.append(
            Fact(kind="action", text=_action_answer(one), node=where, origin=one.key, details=details)
        )
    return Explanation(subject=key, answer=_action_answer(chosen[0]), facts=tuple(facts))


def _action_answer(action: Action) -> str:
    reason = f": {action.reason}" if action.reason else ""
    if action.in_graph:
        if action.pseudo:
            return f"{name_of(action)} is a point in time of this transition{reason}."
        return f"{name_of(action)} is to be done{reason}."
    if action.optional and action.runnable:
        return f"{name_of(action)} is not needed: all is already as it should be."
    if not action.runnable:
        return f"{name_of(action)} cannot be done{reason}."
    return f"{name_of(action)} is left out{reason}."


def _action_facts(work: WorkingSet, action: Action) -> list[Fact]:
    resource = action.resource
    if not action.runnable:
        return list(blocked_facts(work, action))
    if not action.in_graph:
        if resource is not None and not resource.managed and not action.optional:
            return [
                Fact(
                    kind="unmanaged",
                    text=f"{resource.id} is not managed: it is left as it is.",
                    origin=resource.id,
                )
            ]
        if action.node is not None and action.node.unclean:
            return [
                Fact(
                    kind="node_unclean",
                    text=f"{action.node.name} is unclean: nothing is done there before it is fenced.",
                    node=action.node.name,
                    origin=action.node.name,
                )
            ]
        return []
    inputs = [link.action for link in action.before if is_input(action, link)]
    facts: list[Fact] = []
    if resource is not None and resource.is_primitive and action.task in _PURPOSEFUL:
        facts.append(Fact(kind="purpose", text=answer(work, resource), origin=resource.id))
    waits = requirement_facts(work, action, inputs)
    if not waits and not action.pseudo:
        waits = [Fact(kind="no_inputs", text=f"{name_of(action)} waits for nothing.", origin=action.key)]
    return facts + waits


# --- fencing


def explain_fencing(work: WorkingSet, node: Node) -> Explanation:
    """Why a node is to be fenced, or why it is not."""
    fencing = [
        one
        for one in work.actions
        if one.task == "stonith" and one.node is node and one.meta.get("stonith_action") != "on"
    ]
    planned = next((one for one in fencing if one.in_graph), None)
    facts = [*_causes(work, node, fencing)]
    if planned is not None:
        how = planned.meta.get("stonith_action", "reboot")
        waiting = [link.action for link in planned.after if link.action.in_graph and not link.action.pseudo]
        held = ", ".join(dict.fromkeys(name_of(one) for one in waiting if one.task in {"start", "promote"}))
        if held:
            facts.append(
                Fact(
                    kind="waiting_for_fencing", text=f"Until that is done these wait: {held}.", node=node.name
                )
            )
        return Explanation(
            subject=f"fenced {node.name}", answer=f"{node.name} is to be fenced ({how}).", facts=tuple(facts)
        )
    if node.unclean:
        return Explanation(
            subject=f"fenced {node.name}",
            answer=f"{node.name} ought to be fenced, but cannot be.",
            facts=(*facts, *_why_not(work, node)),
        )
    facts.append(Fact(kind="not_fenced", text=f"{_state_text(work, node)}", node=node.name, origin=node.name))
    return Explanation(
        subject=f"fenced {node.name}", answer=f"{node.name} is not to be fenced.", facts=tuple(facts)
    )


def _state_text(work: WorkingSet, node: Node) -> str:
    if node.online:
        return f"{node.name} is online and clean."
    if not work.options.fencing_enabled:
        return f"{node.name} is offline; without fencing it is taken for granted that it runs nothing."
    return f"{node.name} is offline, and known to run nothing."


def _causes(work: WorkingSet, node: Node, fencing: list[Action]) -> list[Fact]:
    reason = next((one.reason for one in fencing if one.reason), "")
    if not node.unclean and not node.remote_reset:
        return []
    facts: list[Fact] = []
    if reason:
        facts.append(Fact(kind="fencing_reason", text=f"Reason: {reason}.", node=node.name, origin=node.name))
    state = node.state
    if state is not None and not node.online:
        facts.append(Fact(kind="node_state", text=_membership(node, state), node=node.name, origin=node.name))
    elif state is None:
        facts.append(
            Fact(
                kind="unseen",
                text=f"{node.name} has never been seen by this cluster (option startup-fencing).",
                node=node.name,
                origin="startup-fencing",
            )
        )
    facts += [
        Fact(kind="failed_operation", text=f"{failure_text(one)}.", node=node.name, origin=one.resource.id)
        for one in work.failed_operations
        if one.node is node and one.resource.id in reason
    ]
    return facts


def _membership(node: Node, state: Element) -> str:
    return (
        f"{node.name} left without saying so: it is expected to be a member, "
        f"but membership is {state.get('in_ccm', 'unknown')} and ha-crm there {state.get('crmd', 'unknown')} "
        f"(join={state.get('join', 'unknown')})."
    )


def _why_not(work: WorkingSet, node: Node) -> list[Fact]:
    options = work.options

    def fact(kind: str, text: str, origin: str) -> list[Fact]:
        return [Fact(kind=kind, text=text, node=node.name, origin=origin)]

    if not options.fencing_enabled:
        return fact("fencing_disabled", "Fencing is disabled (stonith-enabled=false).", "stonith-enabled")
    if not work.have_fencing:
        return fact("no_fence_device", "There is no fence device in the configuration.", "stonith-enabled")
    if not work.have_quorum and options.no_quorum is not NoQuorum.IGNORE:
        return fact(
            "no_quorum", "This partition has no quorum: only one that has may fence.", "no-quorum-policy"
        )
    if can_fence(work, node):
        return fact("nothing_managed", "No resource is managed, so nothing is at stake.", "is-managed")
    return []
