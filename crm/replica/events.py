"""States and events of the replicated CIB, as the rest of ha-crm sees them: values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from crm.cib.model import Element
from crm.cib.replication.basis import Basis
from crm.cib.versions import NO_VERSION, CibVersion
from hacluster.vocabulary.ids import NO_TERM, Term, ViewId
from hacluster.vocabulary.membership import QuorumConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DcState:
    """Who is DC as this node knows it.

    `established`: its barrier is committed, so it may act and commit. A DC that is not established and not a
    caretaker waits for something before it can commit (a two-node survivor with fencing enabled: for the
    fence); it may schedule, but writes wait. `basis` is None where it is not known (at followers before the
    DC's first entry). FENCED without `established`: it will be, when the fence is confirmed. `acts`: its
    ha-messaging lets it act in this view; false also where that has not been heard yet.
    """

    term: Term = NO_TERM
    dc_node_id: int | None = None
    is_me: bool = False
    established: bool = False
    basis: Basis | None = None
    caretaker: bool = False
    acts: bool = False

    @property
    def authority(self) -> str:
        """The basis in words for people; empty: unknown."""
        if self.basis is Basis.FENCED and not self.established:
            return "none before the other node is fenced"
        return self.basis.value if self.basis is not None else ""


class Outcome(StrEnum):
    """What became of a write."""

    OK = "ok"  # durable and ordered
    FAILED = "failed"  # not applied, never will be
    UNKNOWN = "unknown"  # may or may not: ask `outcome_of` with the request id


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOutcome:
    """The answer to a writer. With OK: version and digest of the configuration after this write."""

    outcome: Outcome
    reason: str = ""
    version: CibVersion = NO_VERSION
    digest: str = ""


@dataclass(frozen=True, slots=True)
class BecameDc:
    """This node is DC now. With a new view it stops being DC and must win again, in a new term.

    `established` is false for a caretaker and for a two-node survivor that waits for the peer's fence (tell
    `fence_confirmed`); a second BecameDc of the same term follows when that changes.
    """

    term: Term
    view: ViewId
    basis: Basis
    established: bool


@dataclass(frozen=True, slots=True)
class StoppedBeingDc:
    """Abandon the transition at once; start nothing more."""

    why: str


@dataclass(frozen=True, slots=True)
class FollowsDc:
    """Another node is DC."""

    node_id: int
    term: Term


@dataclass(frozen=True, slots=True)
class Committed:
    """The configuration changed (or was replaced whole by the DC's); at every node."""

    configuration: Element
    version: CibVersion
    author: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Orphans:
    """`count` entries made at `node` while apart were not merged; they are saved in `file` at that node.

    `answered` of them had been answered OK (on a provisional basis). Told again at each start of the daemon
    until the file is removed.
    """

    count: int
    answered: int
    node: str
    file: str


@dataclass(frozen=True, slots=True)
class Corrupt:
    """This node's copy on disk is damaged: kept aside, no vote until a DC with all voters has restored it."""

    why: str


@dataclass(frozen=True, slots=True)
class VotersCommitted:
    """Who votes is another set now, or was found on the disk; with `next` while it changes."""

    quorum: QuorumConfig
    log_index: int


ReplicaEvent = BecameDc | StoppedBeingDc | FollowsDc | Committed | Orphans | Corrupt | VotersCommitted
