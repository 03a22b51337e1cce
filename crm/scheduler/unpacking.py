"""The first stages of a run: a CIB read into a working set. What only looks at the present needs no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from crm.cib.model import Element
from crm.scheduler import values
from crm.scheduler.model import WorkingSet
from crm.scheduler.options import read_options
from crm.scheduler.readings import Readings
from crm.scheduler.rules import Context, Elements
from crm.scheduler.stages.unpack_nodes import unpack_nodes
from crm.scheduler.stages.unpack_resources import unpack_resources
from crm.scheduler.stages.unpack_status import unpack_status
from crm.scheduler.stages.unpack_tags import unpack_tags
from crm.scheduler.upgrade import upgrade

Stage = Callable[[WorkingSet], None]

UNPACK_STAGES: Final[tuple[Stage, ...]] = (
    unpack_nodes,
    unpack_resources,
    unpack_tags,
    unpack_status,
)


def effective_now_s(cib: Element, now_s: int) -> int:
    """The time rules go by: execution-date of a stored CIB, else `now_s` (seconds since 1970)."""
    return values.integer(cib.attributes.get("execution-date")) or now_s


def unpack(
    cib: Element, now_s: int, *, sanitized: bool = False, readings: Readings | None = None
) -> WorkingSet:
    """Read a CIB: nodes, resources, roles and failures as they are now. Nothing is decided yet.

    `sanitized`: the document's private parameters are blanked, so that a difference in nothing else is no
    change. `readings`: what was read in earlier runs, and will be in this one.
    """
    readings = readings if readings is not None else Readings()
    readings.begin()
    cib = upgrade(cib)
    elements = Elements(cib.child("configuration"))
    rechecks: list[int] = []
    context = Context(now_s=now_s, recheck=rechecks.append)
    work = WorkingSet(
        cib=cib,
        now_s=now_s,
        options=read_options(cib, context, elements),
        elements=elements,
        sanitized=sanitized,
        readings=readings,
        have_quorum=values.is_true(cib.attributes.get("have-quorum")),
        rsc_defaults=cib.path("configuration", "rsc_defaults"),
        op_defaults=cib.path("configuration", "op_defaults"),
    )
    for at_s in rechecks:
        work.recheck(at_s)
    for stage in UNPACK_STAGES:
        stage(work)
    return work
