"""The voters between the CIB's log and this node's ha-messaging (cluster-protocol.md 7.1, 7.2).

What is committed goes down; what last_man_standing suggests comes up, and the DC makes a change of it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from crm import log_events
from crm.cib.replication.voters import VotersWanted, voters_text
from crm.replica.events import DcState, Outcome, VotersCommitted, WriteOutcome
from hacluster.errors import HaError
from hacluster.v1 import membership_pb2
from hacluster.vocabulary.ids import NodeId, Term
from hacluster.vocabulary.membership import QuorumConfig

RETRY_S: Final = 0.5
LOOK_S: Final = 1.0
CHANGE_MS: Final = 10_000

log = structlog.get_logger()


class Replica(Protocol):
    """What is needed of the replicated CIB."""

    @property
    def dc(self) -> DcState:
        """Who is DC."""
        ...

    def voters(self) -> tuple[int, QuorumConfig, tuple[int, ...]]:
        """Log index, who votes, who has all of the log (at the DC)."""
        ...

    async def change_voters(
        self, term: Term, wanted: VotersWanted, *, author: str, request_id: str, deadline_ms: int
    ) -> WriteOutcome:
        """At the DC of that term."""
        ...


class VotersKeeper:
    """`tell` hands a committed configuration to ha-messaging; may raise HaError."""

    def __init__(
        self, replica: Replica, tell: Callable[[membership_pb2.QuorumConfig], Awaitable[None]]
    ) -> None:
        self._replica, self._tell = replica, tell
        self._committed: VotersCommitted | None = None
        self._news = asyncio.Event()
        self._suggested: dict[NodeId, int] = {}

    def committed(self, event: VotersCommitted) -> None:
        """The newest; ha-messaging is told, for as long as it takes."""
        self._committed = event
        self._news.set()

    def suggested(self, message: membership_pb2.QuorumConfig | None) -> None:
        """What ha-messaging would have; None or no voters: nothing."""
        voters = () if message is None else message.voters
        self._suggested = {NodeId(voter.node_id): voter.votes for voter in voters}

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.hand_down(), name="voters for ha-messaging")
            group.create_task(self.follow_suggestions(), name="last man standing")

    async def hand_down(self) -> None:
        """Runs until cancelled; a newer configuration takes the place of one that was not told yet."""
        while True:
            await self._news.wait()
            self._news.clear()
            event = self._committed
            assert event is not None
            try:
                await self._tell(config_to(event.quorum, event.log_index))
            except HaError as error:
                log.info(log_events.VOTERS_NOT_TOLD, reason=str(error), log_index=event.log_index)
                self._news.set()
                await asyncio.sleep(RETRY_S)

    async def follow_suggestions(self) -> None:
        """At the DC: looked at each second, because what stands in the way passes. Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            dc, (_, current, _) = self._replica.dc, self._replica.voters()
            if not self._suggested or not dc.is_me or not dc.established or current.next is not None:
                continue
            wanted = wanted_for(current, self._suggested)
            if wanted is not None:
                await self._change(dc.term, current, wanted)

    async def _change(self, term: Term, current: QuorumConfig, wanted: VotersWanted) -> None:
        try:
            outcome = await self._replica.change_voters(
                term,
                wanted,
                author="last_man_standing",
                request_id=secrets.token_hex(16),
                deadline_ms=CHANGE_MS,
            )
        except HaError as error:
            log.info(log_events.VOTERS_NOT_CHANGED, reason=str(error))
            return
        if outcome.outcome is Outcome.OK:
            log.info(log_events.VOTERS_CHANGED, before=voters_text(current), why="last_man_standing")
        else:
            log.info(log_events.VOTERS_NOT_CHANGED, reason=outcome.reason)


def wanted_for(current: QuorumConfig, voters: dict[NodeId, int]) -> VotersWanted | None:
    """The change that makes these the voters; None when they are."""
    before = dict(current.voters)
    add = tuple(sorted((node, votes) for node, votes in voters.items() if before.get(node) != votes))
    remove = tuple(sorted(node for node in before if node not in voters))
    return VotersWanted(add=add, remove=remove, expected=current.voters) if add or remove else None


def config_to(config: QuorumConfig, log_index: int = 0) -> membership_pb2.QuorumConfig:
    """As ha-messaging takes it."""
    return membership_pb2.QuorumConfig(
        voters=[
            membership_pb2.QuorumConfig.Voter(node_id=node, votes=votes) for node, votes in config.voters
        ],
        two_node=config.two_node,
        wait_for_all=config.wait_for_all,
        tiebreak=config.tiebreak or 0,
        log_index=log_index,
        tiebreak_order=config.tiebreak_order,
        lms_window_ms=config.lms_window_ms,
        witness_votes=config.witness_votes,
        next=config_to(config.next) if config.next is not None else None,
    )
