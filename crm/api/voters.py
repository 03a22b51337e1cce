"""The voters as clients see and change them: crm.proto's messages to and from the log's values."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from crm.cib.replication.voters import Voters, VotersWanted
from crm.replica.events import WriteOutcome
from crm.replica.interface import Replica
from hacluster.errors import InvalidRequest
from hacluster.v1 import crm_pb2
from hacluster.vocabulary.ids import NodeId
from hacluster.vocabulary.membership import QuorumConfig

CHANGE_DEADLINE_MS: Final = 10_000
NODE_MAX: Final = 65_534
VOTES_MAX: Final = 1_000


def voters_reply(replica: Replica) -> crm_pb2.VotersReply:
    """As the DC knows them."""
    index, config, in_sync = replica.voters()
    return crm_pb2.VotersReply(
        voters=_voters_to(config),
        next=_voters_to(config.next) if config.next is not None else (),
        log_index=index,
        in_sync=in_sync,
        two_node=config.two_node,
        witness_votes=config.witness_votes,
        wait_for_all=config.wait_for_all,
    )


async def change_voters(
    replica: Replica, request: crm_pb2.ChangeVotersRequest, user: str
) -> tuple[WriteOutcome, str]:
    """At the DC: the outcome and the request id. Raises InvalidRequest, and NoDc when it is DC no more."""
    wanted = VotersWanted(
        add=_voters_from(request.add),
        remove=tuple(sorted(set(request.remove))),
        expected=_voters_from(request.expected),
        rules=request.rules,
        two_node=True,
    )
    request_id = request.request_id or secrets.token_hex(16)
    outcome = await replica.change_voters(
        replica.dc.term,
        wanted,
        author=user,
        request_id=request_id,
        deadline_ms=request.deadline_ms or CHANGE_DEADLINE_MS,
    )
    return outcome, request_id


def _voters_to(config: QuorumConfig) -> list[crm_pb2.Voter]:
    return [crm_pb2.Voter(node_id=node, votes=votes) for node, votes in sorted(config.voters)]


def _voters_from(messages: Sequence[crm_pb2.Voter]) -> Voters:
    voters = {NodeId(message.node_id): message.votes for message in messages}
    if len(voters) != len(messages):
        raise InvalidRequest(what="a voter is named twice")
    for node, votes in voters.items():
        if not 0 < node <= NODE_MAX or not 0 < votes <= VOTES_MAX:
            what = f"node {node} with {votes} votes: ids go to {NODE_MAX}, votes from 1 to {VOTES_MAX}"
            raise InvalidRequest(what=what)
    return tuple(sorted(voters.items()))
