"""A node's way to ha-qnet: one UDP socket, authenticated like heartbeats, never blocking."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from messaging import log_events
from messaging.membership.events import AskWitness, ReleaseWitness, WitnessAnswered
from messaging.packet import Dropped, Gate, Keyring, Kind, Sealer
from messaging.witness import wire
from messaging.witness.arbiter import ARBITER_ID
from messaging.witness.core import SyncChanged

log = structlog.get_logger()

DATAGRAMS_A_PASS: Final = 64
NO_CHALLENGE: Final = bytes(16)


class WitnessClient(Protocol):
    """A way to a witness: questions go in, answers come by themselves."""

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be ready."""

    def close(self) -> None:
        """No more of it."""

    def use(self, keyring: Keyring) -> None:
        """Other keys from now on."""

    def ask(self, question: AskWitness | ReleaseWitness | SyncChanged) -> None:
        """Fire and forget."""


class QnetClient:
    """Sends questions, hands answers to `answered`. A network that is not there is asked again next time."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        cluster_id: bytes,
        node_id: int,
        incarnation: int,
        keyring: Keyring,
        answered: Callable[[WitnessAnswered], None],
    ) -> None:
        self._target = (address, port)
        self._answered = answered
        session = secrets.token_bytes(16)  # of its own: sequences are counted apart from the links'
        self._gate = Gate(cluster_id=cluster_id, node_id=node_id, nodes=[ARBITER_ID], keyring=keyring)
        self._sealer = Sealer(
            cluster_id=cluster_id, node_id=node_id, session=session, incarnation=incarnation, keyring=keyring
        )
        self._challenge = NO_CHALLENGE
        self._sequence = 0
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._complained = ""

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen for answers."""
        family = socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET
        self._loop = loop
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        loop.add_reader(self._socket, self.drain)

    def close(self) -> None:
        """No more of it."""
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def use(self, keyring: Keyring) -> None:
        """Other keys from now on."""
        self._gate.use(keyring)
        self._sealer.use(keyring)

    def ask(self, question: AskWitness | ReleaseWitness | SyncChanged) -> None:
        """Fire and forget."""
        if self._socket is None:
            return
        self._sequence += 1
        body = wire.ask_to(question, self._challenge)
        datagram = self._sealer.seal(
            Kind.WITNESS_ASK, body, link=0, sequence=self._sequence, destination=ARBITER_ID
        )
        try:
            self._socket.sendto(datagram, self._target)
            self._complained = ""
        except OSError as error:
            if error.strerror != self._complained:
                self._complained = error.strerror or str(error)
                log.warning(log_events.WITNESS, address=self._target[0], reason=self._complained)

    def drain(self) -> None:
        """Answers that have come."""
        for _ in range(DATAGRAMS_A_PASS):
            if self._socket is None:
                return
            try:
                datagram = self._socket.recv(65_536)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error about an earlier question
            opened = self._gate.open(datagram)
            if isinstance(opened, Dropped) or opened.header.kind != Kind.WITNESS_ANSWER:
                continue
            answer = wire.answer_from(opened.body)
            if answer is not None:
                self._challenge = answer[0]
                self._answered(answer[1])
