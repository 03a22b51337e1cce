"""What ha-crm daemons say to each other to find a DC: values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crm.cib.history import FEATURE_SET
from crm.cib.replication.model import LogRank
from crm.cib.versions import NO_VERSION, CibVersion
from hacluster.digits import is_count
from hacluster.vocabulary.ids import NO_TERM, Term, ViewId


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What each node says of itself in a view.

    `deposed`: the highest term whose DC the sender holds for gone in this view. `dc`: the term of the DC it
    follows (or is) at the moment. `voter` and `blank`: see Promise; `version`: the highest it has shown.
    """

    node_id: int
    view: ViewId
    promised: Term
    rank: LogRank
    eligible: bool
    voter: bool
    blank: bool
    incumbent: bool = False
    feature_set: str = FEATURE_SET
    dc_priority: int = 0
    member_since: int = 0
    deposed: Term = NO_TERM
    dc: Term = NO_TERM
    version: CibVersion = NO_VERSION

    def ends(self, dc: Term) -> bool:
        """Said by the DC of that term: it is DC no more; it deposed itself, or is a run that has never led.

        A former run's appends may come after its end, and be obeyed. A claim of before it won may come late,
        too: then the DC is heard again.
        """
        return self.deposed >= dc or (self.promised >= dc and self.dc != dc)


def in_order(claims: Iterable[Claim]) -> list[Claim]:
    """Candidates, best first: the log's rank before all else, then the oldest feature set, the incumbent …"""

    def order(c: Claim) -> tuple[tuple[int, ...], int, int, int, int]:
        feature = tuple(int(part) for part in c.feature_set.split(".") if is_count(part))
        return feature, -int(c.incumbent), -c.dc_priority, c.member_since, c.node_id

    return sorted(sorted(claims, key=order), key=lambda c: c.rank, reverse=True)  # stable


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimReply:
    """The receiver's own claim, when it is in the same view; None otherwise."""

    claim: Claim | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRequest:
    """`boot_token` is the addressed node's. `bootstrap`: nobody in the view has ever had a log.

    `claimed`: whose claims of this view the candidate has.
    """

    term: Term
    view: ViewId
    boot_token: str
    rank: LogRank
    caretaker: bool = False
    bootstrap: bool = False
    claimed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteReply:
    """`counts` is false when a node without a memory grants: it follows, but is no vote for a commit."""

    term: Term
    granted: bool
    counts: bool
    promised: Term
    rank: LogRank


@dataclass(frozen=True, slots=True, kw_only=True)
class DcLost:
    """The sender has not heard from the DC of `term` for dc_timeout."""

    view: ViewId
    term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class DcLostReply:
    """Whether the receiver misses the DC too."""

    term: Term
    agree: bool


ElectionMessage = Claim | ClaimReply | VoteRequest | VoteReply | DcLost | DcLostReply
