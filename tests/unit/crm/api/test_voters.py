"""The voters as clients see and change them."""

from __future__ import annotations

import pytest

from crm.api.voters import change_voters, voters_reply
from crm.cib.replication.voters import VotersWanted
from crm.replica.events import DcState, Outcome, WriteOutcome
from hacluster.errors import InvalidRequest
from hacluster.v1 import crm_pb2
from hacluster.vocabulary.ids import NodeId, Term
from hacluster.vocabulary.membership import QuorumConfig


class FakeReplica:
    """Answers OK and remembers what it was asked."""

    def __init__(self) -> None:
        self.dc = DcState(term=Term(3, 1), is_me=True, established=True)
        self.asked: list[tuple[Term, VotersWanted, str, str, int]] = []

    def voters(self) -> tuple[int, QuorumConfig, tuple[int, ...]]:
        coming = QuorumConfig(voters=((NodeId(1), 1), (NodeId(3), 1)))
        config = QuorumConfig(voters=((NodeId(2), 2), (NodeId(1), 1)), witness_votes=1, next=coming)
        return 7, config, (1, 3)

    async def change_voters(
        self, term: Term, wanted: VotersWanted, *, author: str, request_id: str, deadline_ms: int
    ) -> WriteOutcome:
        self.asked.append((term, wanted, author, request_id, deadline_ms))
        return WriteOutcome(outcome=Outcome.OK)


def test_what_a_client_is_told() -> None:
    reply = voters_reply(FakeReplica())  # type: ignore[arg-type]
    assert [(voter.node_id, voter.votes) for voter in reply.voters] == [(1, 1), (2, 2)]
    assert [(voter.node_id, voter.votes) for voter in reply.next] == [(1, 1), (3, 1)]
    assert (reply.log_index, list(reply.in_sync), reply.witness_votes) == (7, [1, 3], 1)


async def test_a_change_is_handed_on_with_its_term() -> None:
    replica = FakeReplica()
    request = crm_pb2.ChangeVotersRequest(
        request_id="r",
        add=[crm_pb2.Voter(node_id=4, votes=2)],
        remove=[3, 2, 3],
        expected=[crm_pb2.Voter(node_id=1, votes=1)],
        rules=True,
    )
    outcome, request_id = await change_voters(replica, request, "root")  # type: ignore[arg-type]
    wanted = VotersWanted(
        add=((NodeId(4), 2),), remove=(2, 3), expected=((NodeId(1), 1),), rules=True, two_node=True
    )
    assert (outcome.outcome, request_id) == (Outcome.OK, "r")
    assert replica.asked == [(Term(3, 1), wanted, "root", "r", 10_000)]


@pytest.mark.parametrize(
    ("node", "votes", "times"), [(0, 1, 1), (65_535, 1, 1), (1, 0, 1), (1, 1_001, 1), (1, 1, 2)]
)
async def test_voters_that_cannot_be_are_refused(node: int, votes: int, times: int) -> None:
    replica = FakeReplica()
    request = crm_pb2.ChangeVotersRequest(add=[crm_pb2.Voter(node_id=node, votes=votes)] * times)
    with pytest.raises(InvalidRequest):
        await change_voters(replica, request, "root")  # type: ignore[arg-type]
    assert replica.asked == []
