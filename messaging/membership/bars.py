"""Nodes that must be in no view: confirmed to be off, and heard all the same (cluster-protocol.md, 6.5).

Each node keeps the last word on each, tells it to the others, and takes theirs when it is newer; so all come
to the same. What is said of one boot is void with the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from messaging.membership.events import Bar, Bars

BOOT_BYTES = 8


class BarTable:
    """The last word on each node."""

    def __init__(self, bars: Bars) -> None:
        self._words = dict(bars.words)

    @property
    def words(self) -> Bars:
        """All of them, as the disk and the others get them."""
        return Bars(tuple(sorted(self._words.items())))

    def say(self, node: int, boot: bytes) -> bool:
        """A word of our own: bar this boot, or, if it is empty, none. Says whether that is news."""
        before = self._words.get(node, Bar(0, b""))
        if before.boot == boot:
            return False
        self._words[node] = Bar(before.number + 1, boot)
        return True

    def take(self, bars: Bars, nodes: Iterable[int]) -> tuple[list[int], bool]:
        """Another node's words: on whom we have learned something; and whether it could learn from us."""
        theirs = {node: bar for node, bar in bars.words if node in set(nodes)}
        news = [node for node, bar in theirs.items() if bar > self._words.get(node, Bar(0, b""))]
        knows_less = any(theirs.get(node, Bar(0, b"")) < bar for node, bar in self._words.items())
        self._words.update((node, theirs[node]) for node in news)
        return news, knows_less

    def holds(self, node: int, boot: bytes) -> bool:
        """Whether this boot of the node is barred."""
        bar = self._words.get(node)
        return bar is not None and bar.boot != b"" and bar.boot == boot

    def forget(self, nodes: Iterable[int]) -> None:
        """They are configured no more."""
        for node in nodes:
            self._words.pop(node, None)
