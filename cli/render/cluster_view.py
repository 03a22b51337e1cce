"""A CIB with its status section, read as the scheduler reads it: nodes, places, failures. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cli.render.cluster_status import Item, disabled_and_blocked, node_items, node_status, resource_items
from cli.render.status_primitive import StatusContext, base_name
from crm.cib.model import Element
from crm.scheduler import unpacking
from crm.scheduler.model import Role, WorkingSet
from hacluster.digits import is_count

_RC_TEXT: Final = {
    0: "ok",
    1: "error",
    2: "invalid parameter",
    3: "unimplemented feature",
    4: "insufficient privileges",
    5: "not installed",
    6: "not configured",
    7: "not running",
    8: "promoted",
    9: "promoted (failed)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLine:
    """A node and its state in words."""

    name: str
    state: str
    online: bool
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAction:
    """An operation whose last result was a failure."""

    resource: str
    operation: str
    interval_ms: int
    node: str
    rc: int
    reason: str
    at_s: int

    def __str__(self) -> str:
        text = _RC_TEXT.get(self.rc, f"rc {self.rc}")
        what = f"{self.resource} {self.operation}" + (
            f" every {self.interval_ms} ms" if self.interval_ms else ""
        )
        reason = f" ({self.reason})" if self.reason else ""
        return f"{what} on {self.node} returned '{text}'{reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One instance on one node."""

    node: str
    role: str
    failed: bool = False


class ClusterView:
    """What can be said of a CIB at a time (seconds since the epoch; it decides about expired failures)."""

    def __init__(self, cib: Element, now_s: int) -> None:
        self.cib = cib
        self.now_s = now_s
        self._work = unpacking.unpack(cib, now_s)

    @property
    def work(self) -> WorkingSet:
        """The scheduler's working set after unpacking."""
        return self._work

    def nodes(self) -> tuple[NodeLine, ...]:
        """All nodes, in the order of their names."""
        return tuple(
            NodeLine(
                name=node.name,
                state=node_status(self._work, node)[0],
                online=node.online,
                kind=node.kind.name.lower(),
            )
            for node in self._work.nodes
        )

    def node_lines(self) -> list[str]:
        """The node list of a status."""
        return _outdented(node_items(StatusContext(self._work)))

    def resource_lines(self, wanted: Iterable[str] = ()) -> list[str]:
        """The tree of resources, or of those that are or contain one of `wanted`."""
        names = frozenset(wanted)
        every = self._work.resources
        if names:
            self._work.resources = [
                one
                for one in every
                if one.id in names
                or any(base_name(part) in names for part in one.primitives())
                or (one.child_element is not None and one.child_element.id in names)
            ]
        lines = _outdented(resource_items(StatusContext(self._work)))
        self._work.resources = every
        return lines

    def instance_count(self) -> int:
        """Primitives, every instance counted."""
        return sum(
            1 for resource in self._work.resources for _one in resource.primitives() if not _one.removed
        )

    def disabled_and_blocked(self) -> str:
        """How many are disabled or blocked, in words; empty when none."""
        return disabled_and_blocked(self._work)

    def placements(self) -> dict[str, tuple[Place, ...]]:
        """Primitive's id (instances by their plain name) -> where it is active."""
        found: dict[str, list[Place]] = {}
        for resource in self._work.resources:
            for one in resource.primitives():
                role = one.orig_role
                if role is Role.STARTED and one.top().promotable:
                    role = Role.UNPROMOTED
                found.setdefault(one.id.partition(":")[0], []).extend(
                    Place(node=node.name, role=role.label, failed=one.failed) for node in one.active_nodes
                )
        return {name: tuple(places) for name, places in found.items()}

    def orphans(self) -> tuple[tuple[str, str], ...]:
        """(resource, nodes) of what runs and is in no configuration."""
        return tuple(
            (base_name(one), ", ".join(node.name for node in one.active_nodes))
            for resource in self._work.resources
            for one in resource.primitives()
            if one.removed and one.active_nodes
        )

    def failure_timeout_s(self, name: str) -> int:
        """After how long a failure of a resource is forgotten; 0: never by itself."""
        found = [
            one.failure_timeout_ms
            for resource in self._work.resources
            for one in resource.primitives()
            if base_name(one) == name
        ]
        return min(found, default=0) // 1_000

    def unmanaged(self) -> frozenset[str]:
        """Primitives that the cluster leaves alone."""
        return frozenset(
            one.id.partition(":")[0]
            for resource in self._work.resources
            for one in resource.primitives()
            if not one.managed
        )

    def active_nodes(self, item: Element) -> tuple[str, ...]:
        """The nodes on which a resource (or any member) is active."""
        places = self.placements()
        nodes: dict[str, None] = {}
        for one in item.walk():
            if one.tag == "primitive":
                nodes |= {place.node: None for place in places.get(one.id, ()) if place.role != "Stopped"}
        return tuple(nodes)

    def failed_actions(self) -> tuple[FailedAction, ...]:
        """Operations that failed and have neither expired nor been cleaned up."""
        return tuple(
            FailedAction(
                resource=base_name(one.resource),
                operation=one.task,
                interval_ms=_number(one.element.get("interval")),
                node=one.node.name,
                rc=one.rc,
                reason=one.element.get("exit-reason"),
                at_s=_number(one.element.get("last-rc-change")),
            )
            for one in self._work.failed_operations
            if not one.masked_probe
        )


def _number(text: str) -> int:
    return int(text) if is_count(text) else 0


def _outdented(items: Iterable[Item]) -> list[str]:
    """Items as lines; in a block of its own a list begins one level further left."""
    return [str(Item(item.depth - 1, item.text)) for item in items]
