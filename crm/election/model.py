"""What the election is told, and what it finds: values and the view it has of the log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from crm.cib.replication.basis import Basis
from crm.cib.replication.model import LogRank
from crm.cib.versions import CibVersion
from crm.replica.effects import Effect
from hacluster.vocabulary.ids import Term
from hacluster.vocabulary.membership import QuorumConfig


class Phase(StrEnum):
    """What a node is doing about the DC."""

    IDLE = "idle"  # no view
    CLAIMING = "claiming"  # collecting the claims of this round
    WAITING = "waiting"  # somebody else should win
    ASKING = "asking"  # for votes
    FOLLOWING = "following"
    LEADING = "leading"


class LogFacts(Protocol):
    """What the election must know of this node's log at this moment."""

    @property
    def rank(self) -> LogRank:
        """How new it is."""
        ...

    @property
    def version(self) -> CibVersion:
        """The highest this node has shown to anybody."""
        ...

    @property
    def blank(self) -> bool:
        """Nothing was ever stored here."""
        ...

    @property
    def quorum(self) -> QuorumConfig:
        """The voters by the newest entry here that names them, committed or not."""
        ...

    @property
    def fencing_enabled(self) -> bool:
        """What the newest configuration here (or the first one to be made) says."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionSettings:
    """`quorum` is the founding C, until the log has one. `instance`: this run of ha-crm.

    Times in ms, defaults of cluster-protocol.md 14.
    """

    me: int
    boot_token: str
    instance: int
    quorum: QuorumConfig
    claim_timeout_ms: int = 300
    election_timeout_ms: int = 1_000
    rank_step_ms: int = 200
    resend_ms: int = 100
    dc_timeout_ms: int = 2_500
    lost_window_ms: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Won:
    """This node is DC of `term`. `waits`: it may not commit before the peer is confirmed fenced.

    `granters` are the nodes (itself included) that granted; `version` the highest that any of the claimers
    has shown.
    """

    term: Term
    basis: Basis
    waits: bool
    granters: frozenset[int]
    version: CibVersion


@dataclass(frozen=True, slots=True)
class Lost:
    """This node is DC no more."""

    why: str


@dataclass(frozen=True, slots=True)
class Following:
    """Another node is DC."""

    term: Term


@dataclass(frozen=True, slots=True)
class PeersChanged:
    """While DC: other ha-crms of the view came or went."""


Result = Effect | Won | Lost | Following | PeersChanged
