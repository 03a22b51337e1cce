"""Constraints, in document order."""

from __future__ import annotations

from crm.cib.model import Element
from crm.scheduler.model import WorkingSet
from crm.scheduler.operations import rule_context
from crm.scheduler.rules import holds
from crm.scheduler.stages.colocations import unpack_colocation
from crm.scheduler.stages.location import unpack_location
from crm.scheduler.stages.orderings import unpack_ordering


def unpack_constraints(work: WorkingSet) -> None:
    """Read <constraints>."""
    section = work.cib.path("configuration", "constraints")
    for item in section.children if section is not None else ():
        lifetime = item.child("lifetime")
        if item.tag == "rsc_location" and lifetime is not None and not _alive(work, lifetime):
            continue
        match item.tag:
            case "rsc_order":
                unpack_ordering(work, item)
            case "rsc_colocation":
                unpack_colocation(work, item)
            case "rsc_location":
                unpack_location(work, item)
            case "rsc_ticket":
                from crm.scheduler.stages.tickets import unpack_ticket

                unpack_ticket(work, item)
            case _:
                pass


def _alive(work: WorkingSet, lifetime: Element) -> bool:
    return all(holds(rule, rule_context(work), work.elements) for rule in lifetime.all("rule"))
