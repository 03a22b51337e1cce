"""Randomness as cores get it: injected, so that a run can be repeated."""

from __future__ import annotations

from typing import Protocol


class Rng(Protocol):
    """The part of `random.Random` that cores may use."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """A number of `k` random bits."""
        ...
