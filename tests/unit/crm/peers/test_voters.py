"""The voters between the log and ha-messaging: what goes down, and what comes up and becomes a change."""

from __future__ import annotations

import asyncio

from crm.cib.replication.voters import VotersWanted
from crm.peers import voters
from crm.peers.voters import VotersKeeper, config_to, wanted_for
from crm.replica.events import DcState, Outcome, VotersCommitted, WriteOutcome
from hacluster.errors import Unavailable
from hacluster.v1 import membership_pb2
from hacluster.vocabulary.ids import NodeId, Term
from hacluster.vocabulary.membership import QuorumConfig
from messaging.wire import quorum_from


def config_of(*ids: int, **more: object) -> QuorumConfig:
    return QuorumConfig(voters=tuple((NodeId(node), 1) for node in ids), **more)  # type: ignore[arg-type]


class FakeReplica:
    """A DC that does what it is asked."""

    def __init__(self, config: QuorumConfig, *, is_me: bool = True) -> None:
        self.config = config
        self.dc = DcState(term=Term(1, 1), is_me=is_me, established=is_me)
        self.asked: list[VotersWanted] = []
        self.done = asyncio.Event()

    def voters(self) -> tuple[int, QuorumConfig, tuple[int, ...]]:
        return 2, self.config, ()

    async def change_voters(
        self, term: Term, wanted: VotersWanted, *, author: str, request_id: str, deadline_ms: int
    ) -> WriteOutcome:
        assert (term, author) == (self.dc.term, "last_man_standing")
        self.asked.append(wanted)
        self.config = wanted.among(self.config, self.config)
        self.done.set()
        return WriteOutcome(outcome=Outcome.OK)


def test_what_ha_messaging_is_told_it_reads_back() -> None:
    config = config_of(1, 2, tiebreak=NodeId(2), tiebreak_order=(NodeId(2),), next=config_of(1))
    read = quorum_from(config_to(config, 7))
    assert (read.config, read.log_index) == (config, 7)


async def test_a_configuration_is_told_until_it_is_taken(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(voters, "RETRY_S", 0)
    told: list[int] = []
    taken = asyncio.Event()

    async def tell(config: membership_pb2.QuorumConfig) -> None:
        told.append(config.log_index)
        if len(told) == 1:
            raise Unavailable(why="ha-messaging starts")
        taken.set()

    keeper = VotersKeeper(FakeReplica(config_of(1)), tell)
    task = asyncio.create_task(keeper.run())
    keeper.committed(VotersCommitted(config_of(1, 2), 5))
    async with asyncio.timeout(5):
        await taken.wait()
    task.cancel()
    assert told == [5, 5]


async def test_the_dc_makes_a_change_of_what_is_suggested(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(voters, "LOOK_S", 0)

    async def tell(config: membership_pb2.QuorumConfig) -> None:
        raise AssertionError("nothing was committed")

    replica = FakeReplica(config_of(1, 2, 3))
    keeper = VotersKeeper(replica, tell)
    keeper.suggested(config_to(config_of(1, 2)))
    task = asyncio.create_task(keeper.run())
    async with asyncio.timeout(5):
        await replica.done.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    assert [(wanted.add, wanted.remove) for wanted in replica.asked] == [((), (3,))], "once"


def test_who_comes_and_who_goes() -> None:
    current = config_of(1, 2, 3)
    assert wanted_for(current, {NodeId(1): 1, NodeId(2): 1, NodeId(3): 1}) is None
    wanted = wanted_for(current, {NodeId(1): 1, NodeId(4): 2})
    assert wanted is not None
    assert (wanted.add, wanted.remove, wanted.expected) == (((4, 2),), (2, 3), current.voters)
