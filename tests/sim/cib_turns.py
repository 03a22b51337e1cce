"""Faults that wait for a turn: a DC has just put the next voters, or the end of a change, into its log.

What the rules of 9.5 are for happens in the milliseconds between that entry and its commit. Faults at drawn
moments seldom meet them; these are drawn as well, and strike at the next turn after their moment.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.sim.cib import ReplicaProcess
from tests.sim.cib_classes import CibProfile, CibRun
from tests.sim.classes import register
from tests.sim.engine import MS
from tests.sim.plan import Fault, moments

AFTER_NS = (0, 0, MS // 2, MS, 5 * MS, 30 * MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """Of one node's log: where its last voters stand, as it was seen last."""

    boot: int
    index: int


class TurnRun(CibRun):
    """As its profile says, and faults of kind "turn"."""

    def __init__(self, seed: int, profile: CibProfile) -> None:
        super().__init__(seed, profile)
        self._armed: list[Fault] = []
        self._over = False
        self._last: dict[int, _Turn] = {}
        self.cluster.watchers.append(self._look)

    def draw(self) -> list[Fault]:
        """All kinds in each run: without a change of voters there is no turn."""
        rng, profile = self.rng, self.profile
        faults: list[Fault] = []
        for at_ns in moments(rng, profile.mean_gap_ns, profile.faults_ns):
            faults += self._make(rng.choice(profile.kinds), at_ns)
        return faults

    def _make(self, kind: str, at_ns: int) -> list[Fault]:
        if kind != "turn":
            return super()._make(kind, at_ns)
        rng = self.rng
        how = rng.randrange(1 << 30)
        return [Fault(at_ns=at_ns, kind=kind, link=how, for_ns=rng.choice((100, 1_000, 4_000)) * MS)]

    def inflict(self, fault: Fault) -> None:
        if fault.kind == "turn":
            self._armed = [fault]  # one that met no turn is over
        else:
            super().inflict(fault)

    def settle(self) -> None:
        self._armed, self._over = [], True
        super().settle()

    def _look(self, process: ReplicaProcess) -> None:
        """After each event of a replica."""
        core = process.core
        if core is None or core.replication.leading is None:
            self._last.pop(process.id, None)
            return
        now = _Turn(boot=process.instance, index=core.replication.log.voters[0])
        before, self._last[process.id] = self._last.get(process.id), now
        if before is None or before.boot != now.boot or now.index <= before.index:
            return
        self.world.count("turn_to_next" if core.quorum.next is not None else "turn_is_over")
        if self._armed:
            fault = self._armed.pop()
            rng = random.Random(fault.link)
            self.world.after(
                rng.choice(AFTER_NS), f"turn {process.name}", lambda: self._strike(process, fault, rng)
            )

    def _strike(self, process: ReplicaProcess, fault: Fault, rng: random.Random) -> None:
        """Cut it off, with or without others; end its daemon, its machine, or others' machines.

        "apart": a machine ends, and another is out of its reach when it comes back; its ha-messaging may not
        have been told of the change by then.
        """
        if self._over:
            return  # the moment came after the end of all faults: nobody would mend it
        cluster, me = self.cluster, process.id
        others = [one for one in cluster.nodes if one != me]
        with_me = rng.sample(others, rng.randint(0, len(others) - 1))
        how = rng.choice(("alone", "some", "some", "kill", "power", "rest", "apart", "apart"))
        self.world.note("fault", f"turn {how} {process.node.name}")
        self.world.count(f"turn_{how}")
        match how:
            case "alone":
                cluster.partition([me], others)
            case "some":
                cluster.partition([me, *with_me], [one for one in others if one not in with_me])
            case "kill":
                process.crash()
                self.world.after(fault.for_ns, f"restart {process.name}", process.start)
            case "power":
                self._power(process, fault.for_ns)
            case "apart":
                first = rng.choice((process.id, *with_me))
                away = rng.choice([one for one in cluster.nodes if one != first])
                self._power(cluster.by_id[first], fault.for_ns)
                cluster.partition([away], [one for one in cluster.nodes if one != away])
            case _:
                for one in others:
                    if one not in with_me:
                        self._power(cluster.by_id[one], fault.for_ns)


def _class(name: str, profile: CibProfile) -> None:
    register(name)(lambda seed: TurnRun(seed, profile))


_KINDS = ("voters", "turn", "mend")
_SELDOM = ("voters", "voters", "turn", "turn", "mend")


_class("voters3-turn", CibProfile(nodes=3, founders=2, kinds=_KINDS, mean_gap_ns=150 * MS))
_class("voters5-turn", CibProfile(nodes=5, founders=3, kinds=_KINDS, mean_gap_ns=150 * MS))
_class(
    "voters3-turn-two",
    CibProfile(nodes=3, founders=3, fencing=True, device=True, kinds=_SELDOM, mean_gap_ns=500 * MS),
)
