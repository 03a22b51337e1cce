"""An operator moves the DC: for some seconds one node wants to be it more, and the DC does not at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from crm.replica.interface import Replica

if TYPE_CHECKING:
    from crm.dc import Local

HOLD_S: Final = 10.0
PRIORITY_WANTED: Final = 1_000_000


class Succession:
    """This node's part. Whatever comes of it, afterwards all is as it was: nobody stays without a say."""

    def __init__(self, replica: Replica, local: Local) -> None:
        self._replica, self._local = replica, local

    def want(self) -> None:
        """Before others, if this node may be DC at all."""
        self._replica.set_eligibility(eligible=self._local.may_be_dc, priority=PRIORITY_WANTED)
        self._later()

    def give_up(self) -> None:
        """Another one, at once."""
        self._replica.set_eligibility(eligible=False, gives_up=True)
        self._later()

    def _later(self) -> None:
        asyncio.get_running_loop().call_later(HOLD_S, self._as_before)

    def _as_before(self) -> None:
        self._replica.set_eligibility(eligible=self._local.may_be_dc)
