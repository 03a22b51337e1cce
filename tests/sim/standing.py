"""last_man_standing in the simulator: a DC that commits what ha-messaging suggests, as a joint change."""

from __future__ import annotations

from dataclasses import replace

from hacluster.vocabulary.membership import QuorumConfig
from messaging.membership import durable as slots
from messaging.membership.events import CommittedQuorum, QuorumConfigured
from messaging.membership.quorum import is_quorate
from tests.sim import plan
from tests.sim.classes import Profile, ViewsRun, register
from tests.sim.engine import MS, SECOND, START_NS, InvariantBroken
from tests.sim.membership import MembershipCluster, MessagingProcess

STEP_NS = 250 * MS


class JointDc:
    """Wherever somebody holds quorum: J to all members; when a quorum of both has stored it, F."""

    def __init__(self, cluster: MembershipCluster) -> None:
        self.cluster = cluster
        cluster.world.after(STEP_NS, "dc", self._step)

    def _step(self) -> None:
        for process in self.cluster.live():
            if not process.paused:
                self._act(process)
        self.cluster.world.after(STEP_NS, "dc", self._step)

    def _act(self, process: MessagingProcess) -> None:
        core, now_ns = process.core, process.node.clock.now_ns()
        assert core is not None
        view = core.agreement.installed
        if view is None or view.members[0].id != process.config.node_id:
            return
        if core.authority.lease_end_ns(now_ns) <= now_ns:
            return
        quorum, suggested = core.agreement.quorum, core.status(now_ns).suggested
        index = self.cluster.world.now_ns // MS
        if quorum.config.next is not None:
            stored = self._stored(quorum.log_index)
            if is_quorate(quorum.config, stored):
                quorum = CommittedQuorum(config=quorum.config.next, log_index=index)
                self.cluster.world.count("voters_changed")
        elif suggested is not None:
            quorum = CommittedQuorum(config=self._change(quorum.config, suggested), log_index=index)
        elif not quorum.log_index:
            return
        self._tell(process.node.name, [member.id for member in view.members], quorum)

    def _change(self, old: QuorumConfig, new: QuorumConfig) -> QuorumConfig:
        return replace(old, next=new)

    def _tell(self, source: str, members: list[int], quorum: CommittedQuorum) -> None:
        """Followers hear of it as of any entry of the log: over the network, or not."""
        for other in self.cluster.live():
            connected = self.cluster.network.connected(source, other.node.name)
            if other.config.node_id in members and connected:
                other.deliver(QuorumConfigured(quorum))

    def _stored(self, log_index: int) -> set[int]:
        """Whose disk holds the entry."""
        stored = set()
        for process in self.cluster.processes.values():
            raw = [process.disk.durable.get(f"view.{number}") for number in range(slots.SLOTS)]
            quorum = slots.durable_from(raw).quorum
            if quorum is not None and quorum.log_index >= log_index:
                stored.add(int(process.config.node_id))
        return stored


class LmsRun(ViewsRun):
    """Seven nodes go one by one, with time to shrink in between, until the tie-break node is alone."""

    def play(self) -> None:
        JointDc(self.cluster)
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        names = [name for name in self.cluster.network.nodes if name != "n1"]
        self.rng.shuffle(names)
        for name in names:
            self.cluster.nodes[name].power_cut(self.rng)
            self.world.run_until(self.world.now_ns + 20 * SECOND)
            self._all_quorate()
        assert len(self._voters().voters) == 1, "the last one did not become the only voter"
        for name in names:
            self.cluster.nodes[name].boot()
            self.world.run_until(self.world.now_ns + self.rng.randint(1, 20) * SECOND)
        self.settle()
        self.world.run_until(self.world.now_ns + 20 * SECOND)
        self._all_quorate()
        assert len(self._voters().voters) == 7, f"the voters did not grow back: {self._voters()}"

    def _voters(self) -> QuorumConfig:
        core = self.cluster.processes["n1"].core
        assert core is not None
        return core.agreement.quorum.config

    def _all_quorate(self) -> None:
        for process in self.cluster.live():
            if process.status is None or not process.status.authority.quorate:
                what = f"{process.node.name} lost quorum although all went one by one: {self._voters()}"
                raise InvariantBroken("I16", what)


class LmsChaosRun(ViewsRun):
    """The same rule under any faults: no two sets hold quorum, whatever was shrunk when (I14)."""

    def play(self) -> None:
        JointDc(self.cluster)
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        plan.schedule(self.cluster, self.planned(self.draw))
        self.world.run_until(self.world.now_ns + self.profile.faults_ns + 20 * SECOND)
        plan.end_faults(self.cluster)
        self.settle()


class LmsStepRun(ViewsRun):
    """Two of five are gone, and about the moment at which the voters become three, one more is cut off with a
    former list in its hand; then it and the two form a majority of the five (9.5: why the change is joint).
    """

    def play(self) -> None:
        JointDc(self.cluster)
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        names = list(self.cluster.network.nodes)
        self.rng.shuffle(names)
        gone, stay = names[:2], sorted(names[2:])
        away = self.cluster.processes[stay.pop(self.rng.randint(1, 2))]
        for name in gone:
            self.cluster.nodes[name].power_cut(self.rng)
        end_ns = self.world.now_ns + 10 * SECOND
        while not self.cluster.one_view() and self.world.now_ns < end_ns:
            self.world.run_until(self.world.now_ns + 50 * MS)
        self.world.run_until(self.world.now_ns + self.rng.randint(0, 1_500) * MS)
        away.crash()
        self.cluster.network.partition(stay, [away.node.name, *gone])
        self.world.note("fault", f"step: {away.node.name} joins {gone}, without {stay}")
        self.world.after(100 * MS, f"restart {away.name}", away.start)
        for name in gone:
            self.cluster.nodes[name].boot()
        self.world.run_until(self.world.now_ns + 45 * SECOND)
        self.cluster.network.heal()
        self.settle()


register("lms5-step")(lambda seed: LmsStepRun(seed, Profile(nodes=5, lms_window_ms=1_000)))
register("lms7")(lambda seed: LmsRun(seed, Profile(nodes=7, lms_window_ms=10_000)))
register("lms5-chaos")(
    lambda seed: LmsChaosRun(
        seed,
        Profile(
            nodes=5,
            kinds=("partition", "kill", "power", "pause", "cut"),
            lms_window_ms=1_000,
            faults_ns=90 * SECOND,
            mean_gap_ns=5 * SECOND,
        ),
    )
)
