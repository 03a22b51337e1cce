"""wait_for_all (cluster-protocol.md, 7.3): what ends it, and what the node remembers until it boots."""

from __future__ import annotations

from dataclasses import dataclass

from hacluster.vocabulary.ids import ViewId


@dataclass(frozen=True, slots=True)
class WaitingEnded:
    """ha-crm: the DC of this view has nothing to wait for, as it acts or by the operator's decree."""

    view: ViewId


@dataclass(frozen=True, slots=True)
class MarkAllSeen:
    """Remember until the next boot that all voters were in one view together, or need not be."""


@dataclass(frozen=True, slots=True)
class MarkMet:
    """Remember until the next boot that these nodes were in a view with us, or count as if they had been."""

    nodes: frozenset[int]
