"""cib.proto's messages to and from the replica's values. Raises InvalidRequest for what cannot be one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crm.cib.replication.basis import Basis
from crm.cib.replication.codec import decode_snapshot, encode_snapshot
from crm.cib.replication.messages import Append, AppendReply, InstallSnapshot
from crm.cib.replication.model import Kind, LogEntry, LogRank
from crm.cib.versions import CibVersion
from crm.election.messages import Claim, ClaimReply, DcLost, DcLostReply, VoteReply, VoteRequest
from crm.replica.events import Outcome, WriteOutcome
from hacluster.errors import InvalidRequest
from hacluster.v1 import cib_pb2
from hacluster.wire import term_from, term_to
from hacluster.wire import view_id_from as view_from
from hacluster.wire import view_id_to as view_to

CHUNK_BYTES: Final = 1024 * 1024
SNAPSHOT_BYTES_MAX: Final = 64 * 1024 * 1024


def version_to(version: CibVersion) -> cib_pb2.Version:
    """A version triple."""
    return cib_pb2.Version(
        admin_epoch=version.admin_epoch, epoch=version.epoch, num_updates=version.num_updates
    )


def version_from(message: cib_pb2.Version) -> CibVersion:
    """A version triple."""
    return CibVersion(message.admin_epoch, message.epoch, message.num_updates)


def rank_to(rank: LogRank) -> cib_pb2.LogRank:
    """A log's rank."""
    return cib_pb2.LogRank(
        admin_epoch=rank.admin_epoch,
        safe_term=term_to(rank.safe_term),
        safe_index=rank.safe_index,
        last_term=term_to(rank.last_term),
        last_index=rank.last_index,
    )


def rank_from(message: cib_pb2.LogRank) -> LogRank:
    """A log's rank."""
    return LogRank(
        admin_epoch=message.admin_epoch,
        safe_term=term_from(message.safe_term),
        safe_index=message.safe_index,
        last_term=term_from(message.last_term),
        last_index=message.last_index,
    )


def claim_to(claim: Claim) -> cib_pb2.ClaimMessage:
    """A claim."""
    return cib_pb2.ClaimMessage(
        node_id=claim.node_id,
        view=view_to(claim.view),
        promised=term_to(claim.promised),
        rank=rank_to(claim.rank),
        feature_set=claim.feature_set,
        eligible=claim.eligible,
        incumbent=claim.incumbent,
        dc_priority=claim.dc_priority,
        member_since=claim.member_since,
        voter=claim.voter,
        blank=claim.blank,
        deposed=term_to(claim.deposed),
        dc=term_to(claim.dc),
        version=version_to(claim.version),
    )


def claim_from(message: cib_pb2.ClaimMessage) -> Claim:
    """A claim."""
    return Claim(
        node_id=message.node_id,
        view=view_from(message.view),
        promised=term_from(message.promised),
        rank=rank_from(message.rank),
        eligible=message.eligible,
        voter=message.voter,
        blank=message.blank,
        incumbent=message.incumbent,
        feature_set=message.feature_set,
        dc_priority=message.dc_priority,
        member_since=message.member_since,
        deposed=term_from(message.deposed),
        dc=term_from(message.dc),
        version=version_from(message.version),
    )


def claim_reply_to(reply: ClaimReply) -> cib_pb2.ClaimReply:
    """The answer to a claim."""
    return cib_pb2.ClaimReply(claim=claim_to(reply.claim)) if reply.claim else cib_pb2.ClaimReply()


def claim_reply_from(message: cib_pb2.ClaimReply) -> ClaimReply:
    """The answer to a claim."""
    return ClaimReply(claim=claim_from(message.claim) if message.HasField("claim") else None)


def vote_request_to(request: VoteRequest) -> cib_pb2.VoteRequest:
    """A request for a vote."""
    return cib_pb2.VoteRequest(
        term=term_to(request.term),
        view=view_to(request.view),
        boot_token=request.boot_token,
        rank=rank_to(request.rank),
        caretaker=request.caretaker,
        bootstrap=request.bootstrap,
        claimed=request.claimed,
    )


def vote_request_from(message: cib_pb2.VoteRequest) -> VoteRequest:
    """A request for a vote."""
    return VoteRequest(
        term=term_from(message.term),
        view=view_from(message.view),
        boot_token=message.boot_token,
        rank=rank_from(message.rank),
        caretaker=message.caretaker,
        bootstrap=message.bootstrap,
        claimed=tuple(message.claimed),
    )


def vote_reply_to(reply: VoteReply) -> cib_pb2.VoteReply:
    """A vote."""
    return cib_pb2.VoteReply(
        term=term_to(reply.term),
        granted=reply.granted,
        counts=reply.counts,
        promised=term_to(reply.promised),
        rank=rank_to(reply.rank),
    )


def vote_reply_from(message: cib_pb2.VoteReply) -> VoteReply:
    """A vote."""
    return VoteReply(
        term=term_from(message.term),
        granted=message.granted,
        counts=message.counts,
        promised=term_from(message.promised),
        rank=rank_from(message.rank),
    )


def entry_to(entry: LogEntry) -> cib_pb2.LogEntry:
    """An entry of the log."""
    return cib_pb2.LogEntry(
        index=entry.index,
        term=term_to(entry.term),
        basis=entry.basis.value,
        kind=entry.kind.value,
        author=entry.author,
        request_id=entry.request_id,
        digest_before=entry.digest_before,
        digest_after=entry.digest_after,
        version=version_to(entry.version),
        payload=entry.payload,
        chain=entry.chain,
    )


def entry_from(message: cib_pb2.LogEntry) -> LogEntry:
    """An entry of the log."""
    try:
        basis, kind = Basis(message.basis), Kind(message.kind)
    except ValueError as error:
        remedy = "bring all nodes to the same version of hacluster"
        raise InvalidRequest(what=f"log entry {message.index}: {error}", remedy=remedy) from None
    return LogEntry(
        index=message.index,
        term=term_from(message.term),
        basis=basis,
        kind=kind,
        author=message.author,
        request_id=message.request_id,
        digest_before=message.digest_before,
        digest_after=message.digest_after,
        version=version_from(message.version),
        payload=message.payload,
        chain=message.chain,
    )


def append_to(append: Append, *, told: bool = False) -> cib_pb2.AppendRequest:
    """Entries, or a keepalive. `told`: it is not to be answered."""
    return cib_pb2.AppendRequest(
        term=term_to(append.term),
        view=view_to(append.view),
        boot_token=append.boot_token,
        previous_index=append.previous_index,
        previous_chain=append.previous_chain,
        entries=[entry_to(entry) for entry in append.entries],
        commit_index=append.commit_index,
        established=append.established,
        restores=append.restores,
        aligned=append.aligned,
        basis=append.basis,
        acts=append.acts,
        told=told,
    )


def append_from(message: cib_pb2.AppendRequest) -> Append:
    """Entries, or a keepalive."""
    return Append(
        term=term_from(message.term),
        view=view_from(message.view),
        boot_token=message.boot_token,
        previous_index=message.previous_index,
        previous_chain=message.previous_chain,
        entries=tuple(entry_from(entry) for entry in message.entries),
        commit_index=message.commit_index,
        established=message.established,
        restores=message.restores,
        aligned=message.aligned,
        basis=message.basis,
        acts=message.acts,
    )


def append_reply_to(reply: AppendReply) -> cib_pb2.AppendReply:
    """The answer to entries or a snapshot."""
    return cib_pb2.AppendReply(
        term=term_to(reply.term),
        stored=reply.stored,
        promised=term_to(reply.promised),
        last_index=reply.last_index,
        hint=reply.hint,
        voter=reply.voter,
        rank=rank_to(reply.rank),
        why=reply.why,
        version=version_to(reply.version),
        instance=reply.instance,
    )


def append_reply_from(message: cib_pb2.AppendReply) -> AppendReply:
    """The answer to entries or a snapshot."""
    return AppendReply(
        term=term_from(message.term),
        stored=message.stored,
        promised=term_from(message.promised),
        last_index=message.last_index,
        hint=message.hint,
        voter=message.voter,
        rank=rank_from(message.rank),
        why=message.why,
        version=version_from(message.version),
        instance=message.instance,
    )


def snapshot_chunks(install: InstallSnapshot) -> Iterator[cib_pb2.SnapshotChunk]:
    """A snapshot in pieces."""
    data = encode_snapshot(install.snapshot)
    for at in range(0, len(data), CHUNK_BYTES):
        chunk = cib_pb2.SnapshotChunk(data=data[at : at + CHUNK_BYTES])
        if at == 0:
            chunk.term.CopyFrom(term_to(install.term))
            chunk.view.CopyFrom(view_to(install.view))
            chunk.boot_token = install.boot_token
            chunk.established = install.established
        yield chunk


def snapshot_from(first: cib_pb2.SnapshotChunk, data: bytes) -> InstallSnapshot:
    """A snapshot from its first piece and all data."""
    try:
        snapshot = decode_snapshot(data)
    except ValueError as error:
        raise InvalidRequest(what=str(error)) from None
    return InstallSnapshot(
        term=term_from(first.term),
        view=view_from(first.view),
        boot_token=first.boot_token,
        snapshot=snapshot,
        established=first.established,
    )


def dc_lost_to(message: DcLost) -> cib_pb2.DcLostRequest:
    """The DC is silent."""
    return cib_pb2.DcLostRequest(view=view_to(message.view), term=term_to(message.term))


def dc_lost_from(message: cib_pb2.DcLostRequest) -> DcLost:
    """The DC is silent."""
    return DcLost(view=view_from(message.view), term=term_from(message.term))


def dc_lost_reply_to(reply: DcLostReply) -> cib_pb2.DcLostReply:
    """For us too, or not."""
    return cib_pb2.DcLostReply(term=term_to(reply.term), agree=reply.agree)


def dc_lost_reply_from(message: cib_pb2.DcLostReply) -> DcLostReply:
    """For us too, or not."""
    return DcLostReply(term=term_from(message.term), agree=message.agree)


def outcome_to(outcome: WriteOutcome) -> cib_pb2.PeerWriteReply:
    """What became of a write."""
    return cib_pb2.PeerWriteReply(
        outcome=outcome.outcome.value,
        reason=outcome.reason,
        version=version_to(outcome.version),
        digest=outcome.digest,
    )


def outcome_from(message: cib_pb2.PeerWriteReply) -> WriteOutcome:
    """What became of a write."""
    return WriteOutcome(
        outcome=Outcome(message.outcome),
        reason=message.reason,
        version=version_from(message.version),
        digest=message.digest,
    )
