"""What the DC knows, handed to this node's ha-messaging: it ends wait_for_all (7.3).

wait_for_all keeps a cluster that boots from acting before all were there. Who joins a DC that acts joins a
cluster that does so already, and has nothing to wait for. The operator's decree (force-quorum) ends the
waiting of the DC as well. Every member does it for itself, as soon as it hears of such a DC.
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


def ends_waiting(dc: DcState) -> bool:
    """Whether a member of this DC's view need not wait for all.

    A DC by votes may itself wait: then it commits nothing and does nothing, and neither may its members. Nor
    does a DC whose commits are provisional end it: one of two that has not met the other does not learn from
    a node without a vote that it may act alone.
    """
    if not dc.established or dc.basis is None or not dc.basis.safe:
        return False
    return dc.acts or dc.basis is Basis.FORCED


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
        """Tell ha-messaging if it waits in the view of a DC that does not."""
        view = self._local.view
        if not self._local.waiting or not ends_waiting(self._replica.dc):
            return
        try:
            await self._end(view)
        except HaError as error:
            if self._said != (view, str(error)):
                self._said = (view, str(error))
                log.warning(log_events.WAITING_NOT_ENDED, reason=str(error), view=str(view))
