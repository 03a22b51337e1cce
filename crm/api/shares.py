"""How much of one thing each user may have at a time: nobody may keep the others out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from hacluster.errors import ResourceExhausted


class Shares:
    """`each`: for one user; `total`: for all together. `what` is their name in the plural."""

    def __init__(self, what: str, each: int, total: int) -> None:
        self.what, self.each, self.total = what, each, total
        self._held: Counter[str] = Counter()

    @contextmanager
    def one_for(self, user: str) -> Iterator[None]:
        """Hold one. Raises ResourceExhausted."""
        if self._held[user] >= self.each:
            raise ResourceExhausted(what=f"{user} has {self.each} {self.what} open already: end some first")
        if self._held.total() >= self.total:
            raise ResourceExhausted(what=f"{self.total} {self.what} are open already: try again later")
        self._held[user] += 1
        try:
            yield
        finally:
            self._held[user] -= 1
            if not self._held[user]:
                del self._held[user]
