"""schedule(cib, now) -> Transition: the list of stages is the table of contents of this package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from crm.cib.model import Element
from crm.scheduler import values
from crm.scheduler.acting.create import create_actions
from crm.scheduler.acting.probes import clear_removed_fail_counts, schedule_probes
from crm.scheduler.model import WorkingSet
from crm.scheduler.options import read_options
from crm.scheduler.placement.assign import assign_resources
from crm.scheduler.placement.utilization import sort_for_capacity
from crm.scheduler.propagation.run import propagate
from crm.scheduler.rules import Context, Elements
from crm.scheduler.stages.config_changes import handle_config_changes, run_parameter_checks
from crm.scheduler.stages.fencing import schedule_fencing_and_shutdowns
from crm.scheduler.stages.internal_constraints import add_internal_constraints
from crm.scheduler.stages.location import (
    apply_failures_and_discovery,
    apply_locations,
    apply_node_health,
    apply_stickiness,
)
from crm.scheduler.stages.remote_orders import order_remote_connections
from crm.scheduler.stages.shutdown_locks import apply_shutdown_locks
from crm.scheduler.stages.unpack_constraints import unpack_constraints
from crm.scheduler.stages.unpack_nodes import unpack_nodes
from crm.scheduler.stages.unpack_resources import unpack_resources
from crm.scheduler.stages.unpack_status import unpack_status
from crm.scheduler.stages.unpack_tags import unpack_tags
from crm.scheduler.stages.write_graph import write_graph
from crm.scheduler.upgrade import upgrade
from crm.transition.graph import TransitionGraph

# Propagation follows chains of actions; Python's own frames cost no stack of the process.
RECURSION_MAX: Final = 200_000

Stage = Callable[[WorkingSet], None]

UNPACK_STAGES: Final[tuple[Stage, ...]] = (
    unpack_nodes,
    unpack_resources,
    unpack_tags,
    unpack_status,
)

PLACEMENT_STAGES: Final[tuple[Stage, ...]] = (
    apply_node_health,
    unpack_constraints,
    apply_shutdown_locks,
    apply_locations,
    apply_stickiness,
    apply_failures_and_discovery,
    add_internal_constraints,
    handle_config_changes,
    sort_for_capacity,
    assign_resources,
)

ACTION_STAGES: Final[tuple[Stage, ...]] = (
    run_parameter_checks,
    schedule_probes,
    clear_removed_fail_counts,
    create_actions,
    order_remote_connections,
    schedule_fencing_and_shutdowns,
    propagate,
)


def effective_now_s(cib: Element, now_s: int) -> int:
    """The time rules go by: execution-date of a stored CIB, else `now_s` (seconds since 1970)."""
    return values.integer(cib.attributes.get("execution-date")) or now_s


def unpack(cib: Element, now_s: int, *, sanitized: bool = False) -> WorkingSet:
    """Read a CIB: nodes, resources, roles and failures as they are now. Nothing is decided yet.

    `sanitized`: the document's private parameters are blanked, so that a difference in nothing else is no
    change.
    """
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
        have_quorum=values.is_true(cib.attributes.get("have-quorum")),
        rsc_defaults=cib.path("configuration", "rsc_defaults"),
        op_defaults=cib.path("configuration", "op_defaults"),
    )
    for at_s in rechecks:
        work.recheck(at_s)
    for stage in UNPACK_STAGES:
        stage(work)
    return work


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What a run decided: the graph, the scores it was decided by, and everything the run knew."""

    graph: TransitionGraph
    score_lines: tuple[str, ...]
    utilization_lines: tuple[str, ...]
    work: WorkingSet


def schedule(cib: Element, now_s: int, *, sanitized: bool = False) -> Transition:
    """Compute what has to be done. Pure: the same CIB and time give the same transition, to the byte.

    `now_s`: seconds since 1970; `sanitized`: as in `unpack`.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, RECURSION_MAX))
    try:
        work = unpack(cib, now_s, sanitized=sanitized)
        for stage in (*PLACEMENT_STAGES, *ACTION_STAGES):
            stage(work)
        graph = write_graph(work)
    finally:
        sys.setrecursionlimit(limit)
    return Transition(
        graph=graph,
        score_lines=tuple(work.score_lines),
        utilization_lines=tuple(work.utilization_lines),
        work=work,
    )
