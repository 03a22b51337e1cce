"""wait_for_all with votes enough: who comes to a cluster that acts has nothing to wait for (7.3).

One node stays off while the others boot one after another; in the end none of those who are here has been
with all voters since its boot, and they act all the same. A cluster that boots as a whole waits.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from crm.peers.waiting import LOOK_S, ends_waiting
from hacluster.vocabulary.ids import NO_VIEW, ViewId
from messaging.membership.quorum import all_voters_in
from messaging.membership.waiting import WaitingEnded
from tests.sim.cib import ReplicaProcess
from tests.sim.classes import register
from tests.sim.engine import MS, SECOND, InvariantBroken, World
from tests.sim.full import FullProfile, FullRun
from tests.sim.membership import MembershipCluster, MessagingProcess

LOOK_NS: Final = int(LOOK_S * SECOND)
CHAOS: Final = ("partition", "cut", "power", "power", "kill", "pause")


class Waits:
    """Nobody acts before it was in a view of all voters since its boot, or in one with somebody who acts."""

    def __init__(self, cluster: MembershipCluster) -> None:
        self.cluster = cluster
        self.views_that_act: set[ViewId] = set()
        self.let_in: dict[str, int] = {}  # in which boot
        self._last: dict[str, ViewId] = {}

    def after_event(self, world: World) -> None:
        """Those who need not wait first, then those who say so."""
        for process in self.cluster.live():
            view = process.core.agreement.installed if process.core is not None else None
            if view is not None and self._last.get(process.node.name) != view.id:
                self._last[process.node.name] = view.id
                if all_voters_in(self.cluster.quorum, {member.id for member in view.members}):
                    self._let_in(process)
        acting = [process for process in self.cluster.live() if self._acts(process)]
        for process in sorted(acting, key=lambda one: not self._is_in(one)):
            view_id = self._view(process)
            if self._is_in(process):
                self.views_that_act.add(view_id)
            elif view_id in self.views_that_act:
                world.count("waited_no_more")
                self._let_in(process)
            else:
                raise InvariantBroken("7.3", f"{process.node.name} acts in {view_id} and should wait for all")

    def settled(self, world: World) -> None:
        """Nothing more."""

    def _let_in(self, process: MessagingProcess) -> None:
        self.let_in[process.node.name] = process.node.boots

    def _is_in(self, process: MessagingProcess) -> bool:
        return self.let_in.get(process.node.name) == process.node.boots

    @staticmethod
    def _acts(process: MessagingProcess) -> bool:
        return process.status is not None and process.status.authority.quorate

    @staticmethod
    def _view(process: MessagingProcess) -> ViewId:
        return process.status.authority.view.id if process.status is not None else NO_VIEW


class WaitRun(FullRun):
    """One is off for long, the others boot one by one; then faults as ever."""

    def __init__(self, seed: int, profile: FullProfile) -> None:
        super().__init__(seed, profile)
        self.cluster.quorum = self.membership.quorum
        self.world.checkers.append(Waits(self.membership))
        for replica in self.cluster.processes:
            self.world.after(self.rng.randrange(LOOK_NS), "look who waits", partial(self._look, replica))

    def begin(self) -> None:
        """The slow part; the faults that are drawn come after it."""
        super().begin()
        rng = self.world.stream("rolling")
        order = rng.sample(list(self.cluster.processes), len(self.cluster.processes))
        away, rest = order[0], order[1:]
        self.world.note("fault", f"{away.node.name} stays off")
        away.node.power_cut(rng)
        self.world.run_until(self.world.now_ns + rng.randint(1, 10_000) * MS)
        self._until_there_is_a_dc(f"{away.node.name} is off")
        for replica in rest:
            replica.node.power_cut(rng)
            self.world.run_until(self.world.now_ns + rng.randint(1, 10_000) * MS)
            replica.node.boot()
            self._until_there_is_a_dc(f"{replica.node.name} has booted, and {away.node.name} is off")
        away.node.boot()

    def _until_there_is_a_dc(self, why: str) -> None:
        """And nobody waits."""
        end_ns = self.world.now_ns + 30 * SECOND
        while self.world.now_ns < end_ns:
            self.world.run_until(self.world.now_ns + 200 * MS)
            waiting = [
                process.node.name
                for process in self.membership.live()
                if process.status is None or process.status.authority.waiting
            ]
            if not waiting and self.cluster.dc(safe=True) is not None:
                return
        raise InvariantBroken("I16", f"{why}: no DC, or somebody waits, after 30 s")

    def _look(self, replica: ReplicaProcess) -> None:
        """What `WaitingEnder` does."""
        self.world.after(LOOK_NS, "look who waits", partial(self._look, replica))
        messaging = self.membership.processes[replica.node.name]
        core, status = replica.core, messaging.status
        if core is None or status is None or not messaging.alive or not status.authority.waiting:
            return
        if ends_waiting(core.dc):
            messaging.deliver(WaitingEnded(core.election.view.id))


_profile = FullProfile(kinds=CHAOS, wait_for_all=True)
register("full3-wait")(lambda seed: WaitRun(seed, _profile))
