"""Classes of the replicated CIB on disks that are full, or that lie, and under wall clocks that jump.

And with real views: links that flap, packets that are too long for the path, clocks at their bound.
"""

from __future__ import annotations

import random

from tests.sim.cib import ReplicaProcess
from tests.sim.cib_classes import CibProfile, CibRun, writer
from tests.sim.classes import register
from tests.sim.engine import MS, SECOND, InvariantBroken
from tests.sim.full import FullProfile, FullRun
from tests.sim.plan import Fault
from tests.sim.trouble import WALL_S

ROOM_BYTES = (0, 10, 30, 100, 300, 1_000, 3_000)


class CibTroubleRun(CibRun):
    """As `cib`, with more kinds of faults."""

    def _make(self, kind: str, at_ns: int) -> list[Fault]:
        rng = self.rng
        one = (rng.choice([node.name for node in self.cluster.nodes.values()]),)
        match kind:
            case "full-disk":
                room_bytes, for_ns = rng.choice(ROOM_BYTES), rng.randint(1, 5_000) * MS
                return [Fault(at_ns=at_ns, kind=kind, nodes=one, link=room_bytes, for_ns=for_ns)]
            case "wall":
                return [Fault(at_ns=at_ns, kind=kind, nodes=one, link=rng.randrange(len(WALL_S)))]
            case _:
                return super()._make(kind, at_ns)

    def inflict(self, fault: Fault) -> None:
        node = next((node for node in self.cluster.nodes.values() if node.name in fault.nodes), None)
        if fault.kind not in ("full-disk", "wall") or node is None:
            super().inflict(fault)
            return
        self.world.note("fault", str(fault)[14:])
        if fault.kind == "wall":
            node.wall_ahead_s = WALL_S[fault.link or 0]
            return
        node.disk.room_bytes = fault.link
        process = next(one for one in self.cluster.processes if one.node is node)

        def mend() -> None:
            node.disk.room_bytes = None
            process.start()

        self.world.after(fault.for_ns, f"room on {node.name}", mend)

    def settle(self) -> None:
        for node in self.cluster.nodes.values():
            node.disk.room_bytes = None
        super().settle()


class LyingRun(CibRun):
    """One node's fsync lies, then its power fails; all others are well until it is caught up again."""

    def play(self) -> None:
        self.boot()
        end_ns = self.world.now_ns + 60 * SECOND
        if self.clients:
            writer(self.world, self.cluster, end_ns, gap_ns=200 * MS, force=0.0)
        for _ in range(4):
            process = self.rng.choice(self.cluster.processes)
            other = self.rng.choice(self.cluster.processes)
            disk = process.node.disk
            disk.lies = disk.unreliable = True
            self.world.note("fault", f"lying-disk {process.node.name}")
            if self.rng.random() < 0.5:  # it has something to promise
                other.crash()
                self.world.after(self.rng.randint(1, 2_000) * MS, f"restart {other.name}", other.start)
            self.world.run_until(self.world.now_ns + self.rng.randint(1, 6_000) * MS)
            self._power(process, self.rng.randint(1, 6_000) * MS)
            self.world.run_until(self.world.now_ns + 7 * SECOND)
            self._wait_for(process)
        self.world.run_until(max(end_ns, self.world.now_ns))
        self.settle()

    def _wait_for(self, process: ReplicaProcess) -> None:
        """Until it has again what the others have, and a vote."""
        until_ns = self.world.now_ns + 40 * SECOND
        while self.world.now_ns < until_ns:
            dc, core = self.cluster.dc(safe=True), process.core
            if dc is not None and dc.core is not None and core is not None and core.promise.voter:
                caught_up = core.replication.log.commit_index >= dc.core.replication.log.commit_index - 1
                if caught_up and core.dc.term == dc.core.dc.term:
                    return
            self.world.run_until(self.world.now_ns + 100 * MS)
        raise InvariantBroken("I16", f"{process.name} is not caught up 40 s after it has booted")


class FullClockRun(FullRun):
    """Each clock is off by all that is allowed, to one side or the other."""

    def __init__(self, seed: int, profile: FullProfile) -> None:
        super().__init__(seed, profile)
        rng = random.Random(f"{seed}/rates")
        for node in self.membership.nodes.values():
            node.clock.rate_ppm = rng.choice([-50_000, 50_000])


def _class(name: str, profile: CibProfile) -> None:
    register(name)(lambda seed: CibTroubleRun(seed, profile))


_FULL = ("full-disk", "power", "partition", "between")
_class("cib3-full-disk", CibProfile(kinds=_FULL))
_class("cib3-full-disk-compact", CibProfile(kinds=_FULL, keep_entries=5, write_gap_ns=100 * MS))
_class("cib3-wall", CibProfile(kinds=("wall", "partition", "power", "kill"), force=0.5))
register("cib3-lying")(lambda seed: LyingRun(seed, CibProfile()))
register("full3-net")(
    lambda seed: FullRun(
        seed, FullProfile(kinds=("swizzle", "flap", "mtu-hole", "noise", "one-way", "slow-disk", "kill"))
    )
)
register("full3-clock")(lambda seed: FullClockRun(seed, FullProfile()))
