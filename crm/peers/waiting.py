"""The operator's decree, from the CIB's log to this node's ha-messaging: it ends wait_for_all (7.3).

Every member does so for itself as soon as it sees that its DC reigns by decree, which is when the decree is
in the log of all who are here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from crm import log_events
from crm.cib.replication.basis import Basis
from crm.replica.events import DcState
from hacluster.errors import HaError
from hacluster.vocabulary.ids import ViewId

LOOK_S: Final = 0.5

log = structlog.get_logger()


class Local(Protocol):
    """What is needed of this node's place in its view."""

    view: ViewId
    waiting: bool


class Replica(Protocol):
    """What is needed of the replicated CIB."""

    @property
    def dc(self) -> DcState:
        """Who is DC in this view."""
        ...


class WaitingEnder:
    """`end` tells ha-messaging; may raise HaError."""

    def __init__(self, local: Local, replica: Replica, end: Callable[[ViewId], Awaitable[None]]) -> None:
        self._local, self._replica, self._end = local, replica, end
        self._said: tuple[ViewId, str] | None = None  # why not, once a view

    async def run(self) -> None:
        """Looks twice a second, because what stands in the way passes. Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Tell ha-messaging if it waits in the view of a decree."""
        dc, view = self._replica.dc, self._local.view
        if not self._local.waiting or dc.basis is not Basis.FORCED or not dc.established:
            return
        try:
            await self._end(view)
        except HaError as error:
            if self._said != (view, str(error)):
                self._said = (view, str(error))
                log.warning(log_events.WAITING_NOT_ENDED, reason=str(error), view=str(view))
