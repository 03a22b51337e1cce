"""D, after which a silent node is dead: fixed, or found by itself (cluster-protocol.md, 4.5).

`deadtime = "auto"`: twice the largest gap within a day, at least four keepalives and 500 ms, at most 30 s; at
once up, slowly down. A lease (7.5) that a node derives from our packets lasts 0.9 of *our* D, as our
heartbeats say it, for we call that node dead by the same D. So D may differ between nodes; but what we have
told must be remembered: a higher D is told only when the disk has it, and a lower one does not shorten what
was told before.
"""

from __future__ import annotations

from typing import Final

from messaging.membership.events import Config
from messaging.transport.links import advised_deadtime_ns

MS: Final = 1_000_000
FLOOR_NS: Final = 500 * MS
CEILING_NS: Final = 30_000 * MS
EASE_EVERY_NS: Final = 10_000 * MS
EASE_PERCENT: Final = 5
EPS_PERCENT: Final = 5
LEASE_PERCENT: Final = 90


def lease_ns(deadtime_ns: int) -> int:
    """L: for how long one packet's echo is support."""
    return deadtime_ns * LEASE_PERCENT // 100


def lease_bound_ns(deadtime_ns: int) -> int:
    """The same by our clock, which may be fast by EPS while the other's is slow by EPS."""
    return -(-lease_ns(deadtime_ns) * (100 + EPS_PERCENT) // (100 - EPS_PERCENT))


class Deadtime:
    """Our own D and W, and what others may make of it."""

    def __init__(self, config: Config, stored_ns: int, now_ns: int) -> None:
        """`stored_ns`: the highest D that a former run may have told; 0: the configured one."""
        self._config = config
        self.auto = config.deadtime_auto
        self.ns = config.deadtime_ns
        self.stored_ns = max(config.deadtime_ns, stored_ns) if self.auto else config.deadtime_ns
        self.former_ns = self.stored_ns
        self._peak_ns, self._peak_until_ns = self.ns, now_ns
        self._eased_ns = now_ns
        self._storing: dict[int, int] = {}

    @property
    def warntime_ns(self) -> int:
        """W; half of D when D is found by itself."""
        return max(self._config.keepalive_ns + 1, self.ns // 2) if self.auto else self._config.warntime_ns

    @property
    def told_ns(self) -> int:
        """The D that our heartbeats carry: never above what the disk has, nor above what we act on."""
        return min(self.ns, self.stored_ns)

    @property
    def told_ms(self) -> int:
        """The same as heartbeats say it; 0 while D is the configured one, which everybody knows."""
        return self.told_ns // MS if self.auto else 0

    def bound_ns(self, now_ns: int) -> int:
        """For how long somebody may count on one packet of ours, by our clock, whatever was told lately."""
        told_ns = self.told_ns
        if told_ns >= self._peak_ns or now_ns >= self._peak_until_ns:
            self._peak_ns = told_ns
            self._peak_until_ns = now_ns + 2 * told_ns
        return lease_bound_ns(self._peak_ns)

    def wants_storing(self) -> bool:
        """Whether the disk has to know a higher D before the others may."""
        return self.auto and self.ns > max(self.stored_ns, *self._storing.values(), 0)

    def storing(self, token: int) -> int:
        """What the persist with this token lets the disk remember; 0 for the configured D."""
        if not self.auto:
            return 0
        self._storing[token] = max(self.ns, self._peak_ns)
        return self._storing[token]

    def stored(self, token: int) -> None:
        """The disk has it; those ordered before are over."""
        for number in [number for number in self._storing if number <= token]:
            self.stored_ns = self._storing.pop(number)

    def granted_by(self, told_ms: int) -> int:
        """The D of a peer, as its heartbeat says it."""
        if not self.auto:
            return self._config.deadtime_ns
        return min(told_ms * MS, CEILING_NS) or FLOOR_NS

    def observe(self, largest_gap_ns: int, now_ns: int) -> bool:
        """Bring D up to what the largest gap advises, or a little closer down; True when it changed."""
        if not self.auto:
            return False
        advised_ns = advised_deadtime_ns(largest_gap_ns, self._config.keepalive_ns)
        wanted_ns = min(max(FLOOR_NS, advised_ns), CEILING_NS)
        if wanted_ns >= self.ns:
            self._eased_ns = now_ns
            changed, self.ns = wanted_ns > self.ns, wanted_ns
            return changed
        if now_ns - self._eased_ns < EASE_EVERY_NS:
            return False
        self._eased_ns = now_ns
        self.bound_ns(now_ns)  # what was told so far counts on
        self.ns = max(wanted_ns, self.ns * (100 - EASE_PERCENT) // 100)
        return True
