"""gRPC service CrmPeer: node certificates in, the replica's shell behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from crm.cib import codec, diff
from crm.cib.model import Element
from crm.cib.replication.messages import AppendReply
from crm.election.messages import ClaimReply, DcLostReply, VoteReply
from crm.replica import wire
from crm.replica.effects import Message
from crm.replica.open_writes import OpenWrites
from hacluster import rpc
from hacluster.errors import InvalidRequest, PermissionDenied
from hacluster.settings import Settings
from hacluster.v1 import cib_pb2, cib_pb2_grpc
from hacluster.wire import term_from

if TYPE_CHECKING:
    from crm.replica.shell import ReplicaShell

Answer = TypeVar("Answer", ClaimReply, VoteReply, AppendReply, DcLostReply)
Context = grpc.aio.ServicerContext[Any, Any]

SERVICE_NAME = "hacluster.v1.CrmPeer"


def register(server: rpc.Server, servicer: CrmPeerService) -> None:
    """Add the service to ha-crm's server (the one with mTLS)."""
    server.add(cib_pb2_grpc.add_CrmPeerServicer_to_server, servicer)


class CrmPeerService(cib_pb2_grpc.CrmPeerServicer):
    """Knows protobuf and who calls; decides nothing."""

    def __init__(self, shell: ReplicaShell, settings: Settings) -> None:
        self._shell = shell
        self._ids: Mapping[str, int] = {}
        self._streams: set[asyncio.Task[None]] = set()
        self._writes: set[OpenWrites] = set()
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Other nodes are configured: these may call from now on."""
        self._ids = {node.name: node.id for node in settings.nodes}

    def _peer(self, context: Context) -> int:
        """The calling node's id by its certificate."""
        return self._node(rpc.caller_of(context).names)

    def _node(self, names: tuple[str, ...]) -> int:
        for name in names:
            if name in self._ids:
                return self._ids[name]
        raise PermissionDenied(what="only the cluster's nodes call each other's ha-crm")

    async def _answer(self, peer: int, message: Message, kind: type[Answer]) -> Answer:
        reply = await self._shell.serve(peer, message)
        assert isinstance(reply, kind), f"{message} was answered with {reply}"
        return reply

    async def Claim(self, request: cib_pb2.ClaimMessage, context: Context) -> cib_pb2.ClaimReply:
        """See cib.proto."""
        reply = await self._answer(self._peer(context), wire.claim_from(request), ClaimReply)
        return wire.claim_reply_to(reply)

    async def Vote(self, request: cib_pb2.VoteRequest, context: Context) -> cib_pb2.VoteReply:
        """See cib.proto."""
        reply = await self._answer(self._peer(context), wire.vote_request_from(request), VoteReply)
        return wire.vote_reply_to(reply)

    async def Append(self, request: cib_pb2.AppendRequest, context: Context) -> cib_pb2.AppendReply:
        """See cib.proto."""
        reply = await self._answer(self._peer(context), wire.append_from(request), AppendReply)
        return wire.append_reply_to(reply)

    async def Appends(  # type: ignore[override]  # a coroutine that writes will do, its stub does not know
        self, request_iterator: AsyncIterator[cib_pb2.AppendRequest], context: Context
    ) -> None:
        """See cib.proto."""
        task = asyncio.create_task(self._appends(request_iterator, context), name="appends of the DC")
        self._streams.add(task)
        try:
            await asyncio.wait((task,))
        finally:
            self._streams.discard(task)
            task.cancel()
        if not task.cancelled():
            task.result()

    async def _appends(self, requests: AsyncIterator[cib_pb2.AppendRequest], context: Context) -> None:
        names = rpc.caller_of(context).names
        async for request in requests:
            peer, message = self._node(names), wire.append_from(request)
            if request.told:
                self._shell.told(peer, message)
                continue
            reply = await self._answer(peer, message, AppendReply)
            await context.write(wire.append_reply_to(reply))

    def end_streams(self) -> None:
        """This ha-crm stops: it would wait for calls that are open."""
        for task in self._streams:
            task.cancel()
        for writes in self._writes:
            writes.end()

    async def Snapshot(
        self, request_iterator: AsyncIterator[cib_pb2.SnapshotChunk], context: Context
    ) -> cib_pb2.AppendReply:
        """See cib.proto."""
        peer = self._peer(context)
        first: cib_pb2.SnapshotChunk | None = None
        parts: list[bytes] = []
        size = 0
        async for chunk in request_iterator:
            first = first or chunk
            size += len(chunk.data)
            if size > wire.SNAPSHOT_BYTES_MAX:
                raise InvalidRequest(what=f"a snapshot of more than {wire.SNAPSHOT_BYTES_MAX} bytes")
            parts.append(chunk.data)
        if first is None:
            raise InvalidRequest(what="a snapshot without a piece")
        reply = await self._answer(peer, wire.snapshot_from(first, b"".join(parts)), AppendReply)
        return wire.append_reply_to(reply)

    async def DcLost(self, request: cib_pb2.DcLostRequest, context: Context) -> cib_pb2.DcLostReply:
        """See cib.proto."""
        reply = await self._answer(self._peer(context), wire.dc_lost_from(request), DcLostReply)
        return wire.dc_lost_reply_to(reply)

    async def StatusUpdate(
        self, request: cib_pb2.StatusUpdateRequest, context: Context
    ) -> cib_pb2.StatusUpdateReply:
        """See cib.proto."""
        taken = self._shell.take_status(
            self._peer(context),
            term_from(request.term),
            wire.version_from(request.version),
            codec.parse(request.status_xml, source="status update"),
        )
        return cib_pb2.StatusUpdateReply(taken=taken)

    async def Write(self, request: cib_pb2.PeerWriteRequest, context: Context) -> cib_pb2.PeerWriteReply:
        """See cib.proto."""
        self._peer(context)
        return await self._write(request, codec.parse(request.configuration_xml, source="configuration"))

    async def Writes(  # type: ignore[override]  # as Appends
        self, request_iterator: AsyncIterator[cib_pb2.PeerWrites], context: Context
    ) -> None:
        """See cib.proto."""
        names = rpc.caller_of(context).names

        async def answer(write: cib_pb2.NumberedWrite) -> cib_pb2.NumberedAnswer:
            self._node(names)
            content = self._content(write)
            if content is None:
                return cib_pb2.NumberedAnswer(unknown_base=True)
            return cib_pb2.NumberedAnswer(reply=await self._write(write.request, content))

        writes = OpenWrites(answer, context.write)
        self._writes.add(writes)
        try:
            await writes.serve(request_iterator)
        finally:
            self._writes.discard(writes)

    def _content(self, write: cib_pb2.NumberedWrite) -> Element | None:
        """What is to be written; None when what it is a change of is not known here."""
        if not write.base_digest:
            return codec.parse(write.request.configuration_xml, source="configuration")
        base = self._shell.recent.get(write.base_digest)
        if base is None:
            return None
        patch = diff.decode(write.patch, base=write.base_digest, result="")
        return diff.apply(base, patch, base_known=True)

    async def _write(self, request: cib_pb2.PeerWriteRequest, content: Element) -> cib_pb2.PeerWriteReply:
        outcome = await self._shell.write_here(
            term_from(request.term),
            content,
            author=request.author,
            request_id=request.request_id,
            expected_digest=request.expected_digest,
            force=request.force,
            deadline_ms=request.deadline_ms,
        )
        return wire.outcome_to(outcome)

    async def Outcome(self, request: cib_pb2.PeerOutcomeRequest, context: Context) -> cib_pb2.PeerWriteReply:
        """See cib.proto."""
        self._peer(context)
        outcome = await self._shell.outcome_here(term_from(request.term), request.request_id)
        return wire.outcome_to(outcome)

    async def ForceQuorum(
        self, request: cib_pb2.PeerForceRequest, context: Context
    ) -> cib_pb2.PeerWriteReply:
        """See cib.proto."""
        self._peer(context)
        outcome = await self._shell.force_here(term_from(request.term), request.author)
        return wire.outcome_to(outcome)

    async def Forward(self, request: cib_pb2.ForwardRequest, context: Context) -> cib_pb2.ForwardReply:
        """See cib.proto."""
        self._peer(context)
        reply = await self._shell.forward_here(
            term_from(request.term), request.method, request.request, request.user, request.client
        )
        return cib_pb2.ForwardReply(reply=reply)
