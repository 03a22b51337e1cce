"""ha-messaging and the replicated CIB together: real membership cores give the views, quorum and leases.

Faults are the membership layer's plans; writers and checkers are the CIB's, and those of the views look on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

from hacluster.vocabulary.membership import Authority, MembershipView
from messaging.membership.events import DaemonsChanged, Status
from tests.sim import plan
from tests.sim.checkers import OneQuorum, Views
from tests.sim.cib import CibCluster, ReplicaProcess
from tests.sim.cib_checkers import Durable, NothingSilent, OneDcATerm, SameChain, VersionGrows
from tests.sim.cib_classes import writer
from tests.sim.cib_reads import Linearizable
from tests.sim.classes import CHAOS, Planned, register
from tests.sim.engine import MS, SECOND, START_NS, InvariantBroken, World
from tests.sim.membership import MembershipCluster, MessagingProcess, Timing


class MessagingViews:
    """In the place of the abstract service: what ha-messaging's Watch tells ha-crm."""

    def __init__(self, cluster: CibCluster, membership: MembershipCluster) -> None:
        self.cluster = cluster
        self.membership = membership
        self._told: dict[int, tuple[int, int]] = {}  # run of ha-messaging, instance of ha-crm
        for process in membership.processes.values():
            process.on_publish.append(self._published)

    def links_changed(self) -> None:
        """The cores find out by themselves."""

    def forget(self, node_id: int) -> None:
        """The cores forget by themselves."""

    def crm_changed(self) -> None:
        """ha-crm connects, or its stream ends: ha-messaging notices a little later."""
        self.cluster.world.after(MS, "crm streams", self._connect)

    def _connect(self) -> None:
        for replica in self.cluster.processes:
            messaging = self.membership.processes[replica.node.name]
            instance = replica.instance if replica.alive else 0
            state = (messaging.generation, instance)
            if messaging.alive and self._told.get(replica.id) != state:
                self._told[replica.id] = state
                messaging.deliver(DaemonsChanged(crm_instance=instance, lrm_instance=0))
                self.tell(replica)

    def _published(self, process: MessagingProcess, status: Status) -> None:
        replica = self.cluster.by_id[process.config.node_id]
        if self._told.get(replica.id, (0, 0))[0] != process.generation:
            self.crm_changed()  # a new run of ha-messaging: ha-crm calls again
        self.tell(replica)

    def tell(self, replica: ReplicaProcess) -> None:
        """The newest status; none while ha-messaging is down."""
        messaging = self.membership.processes[replica.node.name]
        if not replica.alive:
            return
        status = messaging.status if messaging.alive else None
        authority = (
            status.authority if status is not None else Authority(view=MembershipView(), quorate=False)
        )
        self.cluster.authority_changed(replica, authority)


@dataclass(frozen=True, slots=True, kw_only=True)
class FullProfile:
    """The dials of a class."""

    nodes: int = 3
    kinds: tuple[str, ...] = CHAOS
    faults_ns: int = 40 * SECOND
    two_node: bool = False
    wait_for_all: bool = False
    force: float = 0.0


class FullRun(Planned):
    """Boot, faults under load, healing, verdict."""

    def __init__(self, seed: int, profile: FullProfile) -> None:
        self.world = World(seed)
        self.profile = profile
        self.rng = self.world.stream("plan")
        self.timing = Timing(initdead_ns=6 * SECOND)
        self.membership = MembershipCluster(
            self.world,
            profile.nodes,
            timing=self.timing,
            two_node=profile.two_node,
            wait_for_all=profile.two_node or profile.wait_for_all,
        )
        self.cluster = CibCluster(
            self.world,
            profile.nodes,
            two_node=profile.two_node,
            nodes=dict(enumerate(self.membership.nodes.values(), 1)),
            given_network=self.membership.network,
        )
        self.cluster.views = MessagingViews(self.cluster, self.membership)
        self.world.checkers += [
            Views(self.membership),
            OneDcATerm(self.cluster),
            Durable(self.cluster),
            VersionGrows(self.cluster),
            SameChain(self.cluster),
            NothingSilent(self.cluster),
        ]
        self.reads = Linearizable(self.cluster)
        self.world.checkers.append(self.reads)
        if not profile.two_node:
            self.world.checkers.append(OneQuorum(self.membership))

    def play(self) -> None:
        """The whole of it."""
        self.begin()
        start_ns, rng = self.world.now_ns, self.world.stream("faults")
        for fault in self.planned(self.draw):
            self.world.at(
                start_ns + fault.at_ns,
                f"fault {fault}",
                partial(self._inflict, fault, rng),
            )
        end_ns = self.world.now_ns + self.profile.faults_ns
        if self.clients:
            writer(self.world, self.cluster, end_ns, gap_ns=300 * MS, force=self.profile.force)
            self.reads.begin(end_ns)
        self.world.run_until(end_ns + 20 * SECOND)
        plan.end_faults(self.membership)
        for replica in self.cluster.processes:
            replica.crash_after = None
            replica.start()
        self._settle()

    def begin(self) -> None:
        """What comes before the faults: all boot at once, and there is a DC."""
        self.membership.boot_all()
        self.world.run_until(START_NS + 5 * SECOND)
        if self.cluster.dc(safe=True) is None:
            raise InvariantBroken("I16", "no DC five seconds after all booted")

    def draw(self) -> list[plan.Fault]:
        """The faults of this seed."""
        faults = plan.draw(
            self.rng,
            self.cluster.network.nodes,
            kinds=self.profile.kinds,
            until_ns=self.profile.faults_ns,
            mean_gap_ns=3 * SECOND,
        )
        return sorted([*faults, *self._draw_crm()], key=lambda fault: fault.at_ns)

    def _draw_crm(self) -> list[plan.Fault]:
        """Now and then a ha-crm is killed, or stops for a while."""
        rng, faults = self.rng, []
        at_ns = 5 * SECOND
        while at_ns < self.profile.faults_ns:
            nodes = (rng.choice(self.cluster.network.nodes),)
            if rng.random() < 0.5:
                for_ns = rng.randint(1, 3_000) * MS
                faults.append(plan.Fault(at_ns=at_ns, kind="crm-kill", nodes=nodes, for_ns=for_ns))
            else:
                for_ns = rng.choice([300 * MS, 5 * SECOND])
                faults.append(plan.Fault(at_ns=at_ns, kind="crm-pause", nodes=nodes, for_ns=for_ns))
            at_ns += int(rng.expovariate(1.0) * 8 * SECOND)
        return faults

    def _inflict(self, fault: plan.Fault, rng: random.Random) -> None:
        if not fault.kind.startswith("crm-"):
            plan.inflict(self.membership, fault, rng)
            return
        self.world.note("fault", str(fault)[14:])
        for replica in self.cluster.processes:
            if replica.node.name in fault.nodes:
                if fault.kind == "crm-kill":
                    replica.crash()
                    self.world.after(fault.for_ns, f"restart {replica.name}", replica.start)
                else:
                    replica.pause(fault.for_ns)

    def _settle(self) -> None:
        end_ns = self.world.now_ns + 70 * self.timing.deadtime_ns + 20 * SECOND
        self.world.run_until(self.world.now_ns + 9 * SECOND)
        while self.world.now_ns < end_ns and not (self.membership.one_view() and self.cluster.settled()):
            self.world.run_until(self.world.now_ns + SECOND)
        self.world.run_until(self.world.now_ns + SECOND)
        self.world.settle()


def _class(name: str, profile: FullProfile) -> None:
    register(name)(lambda seed: FullRun(seed, profile))


_class("full3", FullProfile())
_class("full5", FullProfile(nodes=5))
_class("full2", FullProfile(nodes=2, two_node=True))
_class("full3-force", FullProfile(force=0.3))
