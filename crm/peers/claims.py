"""Claims as small messages of ha-messaging, beside gRPC: an election does not wait for a TCP connection.

The protocol has CLAIM travel as DATA (cluster-protocol.md, 8.2). gRPC carries it as well, and its answer; the
core takes whichever comes first, and a claim twice is a claim once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from google.protobuf.message import DecodeError

from crm import log_events
from crm.election.messages import Claim
from crm.peers.messaging import MembershipPeer
from crm.replica import wire
from crm.replica.effects import Message
from hacluster.errors import HaError
from hacluster.v1 import cib_pb2, membership_pb2

log = structlog.get_logger()

TOPIC: Final = "election"
WAITING_MAX: Final = 256

Serve = Callable[[int, Message], Awaitable[Message]]


class ClaimsByData:
    """Both directions; `run` until cancelled. What cannot be said this way is left to gRPC, and noted."""

    def __init__(self, messaging: MembershipPeer, serve: Serve) -> None:
        self._messaging, self._serve = messaging, serve
        self._outgoing: asyncio.Queue[tuple[int, Claim]] = asyncio.Queue(WAITING_MAX)
        self._incoming: asyncio.Queue[membership_pb2.Delivery] = asyncio.Queue(WAITING_MAX)

    def say(self, peer: int, claim: Claim) -> None:
        """To one node; nothing is awaited."""
        if not self._outgoing.full():
            self._outgoing.put_nowait((peer, claim))

    async def run(self) -> None:
        """Speak and listen."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._speak(), name="claims out")
            tasks.create_task(self._messaging.hear(TOPIC, self._heard), name="claims heard")
            tasks.create_task(self._take(), name="claims in")

    async def _speak(self) -> None:
        while True:
            peer, claim = await self._outgoing.get()
            try:
                await self._messaging.say(TOPIC, wire.claim_to(claim).SerializeToString(), peer)
            except HaError as error:
                log.info(log_events.CLAIM_NOT_SAID, peer=peer, reason=str(error))

    def _heard(self, delivery: membership_pb2.Delivery) -> None:
        if not delivery.lost and not self._incoming.full():
            self._incoming.put_nowait(delivery)

    async def _take(self) -> None:
        while True:
            delivery = await self._incoming.get()
            try:
                claim = wire.claim_from(cib_pb2.ClaimMessage.FromString(delivery.payload))
                if claim.node_id != delivery.sender:
                    raise ValueError(f"node {delivery.sender} claims to be node {claim.node_id}")
                await self._serve(delivery.sender, claim)
            except (DecodeError, ValueError, HaError) as error:
                log.info(log_events.CLAIM_NOT_TAKEN, peer=delivery.sender, reason=str(error))
