"""The witness in the simulator: the real core on a machine of its own, between two halves (7.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from messaging.membership.events import AskWitness, ReleaseWitness
from messaging.witness.core import Answer, Asked, Effect, Event, Persist, Released, WitnessCore, WitnessState
from tests.sim import plan
from tests.sim.classes import Profile, ViewsRun, register
from tests.sim.engine import MS, SECOND, START_NS, InvariantBroken, Node, PersistRequest, Process
from tests.sim.membership import WITNESS_NODE, MembershipCluster, MessagingProcess

KINDS = ("partition", "cut", "one-way", "kill", "crash-between", "power", "pause", "noise")


class WitnessProcess(Process[Event, Effect]):
    """ha-qnet: answers leave when the state is on disk."""

    def __init__(self, cluster: MembershipCluster) -> None:
        super().__init__(Node(cluster.world, WITNESS_NODE), "qnet")
        self.cluster = cluster
        self.core: WitnessCore | None = None
        self._saved = WitnessState()
        self._writing: list[WitnessState] = []
        cluster.network.attach(WITNESS_NODE, self._arrive)
        for process in cluster.processes.values():
            process.on_ask.append(self._ask)

    def begin(self) -> Sequence[Effect]:
        self.core = WitnessCore(self.remembered(), self.node.clock.now_ns())
        return []

    def remembered(self) -> WitnessState:
        """What the disk holds."""
        number = self.node.disk.read("state")
        return self._writing[int(number)] if number is not None else WitnessState()

    def handle(self, event: Event, now_ns: int) -> Sequence[Effect]:
        assert self.core is not None
        return self.core.handle(event, now_ns)

    def persist_of(self, effect: Effect) -> PersistRequest[Event] | None:
        if not isinstance(effect, Persist):
            return None
        self._writing.append(effect.state)
        data = b"%d" % (len(self._writing) - 1)
        return PersistRequest(file="state", data=data, done=None, failed=None)

    def apply(self, effect: Effect) -> None:
        if isinstance(effect, Answer):
            name = f"n{effect.node}"
            if effect.granted:
                self.world.count("witness_granted")
            self.cluster.network.send(WITNESS_NODE, name, 0, effect)

    def _ask(self, process: MessagingProcess, question: AskWitness | ReleaseWitness) -> None:
        node, event = int(process.config.node_id), cast(Event, None)
        if isinstance(question, ReleaseWitness):
            event = Released(node=node, view=question.view)
        else:
            event = Asked(
                node=node,
                nonce=question.nonce,
                view=question.view,
                members=question.members,
                voters=question.voters,
                config_index=question.config_index,
                lease_ms=question.lease_ms,
                runs=question.runs,
            )
        self.cluster.network.send(process.node.name, WITNESS_NODE, 0, event)

    def _arrive(self, _source: str, _link: int, payload: object) -> None:
        self.deliver(cast(Event, payload))


class WitnessRun(ViewsRun):
    """An even number of nodes and a witness, any faults, the witness' own among them; I14 all the time."""

    def __init__(self, seed: int, profile: Profile) -> None:
        super().__init__(seed, profile)
        self.witness = WitnessProcess(self.cluster)

    def play(self) -> None:
        self.witness.node.boot()
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        plan.schedule(self.cluster, self.planned(self.draw))
        self._own_faults(self.world.now_ns + self.profile.faults_ns)
        self.world.run_until(self.world.now_ns + self.profile.faults_ns + 20 * SECOND)
        plan.end_faults(self.cluster)
        self._boot()
        self.settle()

    def _boot(self) -> None:
        if not self.witness.node.up:
            self.witness.node.boot()

    def _own_faults(self, end_ns: int) -> None:
        def strike() -> None:
            if self.world.now_ns >= end_ns:
                return
            node = self.witness.node
            if node.up and self.rng.random() < 0.5:
                node.power_cut(self.rng)
                self.world.after(self.rng.randint(1, 8_000) * MS, "boot w", self._boot)
            self.world.after(int(self.rng.expovariate(1.0) * 15 * SECOND), "witness fault", strike)

        self.world.after(self.rng.randint(1, 20) * SECOND, "witness fault", strike)


class HalvesRun(WitnessRun):
    """Cut into halves that both reach the witness: exactly one goes on, soon; so does the last node."""

    def play(self) -> None:
        self.witness.node.boot()
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        names = list(self.cluster.network.nodes)
        for _ in range(4):
            self.rng.shuffle(names)
            half = len(names) // 2
            self.cluster.network.partition(names[:half], names[half:], shared=(WITNESS_NODE,))
            self.world.note("fault", f"halves: {names[:half]} and {names[half:]}")
            self.world.run_until(self.world.now_ns + 14 * SECOND)
            acting = [
                {p.node.name for p in self.cluster.live() if p.status and p.status.authority.quorate}
                & set(side)
                for side in (names[:half], names[half:])
            ]
            if sorted(map(len, acting)) != [0, half]:
                raise InvariantBroken("I18", f"of two halves that reach the witness act {acting}")
            self.cluster.network.heal()
            self.world.run_until(self.world.now_ns + self.rng.randint(8, 15) * SECOND)
        self.settle()


class MemoryRun(WitnessRun):
    """The witness changes sides, and is started anew on the way: it waits for the lease that it has given."""

    def play(self) -> None:
        self.witness.node.boot()
        self.cluster.boot_all()
        self.world.run_until(START_NS + 3 * SECOND)
        for _ in range(4):
            first, second = self.rng.sample(list(self.cluster.network.nodes), 2)
            self.cluster.network.partition([first, WITNESS_NODE], [second])
            self.world.run_until(self.world.now_ns + 14 * SECOND)
            assert self._acts(first), f"{first} has the witness and does not act"
            self.witness.node.power_cut(self.rng)
            self.cluster.network.partition([first], [second, WITNESS_NODE])
            self.world.after(self.rng.randint(1, 500) * MS, "boot w", self._boot)
            self.world.run_until(self.world.now_ns + 14 * SECOND)
            assert self._acts(second), f"{second} has the witness and does not act"
            self.cluster.network.heal()
            self.world.run_until(self.world.now_ns + self.rng.randint(8, 15) * SECOND)
        self.settle()

    def _acts(self, name: str) -> bool:
        status = self.cluster.processes[name].status
        return status is not None and status.authority.quorate


register("qnet-memory")(lambda seed: MemoryRun(seed, Profile(nodes=2, witness_votes=1, kinds=KINDS)))
register("qnet2")(lambda seed: WitnessRun(seed, Profile(nodes=2, witness_votes=1, kinds=KINDS)))
register("qnet4")(lambda seed: WitnessRun(seed, Profile(nodes=4, witness_votes=1, kinds=KINDS)))
register("qnet4-clock")(
    lambda seed: WitnessRun(seed, Profile(nodes=4, witness_votes=1, kinds=KINDS, rate_ppm=50_000))
)
register("halves")(lambda seed: HalvesRun(seed, Profile(nodes=2 + seed % 2 * 2, witness_votes=1)))
