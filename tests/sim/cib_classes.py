"""Scenario classes of the replicated CIB: drawn faults, writers, healing, verdict."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

from crm.cib.replication.basis import Basis
from crm.election.quorum import halves, other_voter
from crm.replica.effects import FenceConfirmed
from crm.replica.events import BecameDc, ReplicaEvent
from tests.sim.cib import CibCluster, ReplicaProcess
from tests.sim.cib_checkers import (
    Durable,
    NoDamage,
    NothingSilent,
    OneDcATerm,
    SameChain,
    VersionGrows,
)
from tests.sim.cib_merge import MergedRightly, shared_name
from tests.sim.cib_reads import Linearizable
from tests.sim.cib_voters import VoterChanges, WaitsForTheOther
from tests.sim.classes import Planned, register
from tests.sim.engine import MS, SECOND, START_NS, SYNC_NS, World
from tests.sim.plan import Fault, moments

KINDS = ("partition", "kill", "power", "pause", "between", "slow-disk", "stand-still")


@dataclass(frozen=True, slots=True, kw_only=True)
class CibProfile:
    """The dials of a class."""

    nodes: int = 3
    founders: int = 0
    kinds: tuple[str, ...] = KINDS
    faults_ns: int = 40 * SECOND
    mean_gap_ns: int = 2 * SECOND
    write_gap_ns: int = 300 * MS
    force: float = 0.0
    two_node: bool = False
    fencing: bool = False
    wait_for_all: bool = True
    keep_entries: int = 1_000
    witness_votes: int = 0
    disjoint: bool = False  # cib-merge
    shared: float = 0.0  # so many of the writes change one of a few elements
    device: bool = False  # a fence device that tells the truth


SHARED = 3


def writer(
    world: World, cluster: CibCluster, end_ns: int, *, gap_ns: int, force: float, shared: float = 0.0
) -> None:
    """Numbered writes at whoever is DC until `end_ns`; now and then somebody asks for what is unknown."""
    rng = world.stream("writer")

    def write() -> None:
        if world.now_ns >= end_ns:
            return
        leading = [p for p in cluster.processes if p.core is not None and p.core.dc.is_me]
        if leading:
            process = rng.choice(leading)
            forced = rng.random() < force
            name = shared_name(rng.randrange(SHARED)) if shared and rng.random() < shared else ""
            cluster.clients.write(process, force=forced, shared=name)
            if rng.random() < 0.2:
                cluster.clients.ask_again(process)
        world.after(int(rng.expovariate(1.0) * gap_ns), "write", write)

    write()


class CibRun(Planned):
    """Boot, faults under load, healing, verdict."""

    def __init__(self, seed: int, profile: CibProfile) -> None:
        self.world = World(seed)
        self.profile = profile
        self.rng = self.world.stream("plan")
        self.disk_rng = self.world.stream("plan/disks")
        self.device_rng = self.world.stream("device")
        self.cluster = CibCluster(
            self.world,
            profile.nodes,
            founders=profile.founders,
            two_node=profile.two_node,
            fencing=profile.fencing,
            wait_for_all=profile.wait_for_all,
            witness_votes=profile.witness_votes,
            keep_entries=profile.keep_entries,
            disjoint=profile.disjoint,
        )
        self.no_damage = NoDamage(self.cluster)
        self.world.checkers += [
            OneDcATerm(self.cluster),
            Durable(self.cluster),
            VersionGrows(self.cluster),
            self.no_damage,
            SameChain(self.cluster),
            NothingSilent(self.cluster),
        ]
        self.changes = VoterChanges(self.cluster)
        self.reads = Linearizable(self.cluster)
        self.world.checkers += [self.changes, self.reads, WaitsForTheOther(self.cluster)]
        if profile.disjoint:
            self.world.checkers.append(MergedRightly(self.cluster))
        if profile.device:
            self.cluster.listeners.append(self._fence)

    def play(self) -> None:
        """The whole of it."""
        self.boot()
        start_ns, end_ns = self.world.now_ns, self.world.now_ns + self.profile.faults_ns
        for fault in self.planned(self.draw):
            self.world.at(start_ns + fault.at_ns, f"fault {fault}", partial(self.inflict, fault))
        if self.clients:
            gap_ns, force = self.profile.write_gap_ns, self.profile.force
            shared = self.profile.shared
            writer(self.world, self.cluster, end_ns, gap_ns=gap_ns, force=force, shared=shared)
            self.reads.begin(end_ns)
        self.world.run_until(end_ns)
        self.settle()

    def boot(self) -> None:
        """All at once, until there is a first DC; those without a vote come later."""
        for one in range(1, (self.profile.founders or self.profile.nodes) + 1):
            self.cluster.boot(one)
        self.world.run_until(START_NS + 5 * SECOND)
        self.cluster.boot_all()

    def settle(self) -> None:
        """No faults any more: it must come to rest, soon."""
        self.world.note("fault", "all end")
        for node in self.cluster.nodes.values():
            node.disk.sync_ns, node.disk.broken = SYNC_NS, False
        self._cut_witness(cut=False)
        self.cluster.heal()
        self.cluster.boot_all()
        for process in self.cluster.processes:
            process.crash_after = None
            process.start()
        end_ns = self.world.now_ns + 40 * SECOND
        self.world.run_until(self.world.now_ns + 9 * SECOND)  # longer than any pause
        while self.world.now_ns < end_ns and not self.cluster.settled():
            self.world.run_until(self.world.now_ns + SECOND)
        self.world.run_until(self.world.now_ns + SECOND)
        self.world.settle()

    def _fence(self, process: ReplicaProcess, event: ReplicaEvent) -> None:
        """A DC that waits has the other fenced: the device acts on the machine as it is, and answers late."""
        if not isinstance(event, BecameDc) or event.basis is not Basis.FENCED or event.established:
            return
        assert process.core is not None
        number = other_voter(process.core.quorum, process.id)
        if number is None:
            return
        other = self.cluster.by_id[number]
        known = other.node.boot_token
        rng = self.device_rng

        def shoot() -> None:
            core = process.core
            if core is None or core.replication.leading is None or not core.replication.leading.waits:
                return
            self.world.note("device", f"{other.node.name} off for {process.node.name}")
            self._power(other, rng.randint(1_000, 9_000) * MS)
            delay_ns = rng.choice([10 * MS, SECOND, 6 * SECOND])
            confirmed = FenceConfirmed(other.id, known)
            self.world.after(delay_ns, "confirmation", lambda: process.deliver(confirmed))

        self.world.after(rng.randint(100, 3_000) * MS, f"shoot {other.node.name}", shoot)

    # -- faults

    def draw(self) -> list[Fault]:
        """The faults of this seed; only some of the kinds in one run."""
        rng, profile = self.rng, self.profile
        kinds = rng.sample(profile.kinds, rng.randint(1, len(profile.kinds)))
        faults: list[Fault] = []
        for at_ns in moments(rng, profile.mean_gap_ns, profile.faults_ns):
            faults += self._make("mend" if rng.random() < 0.3 else rng.choice(kinds), at_ns)
        return faults

    def _make(self, kind: str, at_ns: int) -> list[Fault]:
        rng = self.rng
        names = [node.name for node in self.cluster.nodes.values()]
        rng.shuffle(names)
        one = (names[0],)
        match kind:
            case "mend":
                return [Fault(at_ns=at_ns, kind=kind)]
            case "partition":
                return [Fault(at_ns=at_ns, kind=kind, nodes=tuple(names[: rng.randint(1, len(names) - 1)]))]
            case "kill":
                return [Fault(at_ns=at_ns, kind=kind, nodes=one, for_ns=rng.randint(1, 3_000) * MS)]
            case "between":
                return [Fault(at_ns=at_ns, kind=kind, nodes=one, link=rng.randrange(12))]
            case "merge":
                return [Fault(at_ns=at_ns, kind=kind, nodes=one, link=rng.randrange(6))]
            case "power":
                off = names[: rng.randint(1, len(names))]
                return [
                    Fault(at_ns=at_ns, kind=kind, nodes=(name,), for_ns=rng.randint(1, 8_000) * MS)
                    for name in off
                ]
            case "pause":
                for_ns = rng.choice([300 * MS, 2 * SECOND, 6 * SECOND])
                return [Fault(at_ns=at_ns, kind=kind, nodes=one, for_ns=for_ns)]
            case "stand-still":
                for_ns = rng.choice([300 * MS, 6 * SECOND])
                return [Fault(at_ns=at_ns, kind=kind, nodes=one, for_ns=for_ns)]
            case "slow-disk":
                return [Fault(at_ns=at_ns, kind=kind, nodes=one, link=rng.randrange(2))]
            case "wipe" | "damage" | "broken-disk":
                return [Fault(at_ns=at_ns, kind=kind, nodes=one, for_ns=rng.randint(1, 5_000) * MS)]
            case "witness":
                return [Fault(at_ns=at_ns, kind=kind, for_ns=rng.choice([100 * MS, 3 * SECOND, 12 * SECOND]))]
            case "voters":
                return [Fault(at_ns=at_ns, kind=kind, nodes=one, link=rng.randrange(1 << 30))]
            case _:
                raise AssertionError(kind)

    def inflict(self, fault: Fault) -> None:
        """Do it now."""
        cluster, world = self.cluster, self.world
        world.note("fault", str(fault)[14:])
        if fault.kind == "mend":
            cluster.heal()
            return
        if fault.kind == "witness":
            self._cut_witness(cut=True)
            world.after(fault.for_ns, "witness back", lambda: self._cut_witness(cut=False))
            return
        ids = [one for one, node in cluster.nodes.items() if node.name in fault.nodes]
        victim = cluster.by_id[ids[0]]
        match fault.kind:
            case "partition":
                cluster.partition(ids, [one for one in cluster.nodes if one not in ids])
            case "kill":
                victim.crash()
                world.after(fault.for_ns, f"restart {victim.name}", victim.start)
            case "between":
                victim.crash_after = fault.link
            case "merge":
                victim.crash_at_merge = fault.link
            case "power":
                self._power(victim, fault.for_ns)
            case "pause":
                victim.pause(fault.for_ns)
            case "stand-still":
                victim.node.pause(fault.for_ns, clock_stands=True)
            case "slow-disk":
                victim.node.disk.sync_ns = (200 * MS, 3 * SECOND) if fault.link else SYNC_NS
            case "broken-disk":
                self._break_disk(victim, fault.for_ns)
            case "wipe" | "damage":
                self._lose_copy(victim, fault)
            case "voters":
                self.changes.strike(random.Random(fault.link))
            case _:
                raise AssertionError(fault.kind)

    def _cut_witness(self, *, cut: bool) -> None:
        witness = self.cluster.witness
        if witness is not None:
            witness.cut = cut
            witness.look()

    def _power(self, process: ReplicaProcess, for_ns: int) -> None:
        self.cluster.power_cut(process.id, self.disk_rng)
        self.world.after(for_ns, f"boot {process.node.name}", lambda: self.cluster.boot(process.id))

    def _break_disk(self, process: ReplicaProcess, for_ns: int) -> None:
        """EIO on every write: the daemon ends with the first; it is started again when the disk is mended."""
        process.node.disk.broken = True

        def mend() -> None:
            process.node.disk.broken = False
            process.start()

        self.world.after(for_ns, f"mend disk {process.node.name}", mend)

    def _may_lose(self, process: ReplicaProcess) -> bool:
        """At most a minority is without a memory at one time, and only of a cluster that has begun.

        A witness that no DC has told yet who is in sync has none either: it may be one that lost its disk.
        """
        broken = {p.id for p in self.cluster.processes if not self._has_memory(p)} | {process.id}
        witness = self.cluster.witness
        if witness is not None and witness.in_sync <= broken and witness.in_sync:
            return False
        return process.node.up and not any(self._is_too_many(broken, p) for p in self.cluster.processes)

    def _lose_copy(self, process: ReplicaProcess, fault: Fault) -> None:
        if not self._may_lose(process):
            return
        self._power(process, fault.for_ns)
        if fault.kind == "wipe":
            process.node.disk.wipe()
        else:
            names = [name for name in process.storage.names() if name == "promise" or name.startswith("log.")]
            name = self.disk_rng.choice(names)
            process.node.disk.damage(f"cib/{name}", self.disk_rng)
            self.no_damage.damage(process)

    def _is_too_many(self, broken: set[int], process: ReplicaProcess) -> bool:
        """Whether a set of voters that this node goes by would have lost half of its memories."""
        if process.core is None:
            return True
        witness = self.cluster.witness
        for half in halves(process.core.quorum):
            lost = sum(votes for node, votes in half.voters if node in broken)
            if 2 * lost >= half.votes_total:
                return True
            if witness is not None and not witness.in_sync:
                lost += half.witness_votes
            if 2 * lost >= half.votes_total + half.witness_votes:
                return True
        return False

    def _has_memory(self, process: ReplicaProcess) -> bool:
        return process.core is not None and process.core.promise.voter


def _class(name: str, profile: CibProfile) -> None:
    register(name)(lambda seed: CibRun(seed, profile))


_class("cib3", CibProfile())
_class("cib5", CibProfile(nodes=5))
_class("cib3-force", CibProfile(kinds=("partition", "power", "kill"), force=0.5))
_class("cib3-merge", CibProfile(kinds=("partition", "partition", "kill", "merge"), force=0.5))
_class(
    "cib3-disjoint",
    CibProfile(
        kinds=("partition", "partition", "kill", "merge", "power"), force=0.5, disjoint=True, shared=0.5
    ),
)
_class("cib5-disjoint", CibProfile(nodes=5, kinds=KINDS, force=0.5, disjoint=True, shared=0.5))
_class("cib2-disjoint", CibProfile(nodes=2, two_node=True, disjoint=True, shared=0.5))
_class("cib3-power", CibProfile(kinds=("power", "between", "partition")))
_class("cib3-wipe", CibProfile(kinds=("wipe", "partition", "kill"), mean_gap_ns=4 * SECOND))
_class("cib5-damage", CibProfile(nodes=5, kinds=("damage", "wipe", "partition"), mean_gap_ns=4 * SECOND))
_class("cib3-eio", CibProfile(kinds=("broken-disk", "power", "partition", "between")))
_class("cib2-assumed", CibProfile(nodes=2, two_node=True))
_class("cib2-fencing", CibProfile(nodes=2, two_node=True, fencing=True, force=0.2))
_class("cib2-alone", CibProfile(nodes=2, two_node=True, wait_for_all=False))
_class("cib3-compact", CibProfile(keep_entries=5, force=0.1, write_gap_ns=100 * MS))
_class("cib3-compact-wipe", CibProfile(keep_entries=5, kinds=("wipe", "damage", "partition", "kill")))
_class("cib2-fenced", CibProfile(nodes=2, two_node=True, fencing=True, device=True))
_class(
    "cib2-fenced-alone",
    CibProfile(
        nodes=2,
        two_node=True,
        fencing=True,
        device=True,
        wait_for_all=False,
        kinds=("partition", "power", "kill"),
    ),
)
_WITNESSED = (*KINDS, "witness", "partition", "power")
_class("witness2", CibProfile(nodes=2, witness_votes=1, kinds=_WITNESSED))
_class("witness3", CibProfile(nodes=3, witness_votes=2, kinds=_WITNESSED, mean_gap_ns=SECOND))
_class("witness4", CibProfile(nodes=4, witness_votes=1, kinds=_WITNESSED, force=0.1))
_class(
    "witness3-wipe",
    CibProfile(
        nodes=3, witness_votes=2, kinds=("wipe", "partition", "witness", "kill"), mean_gap_ns=3 * SECOND
    ),
)
_class(
    "witness4-voters",
    CibProfile(
        nodes=4, founders=2, witness_votes=1, kinds=("voters", "partition", "witness", "power", "kill")
    ),
)
_class("voters4", CibProfile(nodes=4, founders=3, kinds=(*KINDS, "voters", "voters"), mean_gap_ns=SECOND))
_class("voters5", CibProfile(nodes=5, founders=2, kinds=("voters", "partition", "power", "kill", "between")))
_class(
    "voters5-often",
    CibProfile(nodes=5, founders=2, kinds=("voters", "voters", "partition", "kill"), mean_gap_ns=150 * MS),
)
_class(
    "voters5-wipe",
    CibProfile(
        nodes=5, founders=3, kinds=("voters", "wipe", "damage", "partition", "kill"), mean_gap_ns=3 * SECOND
    ),
)
_class(
    "voters3-compact", CibProfile(nodes=3, founders=1, kinds=("voters", "partition", "kill"), keep_entries=5)
)
_class(
    "voters3-fenced",
    CibProfile(
        nodes=3,
        founders=2,
        two_node=True,
        fencing=True,
        device=True,
        kinds=("voters", "partition", "power", "kill"),
    ),
)
_class(
    "voters3-two",
    CibProfile(
        nodes=3,
        founders=3,
        fencing=True,
        device=True,
        kinds=("voters", "voters", "partition", "power", "kill", "between"),
        mean_gap_ns=250 * MS,
    ),
)
