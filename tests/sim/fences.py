"""Fence devices that are slow, fail, hang, shoot late or lie, under the real fencer (crm/fencing/core.py).

A machine has a board that reboots it (the first level) and two feeds that must both be off (the second).
Agents run on members of the cluster, which may end under them. What shows here: nobody counts as off whose
power was not cut since it was lost (11.2), and nothing it may run is started elsewhere before (I1); fencing
is tried until it has succeeded (I16).

In `liar3` devices now and then say that a machine is off and have done nothing. Nothing can hold I1 then. A
node that is said to be off and is heard all the same is barred (6.5): it acts on nothing from the moment at
which it knows that itself, and in the end all have the same word on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from crm.fencing import core
from crm.fencing.devices import Device as Agent
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.membership import NodeState
from hacluster.vocabulary.operation import Operation
from messaging.membership.bars import BOOT_BYTES
from messaging.membership.events import BarRequested, Status
from tests.sim import plan
from tests.sim.agents import Agents, Truth
from tests.sim.classes import register
from tests.sim.engine import MS, SECOND, InvariantBroken, Node, World
from tests.sim.full import FullProfile
from tests.sim.membership import MessagingProcess
from tests.sim.planner import Device, Planner, Reign
from tests.sim.whole import WholeRun

AGENT_MS: Final = 4_000
LATE_MS: Final = 90_000
FEEDS: Final = ("feed-a", "feed-b")
BOARD: Final = "board"
LOOK_NS: Final = 4 * SECOND
"""How long one that is said to be off may still be heard: longer than deadtime."""


def _agent(name: str) -> Agent:
    return Agent(id=name, agent=AgentName("stonith", "", f"fence_{name}"), parameters={})


LEVELS: Final = ((_agent(BOARD),), tuple(map(_agent, FEEDS)))
KINDS: Final = ("works", "fails", "slow", "hangs", "late", "dies")
WEIGHTS: Final = (50, 17, 10, 6, 12, 5)
BAD: Final = (30, 5, 20, 10, 30, 5)
"""Where the boards are broken."""


@dataclass(slots=True)
class Bench(Device):
    """What the agents act on. `lies`: the chance that one says "done" and has done nothing."""

    lies: float = 0.0
    broken: bool = False  # every board
    calm: bool = False
    off: dict[str, set[str]] = field(default_factory=dict)  # feeds
    lied: set[str] = field(default_factory=set)  # boots of which a device has lied

    def agent(self, run: core.Run, executor: Node, answer: Callable[[bool], None]) -> int:
        """An agent begins. Returns after how many ns it acts although it is too late; 0: it does not."""
        rng = self.world.stream(f"bench/{run.target}/{run.attempt}/{self.world.now_ns}")
        kind = rng.choices(KINDS, BAD if self.broken else WEIGHTS)[0]
        if self.calm or (self.broken and run.device.id == BOARD):
            kind = "works" if self.calm else "fails"
        self.world.count(f"agent_{kind}")
        boots = executor.boots

        def say(done: bool) -> None:
            if executor.up and executor.boots == boots:
                answer(done)

        def act() -> None:
            done = self.switch(run.device.id, run.action, run.target, lies=rng.random() < self.lies)
            if kind != "dies":
                say(done)

        def too_late() -> None:
            if not self.calm:
                self.world.count("late_shot")
                self.switch(run.device.id, run.action, run.target, lies=False)

        match kind:
            case "fails":
                self.world.after(rng.randint(10, 500) * MS, f"{run.device.id} fails", lambda: say(False))
            case "slow":
                self.world.after(rng.randint(1_000, AGENT_MS - 100) * MS, f"{run.device.id} acts", act)
            case "hangs":
                pass
            case "late":
                after_ns = rng.randint(AGENT_MS, rng.choice((3 * AGENT_MS, LATE_MS))) * MS
                self.world.after(after_ns, f"{run.device.id} acts late", too_late)
                return after_ns
            case _:
                self.world.after(rng.randint(20, 800) * MS, f"{run.device.id} acts", act)
        return 0

    def switch(self, device: str, action: str, target: str, *, lies: bool) -> bool:
        """Do it. Returns what the device says of it."""
        node, off = self.membership.nodes[target], self.off.setdefault(target, set())
        if lies and action != "on":
            self.world.count("device_lied")
            self.world.note("device", f"{device} lies of {target}")
            self.lied.add(node.boot_token)
            return True
        if device == BOARD and off >= set(FEEDS):
            return False  # it has no power either
        self.world.note("device", f"{device} {action} {target}")
        if device == BOARD:
            self._cut(node)
            self._boot_later(node)
        elif action == "on":
            off.discard(device)
            self._boot_later(node)
        else:
            off.add(device)
            self.world.count("feed_off")
            if off >= set(FEEDS):
                self._cut(node)
        return True

    def mend(self) -> None:
        """All devices do their work from now on, and all feeds are on."""
        self.calm, self.lies = True, 0.0
        self.off.clear()
        for node in self.membership.nodes.values():
            if not node.up:
                node.boot()

    def _cut(self, node: Node) -> None:
        self.world.count("fenced")
        if node.up:
            node.power_cut(self.world.stream(f"cut/{node.name}/{self.world.now_ns}"))
        if self.calm:  # somebody looks after machines that stay off
            self.world.after(30 * SECOND, f"boot {node.name}", partial(self._boot, node))

    def _boot_later(self, node: Node) -> None:
        rng = self.world.stream(f"boot/{node.name}/{self.world.now_ns}")
        self.world.after(rng.randint(1_000, 15_000) * MS, f"boot {node.name}", partial(self._boot, node))

    def _boot(self, node: Node) -> None:
        if self.calm:
            self.off.pop(node.name, None)
        if not node.up and not self.off.get(node.name):
            node.boot()


class FencePlanner(Planner):
    """One whose fencing is the product's."""

    device: Bench
    all: Sequence[FencePlanner] = ()
    _fencer: tuple[Reign, core.Fencer] | None = None

    def _of(self, reign: Reign) -> core.Fencer:
        if self._fencer is None or self._fencer[0] is not reign:
            self._fencer = (reign, core.Fencer(self.rng))
            self._known: dict[str, str] = {}
            self._due: dict[str, int] = {}
        return self._fencer[1]

    def _act(self, reign: Reign) -> None:
        for target in list(self._of(reign).targets):
            if target in reign.members:
                self._give(reign, core.Returned(target))
        super()._act(reign)

    def _fence(self, reign: Reign, name: str) -> None:
        if name in self._of(reign).targets:
            return
        node = self.membership.nodes[name]
        self._known[name] = node.boot_token if node.up else ""
        executors = sorted(reign.accepted)
        self.rng.shuffle(executors)
        wanted = core.Wanted(
            target=name, how="reboot", levels=LEVELS, executors=tuple(executors), timeout_ms=AGENT_MS
        )
        self._give(reign, wanted)

    def _give(self, reign: Reign, event: core.Event) -> None:
        if self.reign is not reign or not self.replica.alive:
            return
        for effect in self._of(reign).handle(event, self.world.now_ns):
            match effect:
                case core.Run():
                    self._run(reign, effect)
                case core.SetTimer(target, at_ns):
                    self._due[target] = at_ns
                    self.world.at(at_ns, f"fencer {target}", partial(self._timer, reign, target, at_ns))
                case core.ClearTimer(target):
                    self._due.pop(target, None)
                case core.Fenced():
                    self._is_off(reign, effect)
                case core.Failed():
                    self.world.count("fence_round_failed")
                case core.Cancelled():
                    self.world.count("shot_cancelled")

    def _timer(self, reign: Reign, target: str, at_ns: int) -> None:
        if self._due.get(target) == at_ns:
            self._give(reign, core.TimerFired(target))

    def _run(self, reign: Reign, run: core.Run) -> None:
        """The last look: a shot at a member, or without the right to shoot, would be a wrong one."""
        authority = self._authority()
        here = authority is not None and any(m.name == run.target for m in authority.view.members)
        if here or not self._may_act():
            self._give(reign, core.Returned(run.target))
            return
        if authority is None or not authority.quorate:
            raise InvariantBroken("I17", f"{self.replica.name} fences {run.target} without the right")
        if run.device.id != BOARD:
            self.world.count("second_level")
        executor = self.membership.nodes[run.executor]

        def ran(succeeded: bool) -> core.Ran:
            return core.Ran(run.target, run.attempt, succeeded, "" if succeeded else "failed")

        def execute(answer: Callable[[object], None]) -> None:
            if not executor.up:
                return
            after_ns = self.device.agent(run, executor, answer)
            if after_ns:  # its word comes, too, when nobody waits for it any more
                self.world.after(after_ns + MS, "late answer", lambda: self._give(reign, ran(True)))

        self.calls.call(
            self.replica.node.name,
            run.executor,
            execute,
            lambda done: self._give(reign, ran(done is True)),
            lambda _why: self._give(reign, ran(False)),
            timeout_ns=run.timeout_ms * MS * 12 // 10,
        )

    def _is_off(self, reign: Reign, fenced: core.Fenced) -> None:
        name, known = fenced.target, self._known[fenced.target]
        node = self.membership.nodes[name]
        self.world.note(self.replica.name, f"fenced {name} by {','.join(fenced.devices)}")
        if known and node.up and node.boot_token == known:
            if known not in self.device.lied:
                raise InvariantBroken("11.2", f"{name} counts as off, and its power was never cut")
            self.world.count("believed_a_liar")
            self.world.after(LOOK_NS, f"look {name}", partial(self._look, name, known))
        reign.off.add(name)

    def _look(self, name: str, known: str) -> None:
        """As ha-crm's DC does, who knows what was fenced: who is heard in that boot is barred."""
        dc = next((one for one in self.all if one.reign is not None and one._may_act()), None)
        messaging = self.membership.processes[dc.replica.node.name] if dc is not None else None
        if messaging is not None and messaging.alive and messaging.status is not None:
            peer = next(one for one in messaging.status.nodes if one.name == name)
            if peer.boot_token[: 2 * BOOT_BYTES] != known[: 2 * BOOT_BYTES] or peer.state is NodeState.BARRED:
                return
            if peer.state in (NodeState.MEMBER, NodeState.LATE, NodeState.JOINING):
                self.world.count(f"barred_{peer.state.value}")
                boot = bytes.fromhex(known[: 2 * BOOT_BYTES])
                messaging.deliver(BarRequested(0, int(peer.id), boot))
        self.world.after(LOOK_NS, f"look {name}", partial(self._look, name, known))


class FenceRun(WholeRun):
    """As `whole`, with such devices."""

    planner = FencePlanner
    device = Bench
    lies = 0.0

    def __init__(self, seed: int, profile: FullProfile) -> None:
        super().__init__(seed, profile)
        planners = [one for one in self.planners.values() if isinstance(one, FencePlanner)]
        self.bench = planners[0].device  # there is one
        for planner in planners:
            planner.all = planners
        self.bench.lies, self.bench.broken = self.lies, self.rng.random() < 0.5

    def draw(self) -> list[plan.Fault]:
        """One node after the other is lost, most of them alive, for longer than it takes to fence it."""
        rng, names, faults = self.rng, self.cluster.network.nodes, self._draw_crm()
        at_ns = rng.randint(1, 3) * SECOND
        while at_ns < self.profile.faults_ns:
            one, for_ns = (rng.choice(list(names)),), rng.randint(5, 20) * SECOND
            kind = rng.choice(("partition", "partition", "partition", "pause", "power"))
            faults.append(plan.Fault(at_ns=at_ns, kind=kind, nodes=one, for_ns=for_ns))
            at_ns += for_ns
            if kind == "partition":
                faults.append(plan.Fault(at_ns=at_ns, kind="mend"))
            at_ns += rng.randint(1, 3) * SECOND
        return sorted(faults, key=lambda fault: fault.at_ns)

    def _settle(self) -> None:
        self.bench.mend()
        super()._settle()


class LiarTruth(Truth):
    """With devices that lie a resource may be active twice; how often is counted."""

    def begins(self, agents: Agents, operation: Operation) -> None:
        if any(other is not agents and operation.resource in other.active for other in self.machines):
            self.world.count("active_twice")
        self.starts += 1


class LiarRun(FenceRun):
    """Devices lie, and who was lied of is barred when it is heard, and ends."""

    truth_of = LiarTruth
    lies = 0.6

    def __init__(self, seed: int, profile: FullProfile) -> None:
        super().__init__(seed, profile)
        self.bench.broken = False
        self._ends: set[str] = set()  # boots that end soon
        for process in self.membership.processes.values():
            process.on_publish.append(self._published)
        self.world.checkers.append(self)

    def _published(self, process: MessagingProcess, status: Status) -> None:
        own = next(one for one in status.nodes if one.name == process.node.name)
        if own.state is not NodeState.BARRED:
            return
        if status.authority.quorate:
            raise InvariantBroken("6.5", f"{own.name} knows that it is barred, and says that it may act")
        node = process.node
        if node.boot_token not in self._ends:
            self._ends.add(node.boot_token)
            self.world.count("learned_that_it_is_barred")
            rng = self.world.stream(f"sentinel/{node.boot_token}")
            boots = node.boots
            self.world.after(
                rng.randint(500, 8_000) * MS, f"sentinel {node.name}", partial(self._end, node, boots)
            )

    def _end(self, node: Node, boots: int) -> None:
        if node.up and node.boots == boots:
            node.power_cut(self.world.stream(f"end/{node.name}/{boots}"))
            self.world.after(2 * SECOND, f"boot {node.name}", lambda: None if node.up else node.boot())

    def after_event(self, _world: World) -> None:
        """Looked at when something is published."""

    def settled(self, _world: World) -> None:
        """All say the same of everybody's present boot; of former ones nobody speaks any more."""
        processes = self.membership.processes
        boots = {
            int(p.config.node_id): bytes.fromhex(p.node.boot_token[: 2 * BOOT_BYTES])
            for p in processes.values()
        }
        words = {
            name: tuple(n for n, boot in boots.items() if p.core.agreement.candidates.bars.holds(n, boot))
            for name, p in processes.items()
            if p.core is not None
        }
        if len(set(words.values())) > 1:
            raise InvariantBroken("6.5", f"they differ on who is barred: {words}")


def _class(name: str, kind: type[FenceRun], nodes: int) -> None:
    register(name)(lambda seed: kind(seed, FullProfile(nodes=nodes, faults_ns=60 * SECOND)))


_class("fence3", FenceRun, 3)
_class("fence5", FenceRun, 5)
_class("liar3", LiarRun, 3)
