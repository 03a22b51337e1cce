"""The propagation as a whole."""

from __future__ import annotations

from crm.scheduler.model import WorkingSet
from crm.scheduler.propagation.invalid import disable_invalid_relations
from crm.scheduler.propagation.pairs import resolve_orderings
from crm.scheduler.propagation.probe_orders import order_probes
from crm.scheduler.propagation.update import Propagation


def propagate(work: WorkingSet) -> None:
    """Relations become pairs; then all flags are brought to a fixpoint."""
    resolve_orderings(work)
    run = Propagation(work)
    for action in reversed(list(work.actions)):
        run.block_dependents(action)
    order_probes(work)
    for action in reversed(list(work.actions)):
        run.update(action)
    disable_invalid_relations(work)
