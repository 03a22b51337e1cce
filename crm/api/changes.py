"""Wakes everyone who watches when something changed; a watcher that is slow misses steps, never the last."""

from __future__ import annotations

import asyncio


class Changes:
    """A counter of changes that can be waited on."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """Grows with every change."""
        return self._count

    def touch(self) -> None:
        """Something changed."""
        self._count += 1
        self._changed.set()

    async def after(self, count: int) -> int:
        """Wait for a change later than this count; returns the new count."""
        while self._count == count:
            self._changed.clear()
            await self._changed.wait()
        return self._count
