"""Writes that come together, and those who wait for an answer, by token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from crm.replica.effects import Message, WriteRequested
from crm.replica.events import Outcome, WriteOutcome
from hacluster.errors import Timeout


class Answers:
    """Of clients that wrote or asked."""

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


class Replies:
    """Of other nodes' ha-crms that called."""

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[int, asyncio.Future[Message]] = {}

    def expect(self) -> int:
        """A new token; `wait` for it."""
        self._last += 1
        self._waiting[self._last] = asyncio.get_running_loop().create_future()
        return self._last

    async def wait(self, token: int, timeout_s: float) -> Message:
        """The reply. Raises Timeout."""
        try:
            return await asyncio.wait_for(self._waiting[token], timeout_s)
        except TimeoutError:
            raise Timeout(what="the disk of this node", after_ms=int(timeout_s * 1_000)) from None
        finally:
            self._waiting.pop(token, None)

    def give(self, token: int, reply: Message) -> None:
        """Nothing when nobody waits any more."""
        future = self._waiting.get(token)
        if future is not None and not future.done():
            future.set_result(reply)


class Together:
    """Writes of one pass of the loop are handed on at its end: one sync for all, not one and the rest."""

    def __init__(self, hand_on: Callable[[tuple[WriteRequested, ...]], None]) -> None:
        self._hand_on = hand_on
        self._requests: list[WriteRequested] = []

    def add(self, request: WriteRequested) -> None:
        """One more."""
        self._requests.append(request)
        if len(self._requests) == 1:
            asyncio.get_running_loop().call_soon(self._end_pass)

    def _end_pass(self) -> None:
        requests, self._requests = tuple(self._requests), []
        self._hand_on(requests)
