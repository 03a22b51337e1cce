"""schedule(cib, now) -> Transition: the list of stages is the table of contents of this package."""

from __future__ import annotations

import sys
from typing import Final

from crm.cib.model import Element
from crm.scheduler.acting.create import create_actions
from crm.scheduler.acting.probes import clear_removed_fail_counts, schedule_probes
from crm.scheduler.model import WorkingSet
from crm.scheduler.placement.assign import assign_resources
from crm.scheduler.placement.utilization import sort_for_capacity
from crm.scheduler.propagation.run import propagate
from crm.scheduler.readings import Readings
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
from crm.scheduler.stages.write_graph import write_graph
from crm.scheduler.unpacking import UNPACK_STAGES, Stage, effective_now_s, unpack
from crm.transition.graph import TransitionGraph
from hacluster.collector import collector_paused
from hacluster.records import record

# Propagation follows chains of actions; Python's own frames cost no stack of the process.
RECURSION_MAX: Final = 200_000

__all__ = ["UNPACK_STAGES", "Stage", "Transition", "effective_now_s", "schedule", "unpack"]

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


@record(frozen=True, kw_only=True)
class Transition:
    """What a run decided: the graph, and everything the run knew."""

    graph: TransitionGraph
    utilization_lines: tuple[str, ...]
    work: WorkingSet

    @property
    def score_lines(self) -> tuple[str, ...]:
        """The scores it was decided by, made anew with each call."""
        return self.work.score_lines()


def schedule(
    cib: Element, now_s: int, *, sanitized: bool = False, readings: Readings | None = None
) -> Transition:
    """Compute what has to be done. Pure: the same CIB and time give the same transition, to the byte.

    `now_s`: seconds since 1970; `sanitized`: as in `unpack`. With the same `readings` in run after run only
    what is new in the status is read; what is decided does not depend on them.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, RECURSION_MAX))
    try:
        with collector_paused():
            work = unpack(cib, now_s, sanitized=sanitized, readings=readings)
            for stage in (*PLACEMENT_STAGES, *ACTION_STAGES):
                stage(work)
            graph = write_graph(work)
    finally:
        sys.setrecursionlimit(limit)
    return Transition(
        graph=graph,
        utilization_lines=tuple(work.utilization_lines),
        work=work,
    )
