"""The DC's word to the witness: only these nodes have all that is committed (cluster-protocol.md, 7.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from hacluster.errors import InvalidRequest, Unavailable
from hacluster.vocabulary.ids import NO_VIEW, ViewId
from messaging.membership.events import WitnessAnswered
from messaging.witness.core import LATER_TERM, LATER_WORD, SyncChanged

NONCES_FROM: Final = 1 << 62
"""Apart from those of a view's questions, which count from 1."""

AGAIN_S: Final = 0.25
TRIES: Final = 8


class SyncCalls:
    """Sends a change until it is answered; all other answers are handed on to `answered`."""

    def __init__(
        self,
        node: int,
        ask: Callable[[SyncChanged], None],
        answered: Callable[[WitnessAnswered], None],
        *,
        again_s: float = AGAIN_S,
    ) -> None:
        self._node, self._ask, self._answered, self._again_s = node, ask, answered, again_s
        self._nonce = NONCES_FROM
        self._waiting: dict[int, asyncio.Future[WitnessAnswered]] = {}

    def answered(self, answer: WitnessAnswered) -> None:
        """From the client of the witness."""
        if answer.nonce < NONCES_FROM:
            self._answered(answer)
            return
        waiting = self._waiting.get(answer.nonce)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def change(
        self, view: ViewId, in_sync: tuple[int, ...], term: tuple[int, int], serial: int
    ) -> WitnessAnswered:
        """The witness's answer when it has it on its disk, or a later term has spoken. Repeating is harmless.

        Raises InvalidRequest when something later was said in that term, Unavailable when the witness does
        not answer or nothing is granted to this view yet.
        """
        if view == NO_VIEW:
            raise Unavailable(why="this node is in no view")
        reason = "the witness does not answer"
        for _ in range(TRIES):
            self._nonce += 1
            nonce, waiting = self._nonce, asyncio.get_running_loop().create_future()
            self._waiting[nonce] = waiting
            try:
                self._ask(
                    SyncChanged(
                        node=self._node, nonce=nonce, view=view, in_sync=in_sync, term=term, serial=serial
                    )
                )
                answer: WitnessAnswered = await asyncio.wait_for(waiting, self._again_s)
            except TimeoutError:
                continue
            finally:
                del self._waiting[nonce]
            reason = answer.reason
            if answer.granted or reason == LATER_TERM:
                return answer
            if reason == LATER_WORD:
                raise InvalidRequest(what=reason)
            await asyncio.sleep(self._again_s)
        raise Unavailable(why=reason)
