"""The ground truth about resources: what is active on which machine, whatever a daemon believes.

`Agents` are the processes of one machine: they outlive ha-lrm, end with the power, and what they returned is
kept for whoever asks (lrm-exec does that). A resource counts as active from the moment its start begins until
its stop has succeeded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hacluster.vocabulary.ids import ResourceId
from hacluster.vocabulary.operation import ExecutionStatus, Operation
from lrm.queue.events import Ended, RunId
from tests.sim.engine import MS, InvariantBroken, Node, Scheduled, World

OK, NOT_RUNNING, FAILED = 0, 7, 1
NOT_INSTALLED = 5
"""Of a stop it says that nothing can run: one that returns it and leaves something running has lied."""
FAILURES = (1, 2, 3, 4, 5, 6, 8, 9, 127, 137, 190, 191, 193, 198, 255)
"""OCF's own, the shell's, Pacemaker's for what is not over yet (193), and one of nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dials:
    """How bad agents are: chances of a failure, of a hang until the time-out, of a resource that dies.

    Of the worse ones (`tests.sim.worse`): of a stop that fails once and leaves all as it was, of a start that
    reports a success and has done nothing, of a monitor that sees a failure where there is none, and of one
    that needs nearly all of its time; and whether failures return any number.
    """

    fail: float = 0.05
    hang: float = 0.02
    dies: float = 0.02
    twice: float = 0.0
    nothing: float = 0.0
    flaps: float = 0.0
    slow: float = 0.0
    any_rc: bool = False


@dataclass(slots=True)
class _Running:
    """One agent at work."""

    run: RunId
    operation: Operation
    until: Scheduled | None = None


@dataclass(slots=True)
class Agents:
    """One machine's. `ended` hears of each end while somebody listens."""

    world: World
    node: Node
    dials: Dials
    truth: Truth
    ended: Callable[[Ended], None] | None = None
    active: set[ResourceId] = field(default_factory=set)
    kept: dict[RunId, Ended] = field(default_factory=dict)
    running: dict[ResourceId, _Running] = field(default_factory=dict)

    def begin(self, run: RunId, operation: Operation) -> None:
        """Start an agent. Two at work on one resource at one time break I19."""
        resource = operation.resource
        if resource in self.running:
            other = self.running[resource].operation.key
            raise InvariantBroken("I19", f"{operation.key} on {self.node.name} while {other} runs")
        if operation.action == "start":
            self.truth.begins(self, operation)
            self.active.add(resource)
        rng = self.truth.rng
        work_ns, timeout_ns = rng.randint(1, 300) * MS, operation.timeout_ms * MS
        if self._happens(self.dials.slow, "agent_slow"):
            work_ns = timeout_ns - rng.randint(1, 50) * MS
        hangs = rng.random() < self.dials.hang
        if hangs:
            self.world.count("agent_hung")
        item = _Running(run, operation)
        self.running[resource] = item
        item.until = self.world.after(
            timeout_ns if hangs else work_ns,
            f"agent {self.node.name} {operation.key}",
            lambda: self._finish(item, timed_out=hangs),
        )

    def kill(self, run: RunId) -> None:
        """End a run: cancelled."""
        for item in list(self.running.values()):
            if item.run == run:
                self._end(item, ExecutionStatus.CANCELLED, FAILED)

    def is_running(self, run: RunId) -> bool:
        """Whether that run is at work."""
        return any(item.run == run for item in self.running.values())

    def power_cut(self) -> None:
        """Nothing is left."""
        for item in self.running.values():
            if item.until is not None:
                item.until.cancel()
        self.running.clear()
        self.active.clear()
        self.kept.clear()

    def _finish(self, item: _Running, *, timed_out: bool) -> None:
        resource, action = item.operation.resource, item.operation.action
        fails = self.truth.rng.random() < self.dials.fail
        if timed_out:
            self._end(item, ExecutionStatus.TIMEOUT, FAILED)
        elif action == "stop" and self._happens(self.dials.twice, "stop_failed"):
            rc = self._failure()
            self._end(item, ExecutionStatus.DONE, rc if rc != NOT_INSTALLED else FAILED)
        elif action == "stop":
            self.active.discard(resource)
            self._end(item, ExecutionStatus.DONE, OK)
        elif action == "monitor":
            if self.truth.rng.random() < self.dials.dies:
                self.active.discard(resource)
                self.world.count("resource_died")
            there = resource in self.active
            rc = self._failure() if self._happens(self.dials.flaps, "monitor_flapped") else NOT_RUNNING
            self._end(item, ExecutionStatus.DONE, OK if there and rc == NOT_RUNNING else rc)
        else:
            if fails:
                self.world.count("start_failed")
            elif self._happens(self.dials.nothing, "start_did_nothing"):
                self.active.discard(resource)
            self._end(item, ExecutionStatus.DONE, self._failure() if fails else OK)

    def _happens(self, chance: float, what: str) -> bool:
        """Nothing is drawn for what never happens: other classes' runs stay as they are."""
        if not chance or self.truth.rng.random() >= chance:
            return False
        self.world.count(what)
        return True

    def _failure(self) -> int:
        return self.truth.rng.choice(FAILURES) if self.dials.any_rc else FAILED

    def _end(self, item: _Running, status: ExecutionStatus, rc: int) -> None:
        if item.until is not None:
            item.until.cancel()
        del self.running[item.operation.resource]
        news = Ended(run=item.run, status=status, rc=rc)
        self.kept[item.run] = news
        if self.ended is not None:
            self.ended(news)


class Truth:
    """I1: a resource is active on one machine at most; a lost machine's are active until it is off (I3)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.stream("agents")
        self.machines: list[Agents] = []
        self.starts = 0

    def begins(self, agents: Agents, operation: Operation) -> None:
        """A start begins."""
        self.starts += 1
        self.world.note(agents.node.name, f"agent_starts {operation.resource}")
        for other in self.machines:
            if other is not agents and operation.resource in other.active:
                what = f"{operation.resource} starts on {agents.node.name} and is active on {other.node.name}"
                raise InvariantBroken("I1", what)

    def where(self, resource: ResourceId) -> list[str]:
        """The machines on which it is active."""
        return [agents.node.name for agents in self.machines if resource in agents.active]

    def after_event(self, world: World) -> None:
        """Looked at when an agent begins."""

    def settled(self, world: World) -> None:
        """`lrm.LrmRun` looks at the end."""
