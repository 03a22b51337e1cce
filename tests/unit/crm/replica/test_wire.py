"""Every message survives its way over the wire."""

from __future__ import annotations

import pytest

from crm.cib.model import element
from crm.cib.replication.basis import Basis
from crm.cib.replication.messages import Append, AppendReply, InstallSnapshot
from crm.cib.replication.model import Kind, LogEntry, LogRank, Snapshot, sealed
from crm.cib.versions import CibVersion
from crm.election.messages import Claim, ClaimReply, DcLost, DcLostReply, VoteReply, VoteRequest
from crm.replica import wire
from crm.replica.events import Outcome, WriteOutcome
from crm.replica.interface import Replica
from crm.replica.shell import ReplicaShell
from hacluster.errors import InvalidRequest
from hacluster.v1 import cib_pb2
from hacluster.vocabulary.ids import Term, ViewId

TERM, VIEW = Term(7, 2), ViewId(9, 1)
RANK = LogRank(admin_epoch=1, safe_term=Term(6, 3), safe_index=40, last_term=TERM, last_index=41)
VERSION = CibVersion(1, 2, 3)
CLAIM = Claim(
    node_id=3,
    view=VIEW,
    promised=TERM,
    rank=RANK,
    eligible=True,
    voter=True,
    blank=False,
    incumbent=True,
    dc_priority=-4,
    member_since=8,
    deposed=Term(5, 1),
    dc=Term(6, 1),
    version=VERSION,
)
ENTRY = sealed(
    b"\1" * 32,
    LogEntry(
        index=41,
        term=TERM,
        basis=Basis.ASSUMED,
        kind=Kind.PATCH,
        author="root@n1/hacli",
        request_id="r",
        digest_before="a",
        digest_after="b",
        version=VERSION,
        payload=b"\0\xff",
    ),
)


def test_election() -> None:
    assert wire.claim_from(wire.claim_to(CLAIM)) == CLAIM
    for reply in (ClaimReply(claim=CLAIM), ClaimReply(claim=None)):
        assert wire.claim_reply_from(wire.claim_reply_to(reply)) == reply
    request = VoteRequest(
        term=TERM,
        view=VIEW,
        boot_token="t" * 64,
        rank=RANK,
        caretaker=True,
        bootstrap=True,
        claimed=(1, 3),
    )
    assert wire.vote_request_from(wire.vote_request_to(request)) == request
    vote = VoteReply(term=TERM, granted=True, counts=False, promised=TERM, rank=RANK)
    assert wire.vote_reply_from(wire.vote_reply_to(vote)) == vote
    lost = DcLost(view=VIEW, term=TERM)
    assert wire.dc_lost_from(wire.dc_lost_to(lost)) == lost
    assert wire.dc_lost_reply_from(wire.dc_lost_reply_to(DcLostReply(term=TERM, agree=True))).agree


def test_log() -> None:
    append = Append(
        term=TERM,
        view=VIEW,
        boot_token="t" * 64,
        previous_index=40,
        previous_chain=b"\1" * 32,
        entries=(ENTRY,),
        commit_index=39,
        established=True,
        restores=9,
        aligned=True,
        basis="assumed",
        acts=True,
    )
    raw = wire.append_to(append).SerializeToString()
    assert wire.append_from(cib_pb2.AppendRequest.FromString(raw)) == append
    reply = AppendReply(
        term=TERM,
        stored=False,
        promised=TERM,
        last_index=41,
        hint=12,
        voter=True,
        rank=RANK,
        why="mismatch",
        version=VERSION,
    )
    assert wire.append_reply_from(wire.append_reply_to(reply)) == reply


def test_a_snapshot_of_several_pieces() -> None:
    big = element("configuration", {"text": "x" * (wire.CHUNK_BYTES + 5)})
    snapshot = Snapshot(
        index=41,
        term=TERM,
        chain=b"\2" * 32,
        safe_term=Term(6, 3),
        safe_index=40,
        version=VERSION,
        digest="d",
        content=big,
        requests=(("r", 41),),
    )
    install = InstallSnapshot(term=TERM, view=VIEW, boot_token="t" * 64, snapshot=snapshot, established=True)
    chunks = list(wire.snapshot_chunks(install))
    assert len(chunks) == 2
    assert wire.snapshot_from(chunks[0], b"".join(chunk.data for chunk in chunks)) == install
    with pytest.raises(InvalidRequest):
        wire.snapshot_from(chunks[0], chunks[0].data)


def test_outcomes() -> None:
    outcome = WriteOutcome(outcome=Outcome.UNKNOWN, reason="why", version=VERSION, digest="d")
    assert wire.outcome_from(wire.outcome_to(outcome)) == outcome


def test_an_entry_of_a_future_kind_is_refused_with_a_remedy() -> None:
    message = wire.entry_to(ENTRY)
    message.kind = "quantum"
    with pytest.raises(InvalidRequest, match="same version"):
        wire.entry_from(message)


def conforms(shell: ReplicaShell) -> Replica:
    """Not called: the type checker sees here that the shell is what the interface says."""
    return shell
