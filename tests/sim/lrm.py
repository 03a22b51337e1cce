"""ha-lrm in the simulator: the real queue and journal, on machines with agents, obeying DCs of real terms.

Views, leases, elections and the CIB are the real cores as in `full`. What plans is a small stand-in for
scheduler, transition engine and fencer (`planner`): it keeps each resource active on one node, by the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from hacluster.errors import StaleTerm
from hacluster.vocabulary.ids import BootToken, NodeName, Term
from hacluster.vocabulary.operation import ExecutionStatus, OperationResult
from lrm.journal.codec import decode, encode
from lrm.journal.model import Ledger
from lrm.queue.core import Queue
from lrm.queue.events import (
    Accept,
    Answer,
    Append,
    AuthorityChanged,
    Begin,
    CancelAnswer,
    Effect,
    Ended,
    Event,
    Execute,
    KillRun,
    Note,
    Publish,
    PublishForgotten,
    Refuse,
    RunId,
    Tick,
)
from messaging.membership.events import Status
from tests.sim.agents import Agents
from tests.sim.engine import MS, InvariantBroken, Node, Process
from tests.sim.membership import MessagingProcess

JOURNAL = "lrm-journal"
Reply = Callable[[object], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A DC's call, with the way back."""

    event: Execute | Accept
    answer: Reply


@dataclass(frozen=True, slots=True)
class Look:
    """History: what is recorded now, for a DC of this term."""

    term: Term
    answer: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an LRM says of itself."""

    boot_token: str
    results: tuple[OperationResult, ...]
    running: tuple[OperationResult, ...]
    queued: int


class LrmProcess(Process[Event | Asked | Look, Effect]):
    """One node's ha-lrm."""

    def __init__(self, node: Node, messaging: MessagingProcess, agents: Agents) -> None:
        super().__init__(node, "lrm")
        self.messaging = messaging
        self.agents = agents
        self.queue: Queue | None = None
        self._asking: Reply | None = None
        self._highest = Term(0, 0)  # in this boot, whatever its memory says
        self._boots = 0
        self.watchers: list[Callable[[], None]] = []  # look after each step
        agents.ended = self._ended
        messaging.on_publish.append(self._published)

    # -- life

    def begin(self) -> Sequence[Effect]:
        if self._boots != self.node.boots:
            self._boots, self._highest = self.node.boots, Term(0, 0)
        ledger = Ledger()
        for line in (self.node.run.read(JOURNAL) or b"").splitlines():
            ledger.apply(decode(line))
        self.queue = Queue(ledger, node=NodeName(self.node.name), boot_token=BootToken(self.node.boot_token))
        now_ns = self.node.clock.now_ns()
        effects = list(self.queue.restore(now_ns))
        self.queue.check()
        status = self.messaging.status if self.messaging.alive else None
        effects += self.queue.handle(AuthorityChanged(status.authority if status else None), now_ns)
        for flight in self.queue.in_flight():
            run = RunId(flight.accepted.call_id, flight.run)
            self.world.after(MS, f"re-attach {self.name}", self._guarded(partial(self._attach, run)))
        return effects

    def _attach(self, run: RunId) -> None:
        """After a restart: what runs, runs; what has ended is told; of what never ran nothing is known."""
        if self.agents.is_running(run):
            self.world.count("reattached")
            return
        self.deliver(self.agents.kept.get(run) or Ended(run=run, status=ExecutionStatus.UNKNOWN, rc=1))

    def crash(self) -> None:
        if self.alive and self.agents.running:
            self.world.count("lrm_killed_under_agents")
        super().crash()
        if not self.node.up:
            self.agents.power_cut()

    def _ended(self, news: Ended) -> None:
        if self.alive:
            self.deliver(news)

    def _published(self, _process: MessagingProcess, status: Status) -> None:
        if self.alive:
            self.deliver(AuthorityChanged(status.authority))

    # -- events and effects

    def handle(self, event: Event | Asked | Look, now_ns: int) -> Sequence[Effect]:
        assert self.queue is not None
        if isinstance(event, Look):
            if event.term >= self.queue.ledger.max_term:
                event.answer(self.seen())
            return []
        self._asking = event.answer if isinstance(event, Asked) else None
        effects = self.queue.handle(event.event if isinstance(event, Asked) else event, now_ns)
        self.queue.check()
        self._highest = max(self._highest, self.queue.ledger.max_term)
        refused = any(isinstance(effect, Refuse) for effect in effects)
        if isinstance(event, Asked) and isinstance(event.event, Accept) and not refused:
            event.answer(self.seen())
        due_ns = self.queue.next_due_ns()
        if due_ns is not None:
            self.set_timer("due", max(due_ns, now_ns + 1), Tick())
        for watcher in self.watchers:
            watcher()
        return effects

    def seen(self) -> Seen:
        """History, as a stream would have told it by now."""
        assert self.queue is not None
        ledger = self.queue.ledger
        return Seen(
            boot_token=self.node.boot_token,
            results=tuple(ledger.results()),
            running=tuple(self.queue.running_results()),
            queued=self.queue.queued(),
        )

    def apply(self, effect: Effect) -> None:
        match effect:
            case Append(record):
                self.node.run.append(JOURNAL, encode(record) + b"\n")
            case Begin():
                self._begin_agent(effect)
            case KillRun(run):
                self.world.after(0, f"kill {self.name}", self._guarded(lambda: self.agents.kill(run)))
            case Answer() | CancelAnswer() | Refuse():
                if isinstance(effect, Refuse):
                    stale = isinstance(effect.error, StaleTerm)
                    self.world.count("stale_term_refused" if stale else "operation_refused")
                if self._asking is not None and not isinstance(effect, CancelAnswer):
                    self._asking(effect)
                    self._asking = None
            case Publish(result):
                if result.status is ExecutionStatus.NOT_RUN:
                    self.world.count("not_run")
            case Note() | PublishForgotten():
                pass

    def _begin_agent(self, begin: Begin) -> None:
        assert self.queue is not None
        flight = self.queue.ledger.flight(begin.run.call_id)
        term = flight.accepted.id.term if flight is not None else self._highest
        if term < self._highest and not begin.operation.interval_ms:
            what = f"{begin.operation.key} of term {term} begins on {self.node.name} after {self._highest}"
            raise InvariantBroken("I4", what)
        if begin.not_after_ns and self.node.clock.now_ns() > begin.not_after_ns:
            raise InvariantBroken("I3", f"{begin.operation.key} begins on {self.node.name} without a lease")
        self.agents.begin(begin.run, begin.operation)
