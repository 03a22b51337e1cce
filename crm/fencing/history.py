"""What became of fencings: known to every node, so that a new DC goes on with them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RECORDS_MAX: Final = 500
MEASURED_MAX: Final = 20


class FencingState(StrEnum):
    """How far it is."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"  # so far: what the cluster needs is tried again, an operator's order is not
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class FencingRecord:
    """One fencing. `version` grows with each change; instants are wall clock, seconds.

    `client`: who wanted it, "" for the cluster itself. `step`, `executor` and `operation` (term, node of the
    term, transition, action) name the agent that runs, or ran last. `took_ms`: how long the agents that
    succeeded took, the longest of them. `boot`: the first digits of the target's boot token.
    """

    id: str
    target: str
    action: str
    dc: str
    client: str
    state: FencingState
    version: int
    began_s: int
    changed_s: int
    device: str = ""
    step: str = ""
    executor: str = ""
    operation: tuple[int, int, int, int] = (0, 0, 0, 0)
    took_ms: int = 0
    why: str = ""
    boot: str = ""


class FencingHistory:
    """The last RECORDS_MAX, by id; those under way are never forgotten."""

    def __init__(self, records: Iterable[FencingRecord] = ()) -> None:
        self._records: dict[str, FencingRecord] = {}
        self.take(tuple(records))

    def take(self, records: Sequence[FencingRecord]) -> tuple[FencingRecord, ...]:
        """Keep what is news; that is returned."""
        news = []
        for record in records:
            known = self._records.get(record.id)
            if known is None or known.version < record.version:
                self._records.pop(record.id, None)
                self._records[record.id] = record
                news.append(record)
        spare = len(self._records) - RECORDS_MAX
        for name in [n for n, one in self._records.items() if one.state is not FencingState.PENDING]:
            if spare <= 0:
                break
            del self._records[name]
            spare -= 1
        return tuple(news)

    def records(self, target: str = "") -> tuple[FencingRecord, ...]:
        """All, or those of one node, oldest change first."""
        return tuple(one for one in self._records.values() if target in ("", one.target))

    def under_way(self, target: str = "") -> tuple[FencingRecord, ...]:
        """Those that have not come to an end; an operator's order that has failed is given up."""
        return tuple(
            one
            for one in self.records(target)
            if one.state is FencingState.PENDING or (one.state is FencingState.FAILED and not one.client)
        )

    def longest_ms(self, devices: Iterable[str]) -> int:
        """The longest measured run of these devices; 0 when none is known."""
        wanted = frozenset(devices)
        took = [
            one.took_ms
            for one in reversed(self._records.values())
            if one.state is FencingState.DONE and wanted & set(one.device.split(","))
        ]
        return max(took[:MEASURED_MAX], default=0)

    def last_executor(self, device: str) -> str:
        """Who used a device last with success; "" when nobody is known to."""
        for one in reversed(self._records.values()):
            if one.state is FencingState.DONE and device in one.device.split(","):
                return one.executor
        return ""
