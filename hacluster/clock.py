"""The only reader of the machine's clocks."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What shells ask for the time."""

    def now_ns(self) -> int:
        """Nanoseconds of CLOCK_BOOTTIME: runs on during suspend, never jumps."""
        ...

    def wall_s(self) -> int:
        """Whole seconds since 1970, for people and for rules only."""
        ...


def wall_ns() -> int:
    """Nanoseconds since 1970, where people read more than seconds."""
    return time.time_ns()


class SystemClock:
    """The machine's own clocks."""

    def now_ns(self) -> int:
        """Nanoseconds of CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall_s(self) -> int:
        """Whole seconds since 1970."""
        return int(time.time())
