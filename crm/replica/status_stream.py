"""The DC's status section on its way to the followers: the newest only, whole, again until it is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from crm.cib import codec
from crm.cib.model import Element, element
from crm.cib.versions import CibVersion
from crm.replica.peers import CrmPeers
from hacluster.errors import HaError
from hacluster.vocabulary.ids import Term, ViewId

RETRY_S: Final = 0.5

Reign = tuple[Term, ViewId, CibVersion, tuple[int, ...]]
"""Our term and view, the version to send, and the peers of the view."""


class StatusStream:
    """`status` is the DC's own section or the last copy that came."""

    def __init__(self, peers: CrmPeers, reign: Callable[[], Reign | None], others: tuple[int, ...]) -> None:
        """`reign`: what to send with, or None while this node is not DC; `others`: the other nodes' ids."""
        self.status = element("status")
        self._peers = peers
        self._reign = reign
        self._others = others
        self._xml = b""
        self._group: asyncio.TaskGroup | None = None
        self._wakes: dict[int, asyncio.Event] = {}
        self._senders: dict[int, asyncio.Task[None]] = {}

    def start(self, group: asyncio.TaskGroup) -> None:
        """One sender for each other node."""
        self._group = group
        self.use(self._others)

    def use(self, others: tuple[int, ...]) -> None:
        """These are the other nodes from now on."""
        self._others = others
        if self._group is None:
            return
        for peer in self._wakes.keys() - set(others):
            del self._wakes[peer]
            self._senders.pop(peer).cancel()
        for peer in others:
            if peer not in self._wakes:
                self._wakes[peer] = asyncio.Event()
                self._senders[peer] = self._group.create_task(self._send(peer), name=f"replica-status-{peer}")

    def publish(self, status: Element) -> None:
        """A new section, to be sent."""
        self.status, self._xml = status, codec.canonical(status)
        self.wake()

    def wake(self) -> None:
        """Who is there or who is DC has changed: send again."""
        for wake in self._wakes.values():
            wake.set()

    async def _send(self, peer: int) -> None:
        wake = self._wakes[peer]
        while True:  # ends by cancellation
            await wake.wait()
            wake.clear()
            reign = self._reign()
            if reign is None or not self._xml or peer not in reign[3]:
                continue
            term, view, version, _ = reign
            try:
                taken = await self._peers.send_status(peer, term, view, version, self._xml)
            except HaError:
                taken = False
            if not taken:
                await asyncio.sleep(RETRY_S)
                wake.set()
