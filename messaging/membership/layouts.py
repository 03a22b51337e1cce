"""Which slot of a heartbeat means which node while the nodes change at run time (cluster-protocol.md, 4.2).

The config hash of a heartbeat names the node list that its slots follow. When nodes come or go, not all learn
of it in one moment: each goes on to understand the lists it had before, and says its heartbeats in such a
list too, for as long as some peer has not been heard with the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from messaging.packet import config_hash

FORMER_MAX: Final = 3

NodeList = tuple[tuple[int, str], ...]
"""Ids and names, in order of id."""


class Layouts:
    """The list in use, and those before."""

    def __init__(self, nodes: NodeList, former: Iterable[NodeList] = ()) -> None:
        """`former`: of earlier runs, oldest first: others may still use one of them."""
        self._ids: dict[bytes, tuple[int, ...]] = {}
        self.before = self.current = b""
        for listed in (*former, nodes):
            self.use(listed)

    def use(self, listed: NodeList) -> None:
        """Another list from now on."""
        self.before, self.current = self.current, config_hash(listed)
        self._ids.pop(self.current, None)
        self._ids[self.current] = tuple(node for node, _ in listed)
        while len(self._ids) > FORMER_MAX + 1:
            del self._ids[next(iter(self._ids))]

    def ids(self, layout: bytes) -> tuple[int, ...] | None:
        """The node of each slot; None for a list that we never had."""
        return self._ids.get(layout)


def moved(bits: int, old: Sequence[int], new: Sequence[int]) -> int:
    """A bit set of slots of `old` as slots of `new`; nodes that are not there are left out."""
    slots = {node: slot for slot, node in enumerate(new)}
    return sum(1 << slots[node] for slot, node in enumerate(old) if bits >> slot & 1 and node in slots)
