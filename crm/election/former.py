"""The DC that this node obeyed last, in a view or a run of ours before this one. Pure.

It may not know yet that its reign is over: its ha-crm is stopped, and its node is in both views, so its lease
runs on. Until it says that it has come along, or has not been obeyed for so long that it trusts no lease any
more (9.3, "Reads"), nobody else is made DC.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from hacluster.vocabulary.ids import NO_TERM, Term


class FormerDc:
    """`patience_ns`: for so long whoever obeyed a DC refuses other candidates."""

    def __init__(self, me: int, patience_ns: int) -> None:
        self._me, self._patience_ns = me, patience_ns
        self._node, self._until_ns = me, 0
        self._instance: int | None = None  # of its ha-crm; None: any

    def started(self, promised: Term, now: int) -> None:
        """A run of ours before this one may have obeyed the DC of that term, until now."""
        if promised != NO_TERM:
            self._node, self._instance, self._until_ns = promised.node_id, None, now + self._patience_ns

    def obeyed(self, node: int, instance: int, heard_ns: int) -> None:
        """The view in which that was DC is over."""
        self._node, self._instance, self._until_ns = node, instance, heard_ns + self._patience_ns

    def is_owed(self, said: Container[int], live: Mapping[int, int], now: int) -> bool:
        """Whether it must be waited for. `said`: who has claimed in this view; `live`: instances in it."""
        if now >= self._until_ns or self._node == self._me or self._node in said:
            return False
        instance = live.get(self._node, 0)
        return bool(instance) and self._instance in (None, 0, instance)
