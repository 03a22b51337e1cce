"""When the watchdog is fed, and when the node has to die (cluster-protocol.md, 11.7). Pure.

Fed while the lease is valid, or nothing is active. Who has resources and no lease any more has as long as the
watchdog's timeout to stop them: the others count on it that the node is dead then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hacluster.vocabulary.sentinel import CLEAN, Word

ACTIVITY_STALE_MS: Final = 30_000
"""ha-lrm may be restarted, or busy, for so long before it counts as dead with its resources."""

LIFE_NOTE: Final = 32
"""So much of the boot token is the note of `life`."""

_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do now. `die`: at once, without waiting for the watchdog. `why`: not fed, or dying."""

    feed: bool
    die: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class DiskState:
    """This node's slot on a shared disk: when it was read last, and whether it says to die."""

    read_ns: int
    poisoned: bool


class Sentinel:
    """`timeout_ms`: the watchdog's. `software`: there is none, and this process is the timer.

    `life`: what `life` said before this process was started again in the same boot.
    """

    def __init__(self, *, timeout_ms: int, software: bool, now_ns: int, life: Word | None = None) -> None:
        assert timeout_ms > 0
        self._timeout_ns, self._software = timeout_ms * _MS, software
        self._began_ns = min(life.value, now_ns) if life is not None else now_ns
        self._fed_ns = min(life.written_ns, now_ns) if life is not None and life.written_ns else now_ns

    def life(self, boot: str) -> Word:
        """What a next process of this boot has to know."""
        return Word(self._fed_ns, self._began_ns, boot[:LIFE_NOTE])

    @property
    def fed_ns(self) -> int:
        """When the watchdog was fed last."""
        return self._fed_ns

    def decide(
        self,
        now_ns: int,
        *,
        lease: Word | None,
        activity: Word | None,
        verdict: Word | None = None,
        disk: DiskState | None = None,
    ) -> Verdict:
        """Look at the words. Feed the watchdog at once when the answer says so."""
        if disk is not None and disk.poisoned:
            return Verdict(feed=False, die=True, why="told to die by the shared disk")
        if verdict is not None and verdict.written_ns >= self._began_ns:
            return Verdict(feed=False, die=True, why=verdict.note or "told to die")
        why = self._must_not_live(now_ns, lease, activity) or self._cannot_be_told(now_ns, disk)
        if not why:
            self._fed_ns = now_ns
            return Verdict(feed=True)
        late = now_ns - self._fed_ns >= self._timeout_ns
        return Verdict(feed=False, die=self._software and late, why=why)

    def _cannot_be_told(self, now_ns: int, disk: DiskState | None) -> str:
        """Others count on it that a message on the disk is read: who cannot read it must not live on."""
        if disk is None or now_ns - disk.read_ns < self._timeout_ns // 2:
            return ""
        return f"the shared disk cannot be read for {(now_ns - disk.read_ns) // _MS} ms"

    @staticmethod
    def may_stop(activity: Word | None) -> bool:
        """Whether the watchdog may be given back: nothing is active here."""
        return activity is None or activity.note == CLEAN or activity.value == 0

    @staticmethod
    def _must_not_live(now_ns: int, lease: Word | None, activity: Word | None) -> str:
        """Why the watchdog is not fed; empty: it is."""
        if activity is None or activity.note == CLEAN:
            return ""  # ha-lrm has run nothing in this boot, or has ended in order
        silent_ms = (now_ns - activity.written_ns) // _MS
        if activity.value == 0:
            return ""
        if silent_ms > ACTIVITY_STALE_MS:
            return f"ha-lrm is silent for {silent_ms // 1_000} s, with {activity.value} active"
        if lease is None or lease.value <= now_ns:
            return f"no lease, with {activity.value} active"
        return ""
