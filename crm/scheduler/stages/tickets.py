"""Tickets: what may run at this site (Pacemaker Explained, "Multi-Site Clusters and Tickets")."""

from __future__ import annotations

from enum import StrEnum

from crm.cib.model import Element
from crm.scheduler import references
from crm.scheduler.actions import request_fencing
from crm.scheduler.model import Resource, Role, Ticket, TicketUse, WorkingSet
from crm.scheduler.roles import parse_role
from crm.scheduler.scores import INFINITY
from crm.scheduler.tables import ban


class LossPolicy(StrEnum):
    """loss-policy: what happens when the ticket is lost."""

    STOP = "stop"
    DEMOTE = "demote"
    FENCE = "fence"
    FREEZE = "freeze"


def unpack_ticket(work: WorkingSet, item: Element) -> None:
    """One <rsc_ticket>: for a resource, tag or template, or for sets."""
    name = item.get("ticket")
    if not name:
        return
    ticket = work.tickets.setdefault(name, Ticket(name))
    given = item.get("rsc")
    if given:
        for one in references.named(work, given):
            _use(work, item, ticket, one, item.get("rsc-role"))
    sets = references.sets_of_constraint(work, item) or []
    for one_set, members in zip(sets, references.set_members(work, sets), strict=True):
        found = references.until_unknown(members)
        for one in found:
            _use(work, item, ticket, one, one_set.get("role") or item.get("rsc-role"))
        if len(found) < len(members):
            return


def _policy(work: WorkingSet, item: Element, role: Role) -> LossPolicy:
    text = item.get("loss-policy")
    if text in LossPolicy.__members__.values():
        policy = LossPolicy(text)
        if policy is LossPolicy.FENCE and not work.options.fencing_enabled:
            return LossPolicy.STOP
        return policy
    return LossPolicy.DEMOTE if role is Role.PROMOTED else LossPolicy.STOP


def _use(work: WorkingSet, item: Element, ticket: Ticket, resource: Resource, role_text: str) -> None:
    role = parse_role(role_text)
    if role is Role.STARTED:
        role = Role.UNKNOWN
    resource.tickets.append(TicketUse(ticket, role))
    if not (ticket.granted and not ticket.standby):
        _act(work, ticket, resource, role, _policy(work, item, role))


def _act(work: WorkingSet, ticket: Ticket, resource: Resource, role: Role, policy: LossPolicy) -> None:
    if resource.children:
        for child in resource.children:
            _act(work, ticket, child, role, policy)
        return
    if not ticket.granted and resource.active_nodes:
        _lost(work, ticket, resource, role, policy)
    elif role is not Role.PROMOTED or policy is LossPolicy.STOP:
        ban(work, resource, None, -INFINITY, "ticket", ticket.id)


def _lost(work: WorkingSet, ticket: Ticket, resource: Resource, role: Role, policy: LossPolicy) -> None:
    concerns = role is Role.UNKNOWN or role is resource.orig_role
    match policy:
        case LossPolicy.STOP:
            ban(work, resource, None, -INFINITY, "ticket", ticket.id)
        case LossPolicy.DEMOTE:
            if role is not Role.PROMOTED:
                ban(work, resource, None, -INFINITY, "ticket", ticket.id)
        case LossPolicy.FENCE:
            if concerns:
                ban(work, resource, None, -INFINITY, "ticket", ticket.id)
                for node in resource.active_nodes:
                    request_fencing(work, node, "deadman ticket was lost")
        case LossPolicy.FREEZE:
            if concerns:
                resource.managed, resource.blocked = False, True
