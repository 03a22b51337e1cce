"""The client of ha-crm's API, here or on another machine: plain calls in, plain values out.

The wire code is async; hacli is not. Each call runs on an event loop of the client's own.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc

from hacluster.errors import (
    ErrorCode,
    HaError,
    InvalidRequest,
    NoQuorum,
    PermissionDenied,
    Timeout,
    Unreachable,
)
from hacluster.paths import Paths
from hacluster.rpc import call, error_of, unix_channel
from hacluster.v1 import common_pb2, crm_pb2, crm_pb2_grpc, membership_pb2

if TYPE_CHECKING:
    from cli.afar import Server

CALL_MS: Final = 10_000
WRITE_MS: Final = 30_000
OUTCOME_PAUSE_S: Final = 0.5
DC_WITHIN_S: Final = 5.0  # as long as an election may take

READS: Final[Mapping[str, crm_pb2.QueryCibRequest.Read.ValueType]] = {
    "": crm_pb2.QueryCibRequest.READ_ANY,
    "local": crm_pb2.QueryCibRequest.READ_ANY,
    "dc": crm_pb2.QueryCibRequest.READ_DC,
    "quorum": crm_pb2.QueryCibRequest.READ_QUORUM,
}

_Value = TypeVar("_Value")


async def _following(stream: AsyncIterator[_Value]) -> _Value:
    return await anext(stream)


class Client:
    """One connection, made at the first call. `close` it."""

    def __init__(self, paths: Paths, server: Server | None = None) -> None:
        """`server`: another machine's ha-crm."""
        self._paths, self._server = paths, server
        self._runner: asyncio.Runner | None = None
        self._channel: grpc.aio.Channel | None = None

    @property
    def who(self) -> str:
        """The other side, for messages."""
        return str(self._server or f"ha-crm at {self._paths.crm_socket}")

    def close(self) -> None:
        """Close the connection and the loop; harmless when there is none."""
        runner, channel = self._runner, self._channel
        self._runner = self._channel = None
        if runner is not None:
            if channel is not None:
                runner.run(channel.close())
            runner.close()

    def query_cib(self, read: str = "") -> crm_pb2.QueryCibReply:
        """The whole CIB. `read`: one of READS; empty: the DC's, or this node's copy when there is none.

        Raises NoDc, NoQuorum, Unavailable when it cannot be read so.
        """
        request = crm_pb2.QueryCibRequest(local=read == "local", read=READS[read])
        reply: crm_pb2.QueryCibReply = self._call("QueryCib", request)
        provisional = read == "dc" and reply.reason
        if request.read and not reply.certain and not provisional:
            raise NoQuorum(why="the DC is of a release that cannot vouch for what it reads")
        return reply

    def status(self, *, timeout_ms: int = CALL_MS) -> crm_pb2.ClusterStatus:
        """Nodes, DC, quorum, transition, notices, and the whole CIB."""
        reply: crm_pb2.ClusterStatus = self._call(
            "Status", crm_pb2.ClusterStatusRequest(), timeout_ms=timeout_ms
        )
        return reply

    def dc(self) -> str:
        """The DC's name once it is one of the members; empty when an election takes too long."""
        end = time.monotonic() + DC_WITHIN_S
        while True:
            status = self.status()
            if any(node.name == status.dc and node.state == "member" for node in status.nodes):
                return status.dc
            if time.monotonic() > end:
                return ""
            time.sleep(OUTCOME_PAUSE_S)

    def write_cib(
        self, configuration: bytes, expected_digest: str, client: str, *, force: bool
    ) -> crm_pb2.WriteReply:
        """Write, and find out what became of it when the first answer is not final.

        The reply's outcome is OK or FAILED; Timeout is raised when it stays unknown.
        """
        request = crm_pb2.WriteCibRequest(
            request_id=uuid.uuid4().hex,
            configuration_xml=configuration,
            expected_digest=expected_digest,
            client=client,
            force=force,
            deadline_ms=WRITE_MS,
        )
        return self._run(self._write("WriteCib", request))

    def set_ticket(self, name: str, action: str, client: str) -> crm_pb2.WriteReply:
        """Grant a ticket, revoke it and so on; the reply as that of `write_cib`."""
        request = crm_pb2.SetTicketRequest(
            ticket=name, action=action, client=client, request_id=uuid.uuid4().hex
        )
        return self._run(self._write("SetTicket", request))

    async def _write(
        self, method: str, request: crm_pb2.WriteCibRequest | crm_pb2.SetTicketRequest
    ) -> crm_pb2.WriteReply:
        stub = self._stub()
        loop = asyncio.get_running_loop()
        end = loop.time() + 2 * WRITE_MS / 1_000
        reply: crm_pb2.WriteReply | None = None
        try:
            reply = await call(getattr(stub, method), request, timeout_ms=WRITE_MS + 2_000, who=self.who)
        except Timeout:
            reply = None
        except Unreachable as error:
            # Before anything was sent this is final; afterwards the outcome has to be asked for.
            raise self._explained(error) from None
        while reply is None or reply.outcome == crm_pb2.WriteReply.OUTCOME_UNKNOWN:
            if loop.time() > end:
                raise Timeout(what=f"the write {request.request_id}", after_ms=2 * WRITE_MS)
            await asyncio.sleep(OUTCOME_PAUSE_S)
            question = crm_pb2.WriteOutcomeRequest(request_id=request.request_id)
            try:
                reply = await call(stub.WriteOutcome, question, timeout_ms=CALL_MS, who=self.who)
            except HaError as error:
                if error.code not in (
                    ErrorCode.NO_DC,
                    ErrorCode.UNREACHABLE,
                    ErrorCode.TIMEOUT,
                    ErrorCode.UNAVAILABLE,
                ):
                    raise
        return reply

    def set_attribute(self, node: str, name: str, value: str) -> None:
        """Set a transient attribute; an empty value removes it."""
        self._call("SetAttribute", crm_pb2.SetAttributeRequest(node=node, name=name, value=value))

    def confirm_fenced(self, node: str, *, force: bool = False) -> None:
        """Say that a lost node is off. Refused while it is heard, unless forced."""
        self._call("ConfirmFenced", crm_pb2.ConfirmFencedRequest(node=node, force=force))

    def forgive(self, node: str, *, force: bool = False) -> None:
        """Let a node in that a device lied about. Refused while it is not heard, unless forced."""
        self._call("ForgiveNode", crm_pb2.ForgiveNodeRequest(node=node, force=force), timeout_ms=WRITE_MS)

    def move_dc(self, node: str) -> None:
        """Have another node be DC; an empty name: any. It has begun when this returns."""
        self._call("MoveDc", crm_pb2.MoveDcRequest(node=node), timeout_ms=WRITE_MS)

    def fence(self, node: str, action: str) -> str:
        """Begin to fence (reboot, off) or unfence (on) a node; the id of the record in the history."""
        return str(self._call("Fence", crm_pb2.FenceRequest(node=node, action=action)).id)

    def fencing_history(self, node: str = "") -> tuple[common_pb2.FencingRecord, ...]:
        """What became of fencings, oldest change first."""
        reply = self._call("FencingHistory", crm_pb2.FencingHistoryRequest(node=node))
        return tuple(reply.records)

    def fencing_devices(self, node: str) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """The levels that would be tried: devices, and who would use the first, the best first."""
        request = crm_pb2.FencingDevicesRequest(node=node)
        reply = self._call("FencingDevices", request, timeout_ms=WRITE_MS)
        return tuple((tuple(level.devices), tuple(level.executors)) for level in reply.levels)

    def force_quorum(self) -> None:
        """The operator's decree. Raises InvalidRequest when it cannot be, with the reason."""
        reply: crm_pb2.WriteReply = self._call(
            "ForceQuorum", crm_pb2.ForceQuorumRequest(), timeout_ms=WRITE_MS
        )
        if reply.outcome != crm_pb2.WriteReply.OUTCOME_OK:
            raise InvalidRequest(what=reply.reason)

    def voters(self) -> crm_pb2.VotersReply:
        """Who votes, as the DC's log says."""
        reply: crm_pb2.VotersReply = self._call("Voters", crm_pb2.VotersRequest())
        return reply

    def change_voters(
        self,
        *,
        add: Mapping[int, int] | None = None,
        remove: Iterable[int] = (),
        expected: crm_pb2.VotersReply | None = None,
        rules: bool = False,
        deadline_ms: int = WRITE_MS,
    ) -> None:
        """Add voters (node id to votes) and take others away, together; returns when the new set counts.

        `expected`: refused when the voters are others by now. `rules`: two_node, tie-breakers and the like
        become those of the DC's cluster.toml. Raises InvalidRequest with the reason; what then became of the
        change, `voters` tells.
        """
        request = crm_pb2.ChangeVotersRequest(
            request_id=uuid.uuid4().hex,
            add=[crm_pb2.Voter(node_id=node, votes=votes) for node, votes in sorted((add or {}).items())],
            remove=sorted(remove),
            expected=expected.voters if expected is not None else (),
            deadline_ms=deadline_ms,
            rules=rules,
        )
        reply: crm_pb2.WriteReply = self._call("ChangeVoters", request, timeout_ms=deadline_ms + CALL_MS)
        if reply.outcome != crm_pb2.WriteReply.OUTCOME_OK:
            raise InvalidRequest(what=reply.reason)

    def cleanup(self, resource: str, node: str) -> tuple[str, ...]:
        """Forget failures and history; what was cleaned, as resource@node."""
        reply = self._call(
            "Cleanup", crm_pb2.CleanupRequest(resource=resource, node=node), timeout_ms=WRITE_MS
        )
        return tuple(reply.cleaned)

    def links(self) -> membership_pb2.MessagingStatus:
        """ha-messaging's view of links and packets on this node."""
        reply = self._call("Links", crm_pb2.LinksRequest())
        return membership_pb2.MessagingStatus.FromString(reply.messaging_status)

    def agent_metadata(self, agent: str) -> str:
        """The agent's meta-data XML, from the LRM of this node."""
        return str(
            self._call("AgentMetadata", crm_pb2.AgentMetadataRequest(agent=agent), timeout_ms=WRITE_MS).xml
        )

    def agent_list(self, standard: str = "", provider: str = "") -> tuple[str, ...]:
        """Agents installed on this node."""
        reply = self._call("AgentList", crm_pb2.AgentListRequest(standard=standard, provider=provider))
        return tuple(reply.agents)

    def transitions(self) -> list[crm_pb2.TransitionSummary]:
        """The stored transitions."""
        return list(self._call("ListTransitions", crm_pb2.ListTransitionsRequest()).transitions)

    def transition(self, number: int = 0) -> crm_pb2.GetTransitionReply:
        """One stored transition with its input and graph; 0 is the newest."""
        reply: crm_pb2.GetTransitionReply = self._call(
            "GetTransition", crm_pb2.GetTransitionRequest(number=number), timeout_ms=WRITE_MS
        )
        return reply

    def revisions(self) -> list[crm_pb2.RevisionSummary]:
        """The configurations of the past that the DC keeps, the oldest first."""
        return list(self._call("ListRevisions", crm_pb2.ListRevisionsRequest()).revisions)

    def revision(self, admin_epoch: int, epoch: int) -> bytes:
        """The <configuration> of one of them. Raises NotFound."""
        request = crm_pb2.GetRevisionRequest(admin_epoch=admin_epoch, epoch=epoch)
        return bytes(self._call("GetRevision", request, timeout_ms=WRITE_MS).configuration_xml)

    def stop_node(self, timeout_ms: int) -> None:
        """Let this node leave cleanly; returns when its services may be stopped."""
        self._call("StopNode", crm_pb2.StopNodeRequest(), timeout_ms=timeout_ms)

    def watch(self, timeout_ms: int | None = None) -> Iterator[crm_pb2.ClusterStatus]:
        """The state now and after every change; ends after `timeout_ms` of the stream's life."""
        stream = self._watch(timeout_ms)
        while True:
            try:
                status = self._run(_following(stream))
            except StopAsyncIteration:
                return
            yield status

    async def _watch(self, timeout_ms: int | None) -> AsyncIterator[crm_pb2.ClusterStatus]:
        seconds = None if timeout_ms is None else timeout_ms / 1_000
        try:
            async for status in self._stub().Watch(crm_pb2.WatchClusterRequest(), timeout=seconds):
                yield status
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return
            raise self._explained(error_of(error, who=self.who)) from None

    async def _disconnect(self) -> None:
        """The next call connects anew: a channel that has failed tries again by itself later and later."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def _stub(self) -> Any:
        if self._channel is None:
            server = self._server
            self._channel = server.channel() if server else unix_channel(self._paths.crm_socket)
        return crm_pb2_grpc.CrmStub(self._channel)

    def _call(self, method: str, request: object, *, timeout_ms: int = CALL_MS) -> Any:
        return self._run(self._one(method, request, timeout_ms))

    async def _one(self, method: str, request: object, timeout_ms: int) -> Any:
        """An election is waited for: without a DC nothing has been done yet."""
        end = time.monotonic() + DC_WITHIN_S
        while True:
            try:
                return await call(getattr(self._stub(), method), request, timeout_ms=timeout_ms, who=self.who)
            except Unreachable as error:
                await self._disconnect()
                raise self._explained(error) from None
            except HaError as error:
                if error.code is not ErrorCode.NO_DC or time.monotonic() > end:
                    raise
                await asyncio.sleep(OUTCOME_PAUSE_S)

    def _run(self, work: Coroutine[Any, Any, _Value]) -> _Value:
        if self._runner is None:
            try:
                present = self._server is not None or self._paths.crm_socket.exists()
            except PermissionError:
                work.close()
                raise PermissionDenied(
                    what=f"{self._paths.run} (only root and group haclient may talk to ha-crm)"
                ) from None
            if not present:
                work.close()
                raise self._explained(Unreachable(who=self.who, remedy="there is no socket"))
            self._runner = asyncio.Runner()
        return self._runner.run(work)

    def _explained(self, error: HaError) -> HaError:
        if not isinstance(error, Unreachable):
            return error
        if self._server is not None:
            return Unreachable(who=self.who, remedy=f"is `[ports] api` in its cluster.toml? {error.remedy}")
        if "ermission denied" in error.remedy:
            return PermissionDenied(what=f"{self._paths.crm_socket} is for root and group haclient")
        return Unreachable(
            who=self.who,
            remedy="is the cluster running on this node? (`systemctl status ha-crm`; "
            "--root for another place, --cib-file to work on a file)",
        )
