"""How many operations may run at once: in the cluster, on a node, and how many migrations. Pure.

Options batch-limit, node-action-limit, load-threshold and migration-limit, as Pacemaker's controller uses
them, with two differences. Recovery does not wait behind monitoring: stops are never held back, and the lower
limit of a busy node counts for probes and monitors only. And a recurring monitor is not counted, because its
LRM decides when its first run is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from crm.transition import orders
from crm.transition.graph import ActionKind, GraphAction
from hacluster.digits import is_count

_STEPS: Final = ((2.0, 0), (1.6, 4), (1.2, 2))
"""Load as a multiple of the threshold -> the divisor of a node's limit (0: one operation at a time)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLoad:
    """What a node's LRM says: processors, and processes waiting for them (one minute's mean)."""

    cpus: int = 1
    load_1min: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From the cluster options and the nodes. `node_actions` 0: twice the node's processors."""

    node_actions: int = 0
    load_threshold: float = 0.8
    loads: Mapping[str, NodeLoad] = field(default_factory=dict)

    def of_node(self, node: str) -> int:
        """How many operations may run on this node at once."""
        load = self.loads.get(node)
        return self.node_actions or (2 * max(load.cpus, 1) if load is not None else 4)

    def under_load(self, node: str) -> int:
        """The same, lowered while the node is busy; 1 at least."""
        load, most = self.loads.get(node), self.of_node(node)
        if load is None:
            return most
        wanted = self.load_threshold * max(load.cpus, 1)
        for factor, divisor in _STEPS:
            if wanted > 0 and load.load_1min > wanted * factor:
                return max(most // divisor, 1) if divisor else 1
        return most


class Throttle:
    """Counts what runs."""

    def __init__(self, limits: Limits, graph: Mapping[str, str]) -> None:
        self.limits = limits
        self._batch_max = _number(graph.get("batch-limit", ""))
        self._migrations_max = _number(graph.get("migration-limit", ""))
        self._running: dict[str, int] = {}
        self._migrating: dict[str, int] = {}

    def full(self, action: GraphAction) -> str:
        """Why the action must wait, or the empty string."""
        if not _is_limited(action):
            return ""
        if self._batch_max > 0 and sum(self._running.values()) >= self._batch_max:
            return f"{self._batch_max} operations run already (batch-limit)"
        monitors = action.operation == "monitor"
        most = self.limits.under_load(action.node) if monitors else self.limits.of_node(action.node)
        if self._running.get(action.node, 0) >= most:
            return f"{most} operations run on {action.node} already (node-action-limit)"
        if action.operation in orders.MIGRATING and 0 < self._migrations_max <= self._migrating.get(
            action.node, 0
        ):
            return f"{self._migrations_max} migrations run on {action.node} already (migration-limit)"
        return ""

    def began(self, action: GraphAction) -> None:
        """Count an action that runs now."""
        self._count(action, 1)

    def ended(self, action: GraphAction) -> None:
        """It does not run any more."""
        self._count(action, -1)

    def _count(self, action: GraphAction, step: int) -> None:
        if not _is_limited(action):
            return
        self._running[action.node] = self._running.get(action.node, 0) + step
        assert self._running[action.node] >= 0, "more actions ended than began"
        if action.operation in orders.MIGRATING:
            self._migrating[action.node] = self._migrating.get(action.node, 0) + step


def _is_limited(action: GraphAction) -> bool:
    if action.kind is not ActionKind.RESOURCE or orders.number(action, "interval") > 0:
        return False
    return action.operation not in ("stop", "cancel", "delete")


def _number(text: str) -> int:
    try:
        return max(int(text), 0)
    except ValueError:
        return 0


def limits_from(options: Mapping[str, str], loads: Mapping[str, NodeLoad]) -> Limits:
    """The limits that the cluster options set; what cannot be read is as if it were not there."""
    most = options.get("node-action-limit", "0")
    threshold = options.get("load-threshold", "80%").rstrip("%")
    return Limits(
        node_actions=int(most) if is_count(most) else 0,
        load_threshold=int(threshold) / 100 if is_count(threshold) else 0.8,
        loads=loads,
    )
