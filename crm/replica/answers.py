"""Those who wait for the answer to a write, by token."""

from __future__ import annotations

import asyncio

from crm.replica.events import Outcome, WriteOutcome


class Answers:
    """One future a token."""

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[int, asyncio.Future[WriteOutcome]] = {}

    def expect(self) -> int:
        """A new token; `wait` for it."""
        self._last += 1
        self._waiting[self._last] = asyncio.get_running_loop().create_future()
        return self._last

    async def wait(self, token: int, timeout_s: float) -> WriteOutcome:
        """The answer; UNKNOWN when there is none in time."""
        try:
            return await asyncio.wait_for(self._waiting[token], timeout_s)
        except TimeoutError:
            return WriteOutcome(outcome=Outcome.UNKNOWN, reason="no answer in time; ask again with the id")
        finally:
            self._waiting.pop(token, None)

    def give(self, token: int, outcome: WriteOutcome) -> None:
        """Nothing when nobody waits any more."""
        future = self._waiting.get(token)
        if future is not None and not future.done():
            future.set_result(outcome)
