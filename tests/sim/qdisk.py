"""The witness on a shared disk under real views: each node's real core, records written copy by copy (7.4).

The disk is slow now and then, out of a node's reach, and tears the copy at which a daemon dies.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from messaging.membership.events import AskWitness, ReleaseWitness, WitnessAnswered
from messaging.witness.ballot import DiskWitness, Effect, Event, Exchange, Exchanged, ExchangeFailed, asked_by
from messaging.witness.blocks import Block
from messaging.witness.core import GATHER_NS, Answer
from tests.sim import plan
from tests.sim.classes import Profile, ViewsRun, register
from tests.sim.engine import MS, SECOND, START_NS, InvariantBroken
from tests.sim.membership import MembershipCluster, MessagingProcess

KINDS = ("partition", "cut", "one-way", "kill", "crash-between", "power", "pause", "noise")
FAST_NS = (100_000, 3 * MS)
SLOW_NS = (50 * MS, 900 * MS)
OUT_OF_REACH_NS = 300 * MS


class SharedDisk:
    """Two copies of each node's record; None: torn."""

    def __init__(self, nodes: list[int]) -> None:
        self.copies: dict[int, list[Block | None]] = {node: [Block(), Block()] for node in nodes}

    def read(self, node: int) -> Block | None:
        """The newer whole copy."""
        whole = [copy for copy in self.copies[node] if copy is not None]
        return max(whole, key=lambda block: block.serial) if whole else None


class Side:
    """One node's way to the disk."""

    def __init__(self, process: MessagingProcess, disk: SharedDisk) -> None:
        self.process, self.disk, self.world = process, disk, process.world
        self.node = int(process.config.node_id)
        self.delay_ns, self.reaches = FAST_NS, True
        self._run = -1
        self._core = self._fresh()
        self._rng = self.world.stream(f"qdisk/{self.node}")
        process.on_ask.append(self._asked)

    def _fresh(self) -> DiskWitness:
        gather_ns = max(GATHER_NS, 2 * self.process.config.keepalive_ns)
        return DiskWitness(self.node, cluster=b"c" * 16, boot=bytes(32), gather_ns=gather_ns)

    def _asked(self, process: MessagingProcess, question: AskWitness | ReleaseWitness) -> None:
        if self._run != process.generation:
            self._run, self._core = process.generation, self._fresh()
        self._handle(asked_by(self.node, question))

    def _handle(self, event: Event) -> None:
        for effect in self._core.handle(event, self.process.node.clock.now_ns()):
            self._apply(effect)

    def _apply(self, effect: Effect) -> None:
        if isinstance(effect, Exchange):
            if not self.reaches:
                self.world.count("disk_out_of_reach")
                failed = ExchangeFailed(reason="it does not answer")
                self._then(OUT_OF_REACH_NS, partial(self._handle, failed))
            elif effect.write is None:
                self._then(self._delay_ns(), self._read)
            else:
                self._then(self._delay_ns(), partial(self._write, effect.write, 0), tears=0)
            return
        assert isinstance(effect, Answer)
        if effect.granted:
            self.world.count("witness_granted")
        self.process.deliver(
            WitnessAnswered(
                nonce=effect.nonce,
                view=effect.view,
                granted=effect.granted,
                lease_ms=effect.lease_ms,
                reason=effect.reason,
                runs=effect.runs,
            )
        )

    def _delay_ns(self) -> int:
        return self._rng.randint(*self.delay_ns)

    def _write(self, block: Block, copy: int) -> None:
        self.disk.copies[self.node][copy] = block
        if copy == 0:
            self._then(self._delay_ns(), partial(self._write, block, 1), tears=1)
        else:
            self._then(self._delay_ns(), self._read)

    def _read(self) -> None:
        self._handle(Exchanged(blocks={node: self.disk.read(node) for node in self.disk.copies}))

    def _then(self, in_ns: int, action: Callable[[], None], tears: int | None = None) -> None:
        """Unless the daemon dies first, which may tear what it was writing; a stopped one goes on later."""
        run = self._run

        def step() -> None:
            if self.process.generation != run or not self.process.alive:
                if tears is not None and self._rng.random() < 0.5:
                    self.world.count("record_torn")
                    self.disk.copies[self.node][tears] = None
            elif self.process.paused:
                self._then(50 * MS, action, tears)
            else:
                action()

        self.world.after(in_ns, f"disk of {self.node}", step)


class DiskWitnessRun(ViewsRun):
    """An even number of nodes and a shared disk, any faults, the disk's own among them; I14 all the time."""

    def __init__(self, seed: int, profile: Profile) -> None:
        super().__init__(seed, profile)
        disk = SharedDisk([int(process.config.node_id) for process in self.cluster.processes.values()])
        self.sides = [Side(process, disk) for process in self.cluster.processes.values()]

    def play(self) -> None:
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        plan.schedule(self.cluster, self.planned(self.draw))
        self._trouble(self.world.now_ns + self.profile.faults_ns)
        self.world.run_until(self.world.now_ns + self.profile.faults_ns + 20 * SECOND)
        plan.end_faults(self.cluster)
        self._mend()
        self.settle()

    def _mend(self) -> None:
        for side in self.sides:
            side.delay_ns, side.reaches = FAST_NS, True

    def _trouble(self, end_ns: int) -> None:
        rng = self.world.stream("disk trouble")

        def strike() -> None:
            if self.world.now_ns < end_ns:
                side = rng.choice(self.sides)
                side.delay_ns = rng.choice([FAST_NS, FAST_NS, SLOW_NS])
                side.reaches = rng.random() < 0.8
                self.world.after(int(rng.expovariate(1.0) * 6 * SECOND), "disk trouble", strike)

        self.world.after(rng.randint(1, 20) * SECOND, "disk trouble", strike)


class DiskHalvesRun(DiskWitnessRun):
    """Cut into halves that both reach the disk: exactly one goes on, soon."""

    def play(self) -> None:
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        names = list(self.cluster.network.nodes)
        for _ in range(4):
            self.rng.shuffle(names)
            half = len(names) // 2
            sides = names[:half], names[half:]
            self.cluster.network.partition(*sides)
            self.world.run_until(self.world.now_ns + 14 * SECOND)
            acting = [len([name for name in side if quorate(self.cluster, name)]) for side in sides]
            if sorted(acting) != [0, half]:
                raise InvariantBroken("I18", f"of two halves that reach the disk act {acting}: {sides}")
            self.cluster.network.heal()
            self.world.run_until(self.world.now_ns + self.rng.randint(8, 15) * SECOND)
        self.settle()


def quorate(cluster: MembershipCluster, name: str) -> bool:
    """What the node has published last."""
    status = cluster.processes[name].status
    return status is not None and status.authority.quorate


register("qdisk2")(lambda seed: DiskWitnessRun(seed, Profile(nodes=2, witness_votes=1, kinds=KINDS)))
register("qdisk4")(lambda seed: DiskWitnessRun(seed, Profile(nodes=4, witness_votes=1, kinds=KINDS)))
register("qdisk-halves")(lambda seed: DiskHalvesRun(seed, Profile(nodes=2 + seed % 2 * 2, witness_votes=1)))
