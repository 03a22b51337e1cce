"""How well each link toward each peer works: losses, gaps, round trips, UP/DEGRADED/DOWN (4.5)."""

from __future__ import annotations

from collections import deque
from typing import Final

from hacluster.vocabulary.membership import LinkState

_BUCKET_NS: Final = 10_000_000_000
_BUCKETS_A_MINUTE: Final = 6
_HOUR_NS: Final = 3_600_000_000_000
_HOURS_A_DAY: Final = 24
_LOSS_DEGRADED_PERCENT: Final = 10


class LinkTracker:
    """One link toward one peer. Times are nanoseconds of the caller's clock."""

    def __init__(self, *, keepalive_ns: int, warntime_ns: int, deadtime_ns: int) -> None:
        self._keepalive_ns, self._warntime_ns, self._deadtime_ns = keepalive_ns, warntime_ns, deadtime_ns
        self.received = self.lost = self.duplicates = self.out_of_order = 0
        self.gap_max_ns = 0
        self.rtt_min_ns = 0
        self.last_ns = 0
        self.state = LinkState.DOWN
        self._highest = self._newest_heartbeat = -1
        self._wanted = LinkState.DOWN
        self._wanted_since_ns = 0
        self._lost_ns = 0  # when a loss was found last
        self._minute: deque[list[int]] = deque(maxlen=_BUCKETS_A_MINUTE)  # [bucket number, received, lost]

    @property
    def echo(self) -> int:
        """What our heartbeats tell the peer: low 32 bits of its highest sequence heard here."""
        return self._highest & 0xFFFFFFFF if self._highest >= 0 else 0

    @property
    def expected(self) -> int:
        """Received or lost."""
        return self.received + self.lost

    def begin_run(self) -> None:
        """The peer's daemon is new: its sequences start anew."""
        self._highest = self._newest_heartbeat = -1

    def heard(self, sequence: int, now_ns: int) -> None:
        """A new packet came.

        Packets for one peer alone leave gaps in the others' sequences, so a gap counts as loss only as far as
        heartbeats were due in the silence before it.
        """
        self.received += 1
        if sequence <= self._highest:
            self.out_of_order += 1
            return
        lost = 0
        if self._highest >= 0:
            gap_ns = now_ns - self.last_ns
            self.gap_max_ns = max(self.gap_max_ns, gap_ns)
            due = (gap_ns + self._keepalive_ns // 2) // self._keepalive_ns - 1
            lost = max(0, min(sequence - self._highest - 1, due))
            if lost:
                self.lost += lost
                self._lost_ns = now_ns
        self._highest = sequence
        self.last_ns = now_ns
        number = now_ns // _BUCKET_NS
        if not self._minute or self._minute[-1][0] != number:
            self._minute.append([number, 0, 0])
        self._minute[-1][1] += 1
        self._minute[-1][2] += lost

    def is_news(self, sequence: int) -> bool:
        """Whether this heartbeat was said after all that came before it: the network may have kept it."""
        newer = sequence > self._newest_heartbeat
        self._newest_heartbeat = max(self._newest_heartbeat, sequence)
        return newer

    def round_trip(self, rtt_ns: int) -> None:
        """The peer echoed what we sent `rtt_ns` ago; the least of all is what counts."""
        if not self.rtt_min_ns or rtt_ns < self.rtt_min_ns:
            self.rtt_min_ns = max(1, rtt_ns)

    def judge(self, now_ns: int) -> bool:
        """Bring `state` up to date; True when it changed. DOWN is believed at once, better news after 3·K."""
        wanted = self._verdict(now_ns)
        if wanted is not self._wanted:
            self._wanted, self._wanted_since_ns = wanted, now_ns
        settled = now_ns - self._wanted_since_ns >= 3 * self._keepalive_ns
        if wanted is self.state or not (settled or wanted is LinkState.DOWN):
            return False
        self.state = wanted
        return True

    def _verdict(self, now_ns: int) -> LinkState:
        silent_ns = now_ns - self.last_ns
        if not self.last_ns or silent_ns > self._deadtime_ns:
            return LinkState.DOWN
        if silent_ns <= self._warntime_ns and now_ns - self._lost_ns > (_BUCKETS_A_MINUTE + 1) * _BUCKET_NS:
            return LinkState.UP
        oldest = now_ns // _BUCKET_NS - _BUCKETS_A_MINUTE
        recent = [(received, lost) for number, received, lost in self._minute if number > oldest]
        lost = sum(lost for _, lost in recent)
        expected = lost + sum(received for received, _ in recent)
        if silent_ns > self._warntime_ns or 100 * lost > _LOSS_DEGRADED_PERCENT * expected:
            return LinkState.DEGRADED
        return LinkState.UP


class GapHistory:
    """The largest silence between two signs of life within the last day, by the hour."""

    def __init__(self) -> None:
        self._hours: deque[tuple[int, int]] = deque(maxlen=_HOURS_A_DAY)

    def add(self, gap_ns: int, now_ns: int) -> None:
        """One more gap."""
        hour = now_ns // _HOUR_NS
        if not self._hours or self._hours[-1][0] != hour:
            self._hours.append((hour, gap_ns))
        elif gap_ns > self._hours[-1][1]:
            self._hours[-1] = (hour, gap_ns)

    def largest_ns(self, now_ns: int) -> int:
        """0 without any."""
        oldest = now_ns // _HOUR_NS - _HOURS_A_DAY
        return max((gap for hour, gap in self._hours if hour > oldest), default=0)


def advised_deadtime_ns(largest_gap_ns: int, keepalive_ns: int) -> int:
    """What heartbeat's FAQ has people find by hand: twice the largest gap, at least four keepalives."""
    return max(2 * largest_gap_ns, 4 * keepalive_ns)
