"""Membership views and quorum, as ha-messaging tells ha-crm and ha-lrm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from hacluster.vocabulary.ids import NO_VIEW, BootToken, NodeId, NodeName, ViewId


class NodeState(StrEnum):
    """How ha-messaging sees a configured node."""

    UNKNOWN = "unknown"  # never heard since our start
    JOINING = "joining"
    MEMBER = "member"
    LATE = "late"  # silent for longer than warntime
    LEFT = "left"  # said LEAVE
    LOST = "lost"  # left the view without LEAVE
    ESTRANGED = "estranged"  # alive, with another cluster.toml
    BARRED = "barred"  # alive, though confirmed to be off: no view takes it


class LinkState(StrEnum):
    """One link toward one peer."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One node of a view. `crm_instance` and `lrm_instance` are 0 while that daemon is not connected."""

    id: NodeId
    name: NodeName
    incarnation: int
    boot_token: BootToken
    votes: int = 1
    crm_instance: int = 0
    lrm_instance: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipView:
    """Who is here, as all its members agreed; members are in the order of their ids."""

    id: ViewId = NO_VIEW
    members: tuple[Member, ...] = ()

    def member(self, node_id: int) -> Member | None:
        """The member with this id, or None."""
        return next((m for m in self.members if m.id == node_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """What this node may do in `view`, from ha-messaging to the other two services.

    `lease_end_ns` is an instant of CLOCK_BOOTTIME; 0 means there is no lease. `waiting` is true while
    wait_for_all holds a booted node. `witness`: its votes count in the view at the moment. `by_votes`: the
    view is quorate by its votes, and not because `two_node` lets one of two act.
    """

    view: MembershipView
    quorate: bool
    waiting: bool = False
    lease_end_ns: int = 0
    witness: bool = False
    by_votes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumConfig:
    """Voters with their votes, and the rule. From cluster.toml until the CIB log has one of its own.

    `tiebreak_order`: who breaks ties, the first of these that is a voter (`tiebreak` is that one, resolved).
    `lms_window_ms`: last_man_standing, 0 for no. `next`: a change is under way (cluster-protocol.md, 9.5);
    both configurations have to agree until it is over. `witness_votes` are counted beside the voters'.
    `wait_for_all_kept`: it is an operator's choice and stays when `two_node` comes and goes with the voters.
    """

    voters: tuple[tuple[NodeId, int], ...]
    two_node: bool = False
    wait_for_all: bool = False
    tiebreak: NodeId | None = None
    tiebreak_order: tuple[NodeId, ...] = ()
    lms_window_ms: int = 0
    witness_votes: int = 0
    wait_for_all_kept: bool = False
    next: QuorumConfig | None = None

    def among(self, voters: tuple[tuple[NodeId, int], ...]) -> QuorumConfig:
        """The same rules for other voters."""
        ids = {node for node, _ in voters}
        order = self.tiebreak_order or ((self.tiebreak,) if self.tiebreak is not None else ())
        return replace(
            self,
            voters=voters,
            two_node=self.two_node and len(voters) == 2,
            tiebreak=next((node for node in order if node in ids), None),
            next=None,
        )

    @property
    def votes_total(self) -> int:
        """The sum of all votes."""
        return sum(votes for _, votes in self.voters)
