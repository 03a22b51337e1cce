"""The client of one node's ha-lrm: orders, and the stream of its history, reconnecting for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import grpc

from crm import wire
from hacluster import rpc
from hacluster.errors import Unreachable
from hacluster.v1 import lrm_pb2, lrm_pb2_grpc
from hacluster.vocabulary.ids import OperationId, Term, ViewId
from hacluster.vocabulary.operation import Operation

CALL_TIMEOUT_MS: Final = 3_000
METADATA_TIMEOUT_MS: Final = 35_000
RECONNECT_MS: Final = 20
RECONNECT_MS_MAX: Final = 500


class LrmPeer:
    """ha-lrm of one node."""

    def __init__(self, node: str, channel: grpc.aio.Channel) -> None:
        self.node = node
        self._who = f"ha-lrm on {node}"
        self._stub = lrm_pb2_grpc.LrmStub(channel)

    async def accept(self, term: Term, dc: str, view: ViewId) -> lrm_pb2.AcceptReply:
        """Announce the DC. Raises StaleTerm, Unreachable, Timeout."""
        request = lrm_pb2.AcceptRequest(term=wire.term_to(term), dc=dc, view=wire.view_id_to(view))
        reply = await rpc.call(self._stub.Accept, request, timeout_ms=CALL_TIMEOUT_MS, who=self._who)
        assert isinstance(reply, lrm_pb2.AcceptReply)
        return reply

    async def execute(
        self,
        identity: OperationId,
        operation: Operation,
        *,
        view: ViewId,
        boot_token: str,
        without_quorum: bool,
    ) -> lrm_pb2.ExecuteReply:
        """Order an operation; the same identity again is harmless. Raises HaError."""
        request = lrm_pb2.ExecuteRequest(
            id=wire.operation_id_to(identity),
            view=wire.view_id_to(view),
            boot_token=boot_token,
            operation=wire.operation_to(operation),
            without_quorum=without_quorum,
        )
        reply = await rpc.call(self._stub.Execute, request, timeout_ms=CALL_TIMEOUT_MS, who=self._who)
        assert isinstance(reply, lrm_pb2.ExecuteReply)
        return reply

    async def cancel(self, term: Term, resource: str, action: str, interval_ms: int) -> None:
        """End a recurring operation. Raises HaError."""
        request = lrm_pb2.CancelRequest(
            term=wire.term_to(term), resource=resource, action=action, interval_ms=interval_ms
        )
        await rpc.call(self._stub.Cancel, request, timeout_ms=CALL_TIMEOUT_MS, who=self._who)

    async def delete_history(
        self,
        term: Term,
        resource: str,
        action: str = "",
        interval_ms: int = 0,
        *,
        failures_only: bool = False,
    ) -> None:
        """Have a resource, one of its operations, or only its failures forgotten. Raises HaError."""
        request = lrm_pb2.DeleteHistoryRequest(
            term=wire.term_to(term),
            resource=resource,
            action=action,
            interval_ms=interval_ms,
            failures_only=failures_only,
        )
        await rpc.call(self._stub.DeleteHistory, request, timeout_ms=CALL_TIMEOUT_MS, who=self._who)

    async def recorded(self) -> tuple[lrm_pb2.OperationResult, ...]:
        """All results that it remembers. Raises Unreachable, Timeout."""
        found: list[lrm_pb2.OperationResult] = []
        stream = self._stub.History(lrm_pb2.HistoryRequest(), timeout=CALL_TIMEOUT_MS / 1_000)
        try:
            async for event in stream:
                if event.synced:
                    return tuple(found)
                if event.HasField("result"):
                    found.append(event.result)
        except grpc.aio.AioRpcError as error:
            raise Unreachable(who=self._who) from error
        finally:
            stream.cancel()
        raise Unreachable(who=self._who)

    async def status(self) -> lrm_pb2.LrmStatusReply:
        """Load, queue and recurring monitors. Raises HaError."""
        reply = await rpc.call(
            self._stub.Status, lrm_pb2.LrmStatusRequest(), timeout_ms=CALL_TIMEOUT_MS, who=self._who
        )
        assert isinstance(reply, lrm_pb2.LrmStatusReply)
        return reply

    async def metadata(self, agent: str) -> str:
        """An agent's meta-data. Raises NotFound's code, Timeout, Unreachable."""
        request = lrm_pb2.MetadataRequest(agent=agent)
        reply = await rpc.call(self._stub.Metadata, request, timeout_ms=METADATA_TIMEOUT_MS, who=self._who)
        return str(reply.xml)

    async def list_agents(self, standard: str, provider: str) -> tuple[str, ...]:
        """Agents that exist on the node. Raises HaError."""
        request = lrm_pb2.ListAgentsRequest(standard=standard, provider=provider)
        reply = await rpc.call(self._stub.ListAgents, request, timeout_ms=METADATA_TIMEOUT_MS, who=self._who)
        return tuple(reply.agents)

    async def run_alert(self, alert: str, path: str, environment: Mapping[str, str], timeout_ms: int) -> None:
        """Have an alert agent run. Raises HaError."""
        request = lrm_pb2.RunAlertRequest(
            alert=alert, path=path, environment=dict(environment), timeout_ms=timeout_ms
        )
        await rpc.call(self._stub.RunAlert, request, timeout_ms=CALL_TIMEOUT_MS, who=self._who)

    async def follow(
        self,
        wanted: asyncio.Event,
        heard: Callable[[lrm_pb2.HistoryEvent | None], None],
        begun: Callable[[], None],
    ) -> None:
        """Hand on the history while `wanted` is set; `begun` before its beginning, None after its end.

        Runs until cancelled. The stream is ended by the caller's cancellation, the LRM, or HTTP/2's pings.
        """
        pause_ms = RECONNECT_MS
        while True:
            await wanted.wait()
            connected = False
            try:
                async for event in self._stub.History(lrm_pb2.HistoryRequest(), wait_for_ready=True):
                    if not connected:
                        connected, pause_ms = True, RECONNECT_MS
                        begun()
                    heard(event)
            except grpc.aio.AioRpcError:
                pass  # whatever the reason, the answer is to tell that it ended and to try again
            except asyncio.CancelledError:
                if rpc.is_cancelled():
                    raise  # else its channel was closed, for there is a new certificate: again, too
            if connected:
                heard(None)
            await asyncio.sleep(pause_ms / 1_000)
            pause_ms = min(pause_ms * 2, RECONNECT_MS_MAX)
