"""When a node that is to stop leaves by its own word instead of the DC's (cluster-protocol.md, 6.5 and 12).

As a rule the DC empties it first. A node without a view has no DC. Yet it may have accepted a view that the
others have installed already: if it stopped without a word they would fence it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

LEAVE_POLL_MS: Final = 100
LEAVE_WITHOUT_DC_MS: Final = 5_000


class Leaving:
    """One wish to stop. `without_dc_ms`: leave anyway when there has been no DC for so long; 0: never."""

    def __init__(self, without_dc_ms: int = 0) -> None:
        self._without_dc_ms, self._alone_ms = without_dc_ms, 0

    @property
    def out_of_patience(self) -> bool:
        """Whether there was no DC for too long."""
        return 0 < self._without_dc_ms <= self._alone_ms

    def may_leave(
        self, passed_ms: int, *, has_view: bool, has_dc: bool, active: Collection[str] | None
    ) -> bool:
        """Whether to leave now, `passed_ms` after the wish or the last question.

        `active`: what may run here, None when ha-lrm has not said. The first question comes LEAVE_POLL_MS
        after the wish: a DC of that moment has heard of it by then, or what it started is seen here.
        """
        self._alone_ms = 0 if has_dc else self._alone_ms + passed_ms
        is_empty = active is not None and not active
        return (is_empty and not has_view) or self.out_of_patience
