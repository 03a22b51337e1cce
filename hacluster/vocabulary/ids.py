"""Identifiers that must not be mixed, and the ordered pairs that name views and terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

NodeName = NewType("NodeName", str)
"""A node's name, as `uname -n` gives it."""

NodeId = NewType("NodeId", int)
"""A node's number, 1..65534, unique in the cluster and never reused."""

ResourceId = NewType("ResourceId", str)
"""The id of a resource or of a clone instance ("web", "web:1")."""

BootToken = NewType("BootToken", str)
"""Names one boot of one node: 64 hexadecimal digits (SHA-256)."""


@dataclass(frozen=True, slots=True, order=True)
class Term:
    """The number of a DC's reign. Ordered by counter, then node, so that no two DCs share one."""

    counter: int
    node_id: int

    def __str__(self) -> str:
        return f"{self.counter}.{self.node_id}"


NO_TERM = Term(0, 0)
"""Smaller than every real term."""


@dataclass(frozen=True, slots=True, order=True)
class ViewId:
    """Names one membership view. Ordered by counter, then coordinator."""

    counter: int
    coordinator: int

    def __str__(self) -> str:
        return f"{self.counter}.{self.coordinator}"


NO_VIEW = ViewId(0, 0)
"""Smaller than every real view: no view is installed."""


@dataclass(frozen=True, slots=True, order=True)
class OperationId:
    """At most one execution happens per value (and boot of the target node)."""

    term: Term
    transition: int
    action: int

    def __str__(self) -> str:
        return f"{self.term}/{self.transition}/{self.action}"
