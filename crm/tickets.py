"""Tickets of a cluster of clusters: who may run what depends on them, kept in the log and in memory. Pure.

What was decided is a set of options of its own in the configuration, so it is durable at a quorum and any DC
knows it. That a ticket is granted counts only while the cluster lives: each grant has a random id, and the DC
tells it on with the status. When all nodes have stopped nobody remembers it, and the ticket has to be granted
again: another site may have it by then. (A revocation is never forgotten.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from crm.cib.model import Element, element
from hacluster.digits import is_count
from hacluster.errors import InvalidRequest, NotFound

SET_ID: Final = "hacluster-tickets"
NAME_MAX: Final = 255
_PREFIX: Final = "ticket:"
_GRANT: Final = "grant"


class Deed(StrEnum):
    """What can be done to a ticket."""

    GRANT = "grant"
    REVOKE = "revoke"
    STANDBY = "standby"
    ACTIVATE = "activate"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One ticket as the log has it. `grant`: the id of the grant, empty while it is revoked."""

    name: str
    grant: str = ""
    standby: bool = False
    last_granted_s: int = 0


def tickets_in(configuration: Element) -> dict[str, Ticket]:
    """All of them by name; what cannot be read is left out."""
    found = _set_in(configuration)
    tickets: dict[str, Ticket] = {}
    for pair in found.all("nvpair") if found is not None else ():
        name = pair.get("name").removeprefix(_PREFIX)
        try:
            values = json.loads(pair.get("value"))
        except ValueError:
            continue
        if name != pair.get("name") and isinstance(values, dict):
            granted = str(values.get("last-granted", ""))
            tickets[name] = Ticket(
                name=name,
                grant=str(values.get(_GRANT, "")),
                standby=values.get("standby") is True,
                last_granted_s=int(granted) if is_count(granted) else 0,
            )
    return tickets


def without(configuration: Element) -> Element:
    """The configuration as people see and write it."""
    if _set_in(configuration) is None:
        return configuration
    return configuration.mapped(
        lambda part: (
            part.mapped(lambda one: None if one.id == SET_ID else one) if part.tag == "crm_config" else part
        )
    )


def carried(present: Element, new: Element) -> Element:
    """`new` with the tickets of `present`: they are not changed by writing a configuration."""
    return _with_set(without(new), _set_in(present))


def done(configuration: Element, name: str, deed: Deed, *, now_s: int, grant: str) -> Element:
    """The configuration after a deed. `grant`: the id of a new grant. Raises InvalidRequest, NotFound."""
    if not name or not name.isprintable() or len(name) > NAME_MAX:
        raise InvalidRequest(what=f"{name[:80]!r} cannot name a ticket")
    tickets = tickets_in(configuration)
    before = tickets.get(name, Ticket(name=name))
    match deed:
        case Deed.GRANT:
            tickets[name] = replace(before, grant=grant, last_granted_s=now_s)
        case Deed.REVOKE:
            tickets[name] = replace(before, grant="")
        case Deed.STANDBY | Deed.ACTIVATE:
            tickets[name] = replace(before, standby=deed is Deed.STANDBY)
        case Deed.DELETE:
            if name not in tickets:
                raise NotFound(kind="ticket", name=name)
            if before.grant:
                raise InvalidRequest(
                    what=f"ticket {name} is granted",
                    remedy=f"revoke it first: `hacli site ticket revoke {name}`",
                )
            del tickets[name]
    return _with_set(without(configuration), _as_set(tickets))


def _set_in(configuration: Element) -> Element | None:
    section = configuration.child("crm_config")
    sets = () if section is None else section.all("cluster_property_set")
    return next((one for one in sets if one.id == SET_ID), None)


def _with_set(plain: Element, found: Element | None) -> Element:
    if found is None:
        return plain
    section = plain.child("crm_config")
    if section is None:
        return plain.with_children((element("crm_config", None, found), *plain.children))
    return plain.with_child(section.with_children((*section.children, found)))


def _as_set(tickets: Mapping[str, Ticket]) -> Element | None:
    if not tickets:
        return None
    pairs = []
    for number, (name, one) in enumerate(sorted(tickets.items()), 1):
        values = {_GRANT: one.grant, "standby": one.standby, "last-granted": str(one.last_granted_s)}
        pairs.append(
            element(
                "nvpair",
                {
                    "id": f"{SET_ID}-{number}",
                    "name": f"{_PREFIX}{name}",
                    "value": json.dumps(values, sort_keys=True),
                },
            )
        )
    return element("cluster_property_set", {"id": SET_ID}, *pairs)


@dataclass(slots=True)
class Witness:
    """The DC's memory of the grants that are in force."""

    grants: set[str] = field(default_factory=set)

    def adopt(self, status: Element) -> None:
        """Another reign begins: what the last DC said is known, and nothing else."""
        tickets = status.child("tickets")
        states = tickets.all("ticket_state") if tickets is not None else ()
        self.grants = {one.get(_GRANT) for one in states if one.get(_GRANT)}

    def section(self, configuration: Element) -> Element | None:
        """`<tickets>` of the status; None without a ticket."""
        states = []
        for one in tickets_in(configuration).values():
            granted = bool(one.grant) and one.grant in self.grants
            attributes = {
                "id": one.name,
                "granted": "true" if granted else "false",
                "standby": "true" if one.standby else "false",
            }
            if one.last_granted_s:
                attributes["last-granted"] = str(one.last_granted_s)
            if granted:
                attributes[_GRANT] = one.grant
            states.append(element("ticket_state", attributes))
        return element("tickets", None, *states) if states else None
