"""gRPC client to the other nodes' ha-crm: election, log, status, and what only the DC can answer.

One channel a node, over the first of its addresses that answers; deadlines are short, because a call that
hangs must not hold up an election. Broken connections are taken up again after 100 ms to 1 s by gRPC itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

import grpc

from crm.cib.model import Element
from crm.cib.replication.messages import Append, AppendReply, InstallSnapshot
from crm.cib.versions import CibVersion
from crm.election.messages import Claim, ClaimReply, DcLost, DcLostReply, VoteReply, VoteRequest
from crm.peers.appends import AppendStream
from crm.peers.writes import WriteStream
from crm.replica import wire
from crm.replica.effects import Message
from crm.replica.events import WriteOutcome
from crm.replica.recent import Known
from hacluster import rpc
from hacluster.errors import Timeout, Unreachable
from hacluster.settings import Settings
from hacluster.tls import ReloadingChannel, TlsFolder
from hacluster.v1 import cib_pb2, cib_pb2_grpc
from hacluster.vocabulary.ids import Term, ViewId
from hacluster.wire import term_to, view_id_to

ELECTION_MS: Final = 500
APPEND_MS: Final = 2_000
SNAPSHOT_MS: Final = 30_000
STATUS_MS: Final = 2_000
FORWARD_MS: Final = 60_000


@dataclass(slots=True)
class _Node:
    """The channel in use, and which of the node's addresses it goes to."""

    name: str
    addresses: tuple[str, ...]
    current: int = 0
    channel: grpc.aio.Channel | None = None
    stub: cib_pb2_grpc.CrmPeerStub | None = None  # of the channel: to make one costs as much as half a call
    appends: AppendStream | None = None  # of the channel, too
    writes: WriteStream | None = None


class GrpcCrmPeers:
    """CrmPeers over mTLS. `ports` may name another port than the settings' for a node (tests)."""

    def __init__(
        self,
        settings: Settings,
        tls: rpc.Tls | TlsFolder,
        me: int,
        *,
        ports: Mapping[int, int] | None = None,
    ) -> None:
        self._port = settings.ports.crm
        self._ports = dict(ports or {})
        self._keepalive_ms = max(settings.timers.deadtime_ms // 2, 100)
        self._tls = tls
        self.claimed: Callable[[int, Claim], None] = lambda _peer, _claim: None  # also says it another way
        self._me = me
        self._nodes: dict[int, _Node] = {}
        self.use(settings)

    def use(self, settings: Settings) -> tuple[grpc.aio.Channel, ...]:
        """Other nodes are configured. The channels to those that are gone: to be closed."""
        before = self._nodes
        self._nodes = {
            int(node.id): before.get(int(node.id)) or _Node(node.name, node.addresses)
            for node in settings.nodes
            if node.id != self._me
        }
        gone = (node.channel for number, node in before.items() if number not in self._nodes)
        return tuple(channel for channel in gone if channel is not None)

    async def close(self) -> None:
        """Close all channels."""
        for node in self._nodes.values():
            if node.channel is not None:
                await node.channel.close()
                node.channel = node.stub = node.appends = node.writes = None

    def _stub(self, peer: int) -> cib_pb2_grpc.CrmPeerStub:
        node = self._nodes.get(peer)
        if node is None:
            raise Unreachable(who=f"node {peer}", remedy="it is not in cluster.toml")
        if node.channel is None or node.stub is None:
            node.channel = self._channel(peer, node)
            node.stub = cib_pb2_grpc.CrmPeerStub(node.channel)
            node.appends = AppendStream(f"ha-crm on {node.name}", self._generation)
            node.writes = WriteStream(f"ha-crm on {node.name}", self._generation)
        return node.stub

    def _generation(self) -> int:
        return self._tls.generation if isinstance(self._tls, TlsFolder) else 0

    def _channel(self, peer: int, node: _Node) -> grpc.aio.Channel:
        def make(tls: rpc.Tls) -> grpc.aio.Channel:
            return rpc.tcp_channel(
                node.addresses[node.current % len(node.addresses)],
                self._ports.get(peer, self._port),
                tls,
                server_name=node.name,
                keepalive_ms=self._keepalive_ms,
            )

        return ReloadingChannel(self._tls, make) if isinstance(self._tls, TlsFolder) else make(self._tls)

    async def _call(
        self,
        peer: int,
        method: Callable[[cib_pb2_grpc.CrmPeerStub], object],
        request: object,
        timeout_ms: int,
    ) -> object:
        stub = self._stub(peer)
        node = self._nodes[peer]
        try:
            return await rpc.call(method(stub), request, timeout_ms=timeout_ms, who=f"ha-crm on {node.name}")
        except (Unreachable, Timeout):
            await self._next_address(node, stub)
            raise

    async def _append(self, peer: int, request: cib_pb2.AppendRequest) -> cib_pb2.AppendReply:
        stub = self._stub(peer)
        node = self._nodes[peer]
        assert node.appends is not None
        try:
            return await node.appends.exchange(stub, request, APPEND_MS)
        except (Unreachable, Timeout):
            await self._next_address(node, stub)
            raise

    async def tell(self, peer: int, message: Append) -> None:
        """What needs no answer."""
        node = self._nodes.get(peer)
        if node is not None and node.appends is not None and node.stub is not None:
            await node.appends.tell(node.stub, wire.append_to(message, told=True), APPEND_MS)

    async def _next_address(self, node: _Node, stub: cib_pb2_grpc.CrmPeerStub) -> None:
        """With several links: try the next address from the next call on, unless another call has said so."""
        if len(node.addresses) > 1 and node.channel is not None and node.stub is stub:
            channel = node.channel
            node.channel = node.stub = node.appends = node.writes = None
            node.current += 1
            await channel.close(grace=0.1)

    # -- election and log

    async def exchange(self, peer: int, message: Message) -> Message:
        """One request and its answer."""
        match message:
            case Claim():
                self.claimed(peer, message)
                request = wire.claim_to(message)
                claim = await self._call(peer, lambda stub: stub.Claim, request, ELECTION_MS)
                assert isinstance(claim, cib_pb2.ClaimReply)
                return wire.claim_reply_from(claim)
            case VoteRequest():
                asked = wire.vote_request_to(message)
                vote = await self._call(peer, lambda stub: stub.Vote, asked, ELECTION_MS)
                assert isinstance(vote, cib_pb2.VoteReply)
                return wire.vote_reply_from(vote)
            case Append():
                return wire.append_reply_from(await self._append(peer, wire.append_to(message)))
            case InstallSnapshot():
                chunks = wire.snapshot_chunks(message)
                taken = await self._call(peer, lambda stub: stub.Snapshot, chunks, SNAPSHOT_MS)
                assert isinstance(taken, cib_pb2.AppendReply)
                return wire.append_reply_from(taken)
            case DcLost():
                silent = wire.dc_lost_to(message)
                lost = await self._call(peer, lambda stub: stub.DcLost, silent, ELECTION_MS)
                assert isinstance(lost, cib_pb2.DcLostReply)
                return wire.dc_lost_reply_from(lost)
            case ClaimReply() | VoteReply() | AppendReply() | DcLostReply():
                raise AssertionError("an answer is not a request")
            case _:
                assert_never(message)

    # -- for the DC

    async def write(
        self,
        peer: int,
        term: Term,
        configuration: Element,
        *,
        author: str,
        request_id: str,
        expected_digest: str,
        force: bool,
        deadline_ms: int,
        base: Known | None = None,
    ) -> WriteOutcome:
        """A client's write; of `base`, where the DC has it, only what is changed is sent."""
        stub = self._stub(peer)
        node = self._nodes[peer]
        assert node.writes is not None
        request = cib_pb2.PeerWriteRequest(
            term=term_to(term),
            author=author,
            request_id=request_id,
            expected_digest=expected_digest,
            force=force,
            deadline_ms=deadline_ms,
        )
        try:
            return wire.outcome_from(await node.writes.write(stub, request, configuration, base))
        except (Unreachable, Timeout):
            await self._next_address(node, stub)
            raise

    async def outcome_of(self, peer: int, term: Term, request_id: str) -> WriteOutcome:
        """What became of a write."""
        request = cib_pb2.PeerOutcomeRequest(term=term_to(term), request_id=request_id)
        return await self._outcome(peer, lambda stub: stub.Outcome, request, APPEND_MS)

    async def force_quorum(self, peer: int, term: Term, author: str) -> WriteOutcome:
        """The operator's decree."""
        request = cib_pb2.PeerForceRequest(term=term_to(term), author=author)
        return await self._outcome(peer, lambda stub: stub.ForceQuorum, request, FORWARD_MS)

    async def _outcome(
        self,
        peer: int,
        method: Callable[[cib_pb2_grpc.CrmPeerStub], object],
        request: object,
        timeout_ms: int,
    ) -> WriteOutcome:
        reply = await self._call(peer, method, request, timeout_ms)
        assert isinstance(reply, cib_pb2.PeerWriteReply)
        return wire.outcome_from(reply)

    async def forward(
        self, peer: int, term: Term, method: str, request: bytes, user: str, client: str
    ) -> bytes:
        """A client's request."""
        message = cib_pb2.ForwardRequest(
            method=method, request=request, user=user, client=client, term=term_to(term)
        )
        reply = await self._call(peer, lambda stub: stub.Forward, message, FORWARD_MS)
        assert isinstance(reply, cib_pb2.ForwardReply)
        return reply.reply

    async def send_status(
        self, peer: int, term: Term, view: ViewId, version: CibVersion, status: bytes
    ) -> bool:
        """The status section."""
        request = cib_pb2.StatusUpdateRequest(
            term=term_to(term),
            view=view_id_to(view),
            version=wire.version_to(version),
            status_xml=status,
        )
        reply = await self._call(peer, lambda stub: stub.StatusUpdate, request, STATUS_MS)
        assert isinstance(reply, cib_pb2.StatusUpdateReply)
        return reply.taken
