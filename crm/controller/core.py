"""The DC's course: take the members in, plan, carry out, and plan again when something changed. Pure.

    INTEGRATING ──all members answered or were given up──► PLANNING ──► RUNNING ──► IDLE
                                                              ▲            │          │
                                                              └──surprise──┴──change──┘

What a plan is (scheduler), what carries it out (transition engine) and what the nodes say (LRMs) are others'
concerns; this core only knows that they began and ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from crm.transition.core import INFINITY, Outcome
from hacluster.vocabulary.ids import NO_TERM, Term

_MS: Final = 1_000_000
RECHECK: Final = "recheck"
RETRY: Final = "retry"
INTEGRATE: Final = "integrate:"
PENDING: Final = "pending:"


class Phase(StrEnum):
    """What the DC is about."""

    NOT_DC = "not DC"
    INTEGRATING = "integrating"
    PLANNING = "planning"
    RUNNING = "running"
    IDLE = "idle"


class Standing(StrEnum):
    """How far the DC is with a member."""

    ASKED = "asked"
    INTEGRATED = "integrated"
    HELD = "held"  # did not answer in time: nothing is started there, nothing of its recovered
    GIVEN_UP = "given up"  # held for too long: it counts as failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds (cluster-protocol, "Parameters")."""

    integration_ms: int = 3_000
    node_pending_ms: int = 30_000
    retry_ms: int = 500
    retry_ms_max: int = 10_000


@dataclass(frozen=True, slots=True)
class BecameDc:
    """This node reigns in this term, over these members of the view (all of them, itself included)."""

    term: Term
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoppedBeingDc:
    """Another view, another DC, or no authority."""

    why: str


@dataclass(frozen=True, slots=True)
class Integrated:
    """The member's LRM obeys this term and its whole history is known."""

    node: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The member's LRM is out of reach, or another run of it."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Changed:
    """Configuration, status or a fact from outside is not what the plan was made from."""

    why: str
    priority: int = INFINITY


@dataclass(frozen=True, slots=True)
class Planned:
    """The scheduler has answered. `recheck_ms`: plan again after this time at the latest, 0 for never."""

    actions: int
    recheck_ms: int = 0


@dataclass(frozen=True, slots=True)
class PlanFailed:
    """The scheduler did not answer, or not usefully."""

    why: str


@dataclass(frozen=True, slots=True)
class TransitionEnded:
    """The transition engine is done; `retry` asks for a pause before the next plan."""

    outcome: Outcome
    why: str
    retry: bool = False


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer set by this core."""

    key: str


Event = (
    BecameDc
    | StoppedBeingDc
    | Integrated
    | Disconnected
    | Changed
    | Planned
    | PlanFailed
    | TransitionEnded
    | TimerFired
)


@dataclass(frozen=True, slots=True)
class Integrate:
    """Accept at the member's LRM, read its history, fetch its attributes; try until told otherwise."""

    node: str


@dataclass(frozen=True, slots=True)
class Hold:
    """The member's state is unknown for now."""

    node: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The member counts as failed."""

    node: str


@dataclass(frozen=True, slots=True)
class Release:
    """The member is as it should be, after Hold or GiveUp."""

    node: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Ask the scheduler, with the CIB as it is now."""

    why: str


@dataclass(frozen=True, slots=True)
class StartTransition:
    """Carry out the plan that was announced by Planned."""


@dataclass(frozen=True, slots=True)
class AbortTransition:
    """Begin nothing more of this priority or below."""

    why: str
    priority: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Forget the transition and the plan under way: someone else decides now."""

    why: str


@dataclass(frozen=True, slots=True)
class Idle:
    """There is nothing left to do; `why` says so where that is not a success."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Say TimerFired at this instant; setting a key again replaces it."""

    key: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class ClearTimer:
    """Not needed any more."""

    key: str


Effect = (
    Integrate
    | Hold
    | GiveUp
    | Release
    | Plan
    | StartTransition
    | AbortTransition
    | Abandon
    | Idle
    | SetTimer
    | ClearTimer
)


class Controller:
    """One node's controller; it acts only while this node is DC."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self.phase = Phase.NOT_DC
        self.term = NO_TERM
        self._standing: dict[str, Standing] = {}
        self._wanted = ""  # why another plan is wanted after the present plan or transition
        self._failures = 0
        self._timers: set[str] = set()

    @property
    def standings(self) -> dict[str, Standing]:
        """How far each member is; empty while not DC."""
        return dict(self._standing)

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event."""
        effects: list[Effect] = []
        if isinstance(event, BecameDc):
            self._begin_reign(event, effects, now_ns)
        elif self.phase is not Phase.NOT_DC:
            self._reigning(event, effects, now_ns)
        return effects

    def _reigning(self, event: Event, effects: list[Effect], now_ns: int) -> None:
        match event:
            case BecameDc():
                raise AssertionError("handled before")
            case StoppedBeingDc(why):
                self._end_reign(why, effects)
            case Integrated(node):
                self._integrated(node, effects)
            case Disconnected(node, _):
                self._disconnected(node, effects, now_ns)
            case Changed(why, priority):
                self._changed(why, priority, effects)
            case Planned(actions, recheck_ms):
                self._planned(actions, recheck_ms, effects, now_ns)
            case PlanFailed(why):
                if self.phase is Phase.PLANNING:
                    self._failed(f"no plan: {why}", effects, now_ns)
            case TransitionEnded():
                self._ended(event, effects, now_ns)
            case TimerFired(key):
                self._fired(key, effects, now_ns)
            case _:
                assert_never(event)

    def _begin_reign(self, event: BecameDc, effects: list[Effect], now_ns: int) -> None:
        if self.phase is not Phase.NOT_DC and event.term == self.term:
            self._changed("the DC's basis changed", INFINITY, effects)
            return
        if self.phase is not Phase.NOT_DC:
            self._end_reign("a new term", effects)
        self.term = event.term
        self.phase = Phase.INTEGRATING
        self._failures = 0
        self._wanted = ""
        self._standing = dict.fromkeys(event.members, Standing.ASKED)
        for node in event.members:
            effects.append(Integrate(node))
            self._set_timer(INTEGRATE + node, self._timings.integration_ms, effects, now_ns)

    def _end_reign(self, why: str, effects: list[Effect]) -> None:
        self.phase = Phase.NOT_DC
        self._standing = {}
        self._wanted = ""
        effects.extend(ClearTimer(key) for key in sorted(self._timers))
        self._timers.clear()
        effects.append(Abandon(why))

    def _integrated(self, node: str, effects: list[Effect]) -> None:
        before = self._standing.get(node)
        if before is None or before is Standing.INTEGRATED:
            return
        self._standing[node] = Standing.INTEGRATED
        self._clear_timer(INTEGRATE + node, effects)
        self._clear_timer(PENDING + node, effects)
        if before is not Standing.ASKED:
            effects.append(Release(node))
        self._changed(f"{node} answers", INFINITY, effects)

    def _disconnected(self, node: str, effects: list[Effect], now_ns: int) -> None:
        if self._standing.get(node) is not Standing.INTEGRATED:
            return
        self._standing[node] = Standing.ASKED
        effects.append(Integrate(node))
        self._set_timer(INTEGRATE + node, self._timings.integration_ms, effects, now_ns)

    def _changed(self, why: str, priority: int, effects: list[Effect]) -> None:
        match self.phase:
            case Phase.INTEGRATING:
                if Standing.ASKED not in self._standing.values():
                    self._plan(why, effects)
            case Phase.PLANNING:
                self._wanted = self._wanted or why
            case Phase.RUNNING:
                self._wanted = self._wanted or why
                effects.append(AbortTransition(why, priority))
            case Phase.IDLE:
                self._plan(why, effects)
            case Phase.NOT_DC:
                pass
            case _:
                assert_never(self.phase)

    def _plan(self, why: str, effects: list[Effect]) -> None:
        self.phase = Phase.PLANNING
        self._wanted = ""
        self._clear_timer(RECHECK, effects)
        self._clear_timer(RETRY, effects)
        effects.append(Plan(why))

    def _planned(self, actions: int, recheck_ms: int, effects: list[Effect], now_ns: int) -> None:
        if self.phase is not Phase.PLANNING:
            return
        if self._wanted:
            self._plan(self._wanted, effects)
            return
        if recheck_ms:
            self._set_timer(RECHECK, recheck_ms, effects, now_ns)
        if actions == 0:
            self._failures = 0
            self._rest("", effects)
            return
        self.phase = Phase.RUNNING
        effects.append(StartTransition())

    def _ended(self, event: TransitionEnded, effects: list[Effect], now_ns: int) -> None:
        if self.phase is not Phase.RUNNING:
            return
        if event.retry:
            self._failed(event.why, effects, now_ns)
            return
        self._failures = 0
        if event.outcome is Outcome.ABORTED or self._wanted:
            self._plan(self._wanted or event.why, effects)
            return
        self._rest(event.why, effects)

    def _rest(self, why: str, effects: list[Effect]) -> None:
        self.phase = Phase.IDLE
        self._wanted = ""
        effects.append(Idle(why))

    def _failed(self, why: str, effects: list[Effect], now_ns: int) -> None:
        """Try again after a pause, longer each time; at once where something else has changed meanwhile."""
        pause_ms = min(self._timings.retry_ms << min(self._failures, 10), self._timings.retry_ms_max)
        self._failures += 1
        if self._wanted:
            self._plan(self._wanted, effects)
            return
        self._rest(why, effects)
        self._set_timer(RETRY, pause_ms, effects, now_ns)

    def _fired(self, key: str, effects: list[Effect], now_ns: int) -> None:
        if key not in self._timers:
            return
        self._timers.discard(key)
        if key in (RECHECK, RETRY):
            self._changed("time to look again" if key == RECHECK else "another attempt", INFINITY, effects)
            return
        if key.startswith(INTEGRATE):
            node = key.removeprefix(INTEGRATE)
            self._standing[node] = Standing.HELD
            effects.append(Hold(node))
            rest_ms = max(self._timings.node_pending_ms - self._timings.integration_ms, 0)
            self._set_timer(PENDING + node, rest_ms, effects, now_ns)
            self._changed(f"{node} does not answer", INFINITY, effects)
        else:
            node = key.removeprefix(PENDING)
            self._standing[node] = Standing.GIVEN_UP
            effects.append(GiveUp(node))
            self._changed(f"{node} has not answered for too long", INFINITY, effects)

    def _set_timer(self, key: str, after_ms: int, effects: list[Effect], now_ns: int) -> None:
        self._timers.add(key)
        effects.append(SetTimer(key, now_ns + after_ms * _MS))

    def _clear_timer(self, key: str, effects: list[Effect]) -> None:
        if key in self._timers:
            self._timers.discard(key)
            effects.append(ClearTimer(key))
