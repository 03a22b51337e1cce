"""The client of this node's ha-messaging: its stream of views and authority, reconnecting for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import grpc
import structlog

from crm import log_events
from crm.replica.effects import TellWitness, WitnessSaid
from hacluster import rpc
from hacluster.errors import HaError
from hacluster.v1 import common_pb2, membership_pb2, membership_pb2_grpc
from hacluster.vocabulary.ids import NO_TERM, Term, ViewId

RECONNECT_MS: Final = 50
RECONNECT_MS_MAX: Final = 500
LEAVE_TIMEOUT_MS: Final = 5_000
SET_QUORUM_TIMEOUT_MS: Final = 5_000
END_WAITING_TIMEOUT_MS: Final = 2_000
SAY_TIMEOUT_MS: Final = 500
BAR_TIMEOUT_MS: Final = 5_000
WITNESS_TIMEOUT_MS: Final = 5_000

log = structlog.get_logger()


def in_heartbeats(instance: int) -> int:
    """A daemon's instance as heartbeats carry it: 32 bits, not 0."""
    return instance & 0xFFFFFFFF or 1


class MembershipPeer:
    """ha-messaging of this node, as ha-crm sees it."""

    def __init__(self, channel: grpc.aio.Channel, instance: int) -> None:
        self._stub = membership_pb2_grpc.MembershipStub(channel)
        self._instance = in_heartbeats(instance)

    async def follow(self, heard: Callable[[membership_pb2.AuthorityUpdate | None], None]) -> None:
        """Hand on every update, None when the stream ended. Runs until cancelled."""
        request = membership_pb2.WatchRequest(
            daemon=membership_pb2.WatchRequest.DAEMON_CRM, instance=self._instance
        )
        pause_ms = RECONNECT_MS
        while True:
            connected = False
            try:
                async for update in self._stub.Watch(request, wait_for_ready=True):
                    connected, pause_ms = True, RECONNECT_MS
                    heard(update)
                why = "the stream ended"
            except grpc.aio.AioRpcError as error:
                why = error.details() or str(error.code())
            if connected:
                log.warning(log_events.MESSAGING_LOST, reason=why)
                heard(None)
            await asyncio.sleep(pause_ms / 1_000)
            pause_ms = min(pause_ms * 2, RECONNECT_MS_MAX)

    async def say(self, topic: str, payload: bytes, destination: int) -> None:
        """A small message to one node of the view, 0 for all. Raises HaError."""
        request = membership_pb2.SendRequest(topic=topic, payload=payload, destination=destination)
        await rpc.call(self._stub.Send, request, timeout_ms=SAY_TIMEOUT_MS, who="ha-messaging")

    async def hear(self, topic: str, heard: Callable[[membership_pb2.Delivery], None]) -> None:
        """Hand on what other nodes send on the topic. Runs until cancelled; reconnects for ever."""
        pause_ms = RECONNECT_MS
        while True:
            try:
                async for delivery in self._stub.Receive(
                    membership_pb2.ReceiveRequest(topic=topic), wait_for_ready=True
                ):
                    pause_ms = RECONNECT_MS
                    heard(delivery)
            except grpc.aio.AioRpcError as error:
                log.info(log_events.MESSAGING_LOST, topic=topic, reason=error.details() or str(error.code()))
            await asyncio.sleep(pause_ms / 1_000)
            pause_ms = min(pause_ms * 2, RECONNECT_MS_MAX)

    async def leave(self, active_unmanaged: tuple[str, ...], *, known: bool = True) -> None:
        """Leave the view; clean when it is known that nothing runs here. Raises HaError."""
        request = membership_pb2.LeaveRequest(
            clean=known and not active_unmanaged,
            active_unmanaged=list(active_unmanaged),
            instance=self._instance,
        )
        await rpc.call(self._stub.Leave, request, timeout_ms=LEAVE_TIMEOUT_MS, who="ha-messaging")

    async def set_quorum(self, config: membership_pb2.QuorumConfig) -> None:
        """Hand down a committed configuration of voters. Raises HaError."""
        await rpc.call(
            self._stub.SetQuorumConfig, config, timeout_ms=SET_QUORUM_TIMEOUT_MS, who="ha-messaging"
        )

    async def end_waiting(self, view: ViewId) -> None:
        """By the word of that view's DC wait_for_all holds this node no more. Raises HaError."""
        id_ = common_pb2.ViewId(counter=view.counter, coordinator=view.coordinator)
        request = membership_pb2.EndWaitingRequest(view=id_)
        await rpc.call(self._stub.EndWaiting, request, timeout_ms=END_WAITING_TIMEOUT_MS, who="ha-messaging")

    async def tell_witness(self, told: TellWitness) -> WitnessSaid:
        """Say who is in sync, or stand as a candidate; never raises HaError."""
        request = membership_pb2.SetInSyncRequest(
            in_sync=told.in_sync,
            term_counter=told.term.counter,
            term_node=told.term.node_id,
            serial=told.serial,
        )
        try:
            reply = await rpc.call(
                self._stub.SetInSync, request, timeout_ms=WITNESS_TIMEOUT_MS, who="ha-messaging"
            )
        except HaError as error:
            log.info(log_events.WITNESS, reason=str(error), term=str(told.term))
            return WitnessSaid(told, None, NO_TERM)
        assert isinstance(reply, membership_pb2.SetInSyncReply)
        term = Term(reply.term_counter, reply.term_node)
        if term > told.term:
            log.info(log_events.WITNESS, reason=f"it has heard of term {term}", term=str(told.term))
            return WitnessSaid(told, None, term)
        return WitnessSaid(told, tuple(reply.in_sync), term)

    async def bar(self, node_id: int, boot_token: str) -> None:
        """That boot of a node is in no view any more. Raises HaError."""
        request = membership_pb2.SetBarredRequest(node_id=node_id, boot_token=boot_token)
        await rpc.call(self._stub.SetBarred, request, timeout_ms=BAR_TIMEOUT_MS, who="ha-messaging")

    async def status(self) -> membership_pb2.MessagingStatus:
        """Links and counters. Raises HaError."""
        reply = await rpc.call(
            self._stub.Status, membership_pb2.MessagingStatusRequest(), timeout_ms=2_000, who="ha-messaging"
        )
        assert isinstance(reply, membership_pb2.MessagingStatus)
        return reply
