"""The core's timers on the event loop: one a key, setting replaces, never early by the clock that counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hacluster.clock import Clock


class Timers:
    """`fire(key)` is called when a timer's time has come."""

    def __init__(self, clock: Clock, fire: Callable[[str], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def set(self, key: str, at_ns: int) -> None:
        """At that instant of the clock."""
        self.cancel(key)
        delay_s = max(0, at_ns - self._clock.now_ns()) / 1e9
        self._handles[key] = asyncio.get_running_loop().call_later(delay_s, self._due, key, at_ns)

    def cancel(self, key: str) -> None:
        """Nothing when it is not set."""
        handle = self._handles.pop(key, None)
        if handle is not None:
            handle.cancel()

    def cancel_all(self) -> None:
        """At the end."""
        for key in list(self._handles):
            self.cancel(key)

    def _due(self, key: str, at_ns: int) -> None:
        if self._clock.now_ns() < at_ns:  # the loop's clock and ours differ a little
            self.set(key, at_ns)
            return
        self._handles.pop(key, None)
        self._fire(key)
