"""Who left cleanly comes back, to some and not to others: an old LEAVE must not be believed (11.1, I3).

Nodes leave and join again, daemons are killed, machines lose power, and the network is cut in any way
between; a cut-off node keeps the LEAVE that it heard before. Whoever has quorum and says that a node left
cleanly has its resources started elsewhere without fencing, so it has to be true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hacluster.vocabulary.membership import NodeState
from messaging.membership.events import DaemonsChanged, Leave, LeaveRequested, Status
from tests.sim import plan
from tests.sim.classes import Profile, ViewsRun, register
from tests.sim.engine import MS, SECOND, START_NS, InvariantBroken, World
from tests.sim.membership import MembershipCluster, MessagingProcess
from tests.sim.qdisk import DiskWitnessRun
from tests.sim.witness import WitnessRun

OTHERS = ("leave", "join", "alone", "partition", "mend", "kill", "power")
"""What comes between the steps of an episode."""
PAUSES_MS = (200, 1_000, 4_000, 9_000)


@dataclass(slots=True)
class TrueLeaves:
    """I3: who has quorum says of nobody that it left cleanly who may run resources.

    It may from the moment at which it has quorum itself until it leaves cleanly, or until its machine is off.
    """

    cluster: MembershipCluster
    runs_since_boot: dict[str, int] = field(default_factory=dict)  # in which boot it had quorum

    def begin(self) -> None:
        """Listen to all nodes."""
        for process in self.cluster.processes.values():
            process.on_publish.append(self._published)

    def may_run(self, name: str) -> bool:
        """Whether resources may be active there."""
        node = self.cluster.nodes[name]
        return node.up and self.runs_since_boot.get(name) == node.boots

    def left(self, name: str) -> None:
        """It says that nothing is active, and so it is."""
        self.runs_since_boot.pop(name, None)

    def _published(self, process: MessagingProcess, status: Status) -> None:
        if not status.authority.quorate:
            return
        self.runs_since_boot[process.node.name] = process.node.boots
        members = {member.name for member in status.authority.view.members}
        for node in status.nodes:
            if node.name not in members and node.clean_leave and node.state is NodeState.LEFT:
                self.cluster.world.count("said_to_have_left")
                if self.may_run(node.name):
                    who = f"{process.node.name} in {status.authority.view.id}"
                    raise InvariantBroken(
                        "I3", f"{who} says that {node.name} left cleanly: it may run anything"
                    )

    def after_event(self, world: World) -> None:
        """Looked at when it is published."""

    def settled(self, world: World) -> None:
        """Nothing more."""


class LeaveSteps(ViewsRun):
    """Episodes: a node leaves, another is cut off, the first comes back and is lost; and anything between."""

    def start_up(self) -> None:
        """All boot together, and are watched."""
        self.leaves = TrueLeaves(self.cluster)
        self.leaves.begin()
        self.world.checkers.append(self.leaves)
        self._crm = 0
        self.boot_witness()
        self.cluster.boot_all()
        for name in self.cluster.nodes:
            self._join(name)
        self.world.run_until(START_NS + 4 * SECOND)

    def play(self) -> None:
        self.start_up()
        for fault in self.planned(self.draw):
            self.step(fault)
        plan.end_faults(self.cluster)
        self.boot_witness()
        for name in self.cluster.nodes:
            self._join(name)
        self.world.run_until(self.world.now_ns + 20 * SECOND)
        self.settle()

    def boot_witness(self) -> None:
        """When there is one."""

    def draw(self) -> list[plan.Fault]:
        """`at_ns` is the pause before each step."""
        rng, names = self.rng, list(self.cluster.network.nodes)
        steps = []
        for _ in range(4):
            leaver, deaf = rng.sample(names, 2)
            # In between the others may be struck, who alone know that it came back.
            struck = [
                (kind, name) for kind in self.profile.kinds for name in names if name not in (leaver, deaf)
            ]
            episode = [
                ("leave", leaver),
                ("alone", deaf),
                ("join", leaver),
                *struck,
                ("alone", leaver),
                ("mend", ""),
                ("join", leaver),
            ]
            for kind, name in episode:
                while rng.random() < 0.3:
                    steps.append(
                        self._draw_one(rng.choice((*OTHERS, *self.profile.kinds)), rng.choice(names))
                    )
                steps.append(self._draw_one(kind, name))
        return steps

    def _draw_one(self, kind: str, name: str) -> plan.Fault:
        rng, names = self.rng, list(self.cluster.network.nodes)
        nodes: tuple[str, ...] = (name,)
        if kind == "partition":
            nodes = tuple(sorted(rng.sample(names, rng.randint(1, len(names) - 1))))
        pause_ns, for_ns = rng.choice(PAUSES_MS) * MS, rng.randint(100, 6_000) * MS
        return plan.Fault(at_ns=pause_ns, kind=kind, nodes=nodes, for_ns=for_ns)

    def step(self, fault: plan.Fault) -> None:
        """Wait, and do it."""
        self.world.run_until(self.world.now_ns + fault.at_ns)
        steps: dict[str, Callable[[str], None]] = {
            "leave": self._leave,
            "join": self._join,
            "alone": self._alone,
        }
        if fault.kind == "wipe":
            self.views.wiped.update(fault.nodes)
            self.views.members.clear()  # alone it may come to the same ids
        if fault.kind in steps:
            self.world.note("fault", str(fault)[14:])
            steps[fault.kind](fault.nodes[0])
        else:
            plan.inflict(self.cluster, fault, self.world.stream("faults"))

    def _leave(self, name: str) -> None:
        """Its resources are stopped, it says LEAVE, and stays as it is until another ha-crm begins."""
        process = self.cluster.processes[name]
        if process.alive:
            self.leaves.left(name)
            self.world.count("left_cleanly")
            process.deliver(LeaveRequested(Leave(clean=True)))

    def _alone(self, name: str) -> None:
        """All others hear each other, and the witness."""
        network = self.cluster.network
        network.partition([name], [*(one for one in network.nodes if one != name), *network.beside])

    def _join(self, name: str) -> None:
        self._crm += 1
        process = self.cluster.processes[name]
        if process.alive:
            process.deliver(DaemonsChanged(crm_instance=self._crm, lrm_instance=self._crm))


class LeaveRun(LeaveSteps):
    """By votes of nodes alone."""


class LeaveWitnessRun(LeaveSteps, WitnessRun):
    """With ha-qnet, which may be all that two quorate views have in common."""

    def boot_witness(self) -> None:
        self._boot()


class LeaveDiskRun(LeaveSteps, DiskWitnessRun):
    """The same with a shared disk, which is out of a lonely node's reach."""

    def step(self, fault: plan.Fault) -> None:
        super().step(fault)
        if fault.kind in ("alone", "mend"):
            for side in self.sides:
                side.reaches = fault.kind == "mend" or side.process.node.name not in fault.nodes

    def settle(self) -> None:
        self._mend()
        super().settle()


register("left3")(lambda seed: LeaveRun(seed, Profile(nodes=3)))
register("left5")(lambda seed: LeaveRun(seed, Profile(nodes=5)))
register("left3-wipe")(lambda seed: LeaveRun(seed, Profile(nodes=3, kinds=("wipe",), check_quorum=False)))
register("left2-qnet")(lambda seed: LeaveWitnessRun(seed, Profile(nodes=2, witness_votes=1)))
register("left4-qnet")(lambda seed: LeaveWitnessRun(seed, Profile(nodes=4, witness_votes=1)))
register("left2-qdisk")(lambda seed: LeaveDiskRun(seed, Profile(nodes=2, witness_votes=1)))
