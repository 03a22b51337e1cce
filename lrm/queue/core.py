"""The queue: what a DC asked for, in which order agents run, and what is answered. Pure.

Per resource strictly one agent at a time, first come first served; what changes the resource's state ends its
recurring operations (the graph orders those that belong to the new state). All that
must outlive a crash goes through the ledger (lrm/journal/model.py): `Queue(ledger).restore()` continues where
any prefix of the journal left off.
"""

from __future__ import annotations

import heapq
import zlib
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from hacluster.errors import HaError, InvalidRequest, NoAuthority, ResourceExhausted, StaleTerm
from hacluster.vocabulary.ids import BootToken, NodeName, ResourceId, Term
from hacluster.vocabulary.membership import Authority
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult
from lrm import log_events
from lrm.journal import records
from lrm.journal.model import KNOWN_IDS_MAX, Flight, Ledger
from lrm.journal.records import RecurringKey
from lrm.queue import gate
from lrm.queue.events import (
    Accept,
    Answer,
    Append,
    AuthorityChanged,
    Begin,
    Cancel,
    CancelAnswer,
    Effect,
    Ended,
    Event,
    Execute,
    Forget,
    KillRun,
    Note,
    Publish,
    PublishForgotten,
    Refuse,
    RunId,
    Spawned,
    Stuck,
    Tick,
    Vanished,
)

PENDING_RC: Final = 193
"""Pacemaker's number for "no result yet"."""

JITTER_MS_MAX: Final = 2_000
NS_PER_MS: Final = 1_000_000
TIMEOUT_MS_MAX: Final = 7 * 24 * 3_600_000

# Stops and fencing never wait for a slot; of the others, one-shot operations go first.
_URGENT: Final = frozenset({"stop", "off", "reboot", "on"})
_ONE_SHOT, _PROBE, _RECURRING = 0, 1, 2
CHANGES_STATE: Final = frozenset(
    ("start", "stop", "promote", "demote", "migrate_to", "migrate_from", "reload", "reload-agent")
)
"""Operations before which recurring ones end: all but monitors, notifications and enquiries (Pacemaker)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one LRM."""

    parallel: int = 32
    queued_per_resource: int = 64
    pending: int = 10_000
    recurring: int = 10_000


@dataclass(slots=True)
class _Lane:
    """One resource: what waits (calls, in order), and what runs. `stuck`: an unkillable process is left."""

    waiting: deque[int] = field(default_factory=deque)
    running: RunId | None = None
    stuck: bool = False


class Queue:
    """See the module. `node` is part of what spreads recurring operations over time."""

    def __init__(
        self, ledger: Ledger, *, node: NodeName, boot_token: BootToken, limits: Limits | None = None
    ) -> None:
        self.ledger = ledger
        self.authority: Authority | None = None
        self._node = node
        self._boot_token = boot_token
        self._limits = limits or Limits()
        self._lanes: dict[ResourceId, _Lane] = {}
        self._ready: tuple[dict[ResourceId, None], ...] = ({}, {}, {})
        self._timers: list[tuple[int, int]] = []  # (when, call)
        self._running = 0
        self._now_ns = 0
        self._effects: list[Effect] = []

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """What to do about an event, in this order."""
        self._effects, self._now_ns = [], now_ns
        try:
            self._dispatch(event, now_ns)
        except HaError as error:
            self._effects.append(Refuse(error))  # a newer term seen on the way stays seen
        self._wake_due(now_ns)
        self._pump(now_ns)
        return self._effects

    def restore(self, now_ns: int) -> list[Effect]:
        """After a replay: queue what was accepted, and take as running what was begun.

        For each of `in_flight` the shell must bring Ended sooner or later.
        """
        self._effects, self._now_ns = [], now_ns
        for flight in self.ledger.flights():
            lane = self._lane(flight.accepted.operation.resource)
            lane.running = RunId(flight.accepted.call_id, flight.run)
            self._running += 1
            if self.ledger.is_dying(flight.accepted.call_id):
                self._effects.append(KillRun(lane.running))
        for call_id, flight in sorted(self.ledger.pending.items()):
            if not flight.in_flight:
                self._enqueue(call_id, flight, now_ns)
        for flight in self.ledger.recurring.values():
            if not flight.in_flight:
                heapq.heappush(self._timers, (flight.due_ns, flight.accepted.call_id))
        self._wake_due(now_ns)
        self._pump(now_ns)
        return self._effects

    def in_flight(self) -> list[Flight]:
        """All operations an agent may be running for."""
        return list(self.ledger.flights())

    def running_results(self) -> list[OperationResult]:
        """What runs now, as results of status PENDING; recurring operations are not listed."""
        return [
            self._pending_result(flight)
            for flight in self.ledger.flights()
            if flight.accepted.operation.interval_ms == 0
        ]

    def queued(self) -> int:
        """How many operations wait."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    def next_due_ns(self) -> int | None:
        """When Tick is needed next."""
        return self._timers[0][0] if self._timers else None

    def check(self) -> None:
        """Invariants; raises AssertionError."""
        self.ledger.check()
        busy = {f.accepted.operation.resource: f for f in self.ledger.flights()}
        for resource, lane in self._lanes.items():
            if lane.running is not None:
                assert busy.pop(resource).accepted.call_id == lane.running.call_id
            assert len(set(lane.waiting)) == len(lane.waiting), "a call waits twice"
            if lane.waiting and lane.running is None:
                assert any(resource in ready for ready in self._ready) or self._held(lane), resource
        assert not busy, "in flight without a lane"
        assert self._running == sum(lane.running is not None for lane in self._lanes.values())

    def _dispatch(self, event: Event, now_ns: int) -> None:
        match event:
            case Execute():
                self._execute(event, now_ns)
            case Accept(term=term):
                self._check_term(term)
                self._raise_term(term)
                self._drop_queued(f"the DC of term {term} began anew")
            case Cancel():
                self._check_term(event.term)
                self._cancel(event)
            case Forget():
                self._check_term(event.term)
                self._forget(event)
            case AuthorityChanged(authority=authority):
                self.authority = authority
            case Spawned(run=run):
                self._record(
                    records.Spawned(
                        call_id=run.call_id,
                        run=run.run,
                        pid=event.pid,
                        start_ticks=event.start_ticks,
                        deadline_ns=event.deadline_ns,
                    )
                )
            case Ended():
                self._ended(event, now_ns)
            case Stuck(resource=resource):
                self._lane(resource).stuck = True
            case Vanished(resource=resource):
                self._lane(resource).stuck = False
                self._tidy(resource)
            case Tick():
                pass
            case _:
                assert_never(event)

    # Requests

    def _execute(self, event: Execute, now_ns: int) -> None:
        self._check_term(event.id.term)
        if event.boot_token != self._boot_token:
            raise InvalidRequest(
                what=f"the operation is for boot {event.boot_token[:16]} of this node, which is over",
                remedy="ask for its history again with Accept",
            )
        self._raise_term(event.id.term)
        known = self.ledger.known.get(event.id)
        if known is not None:
            self._effects.append(Answer(*known))
            return
        fences = event.operation.agent.standard == "stonith"  # which may outlive the transition it began in
        if event.id.transition < (self.ledger.floor if fences else self.ledger.newest):
            raise InvalidRequest(what=f"operation {event.id} is of a transition that is over")
        operation = event.operation
        self._check_operation(operation)
        self._check_room(operation)
        if gate.is_activation(operation):
            why = gate.shut_because(
                self.authority, event.view, without_quorum=event.without_quorum, now_ns=now_ns
            )
            if why is not None:
                raise NoAuthority(why=why)
        call_id = self.ledger.next_call_id
        if operation.action in CHANGES_STATE:
            self._end_recurring(operation.resource)
        if operation.action == "stop":
            self._end_held(operation.resource, now_ns)
        self._supersede(operation)
        self._record(
            records.Accepted(
                call_id=call_id,
                id=event.id,
                operation=operation,
                view=event.view,
                without_quorum=event.without_quorum,
                received_ns=now_ns,
                due_ns=now_ns + operation.start_delay_ms * NS_PER_MS,
            )
        )
        self._effects.append(Answer(call_id))
        flight = self.ledger.flight(call_id)
        assert flight is not None
        if operation.interval_ms:
            heapq.heappush(self._timers, (flight.due_ns, call_id))
        else:
            self._enqueue(call_id, flight, now_ns)

    def _supersede(self, operation: Operation) -> None:
        """Take a recurring operation that a new one replaces out of the queue."""
        former = self.ledger.recurring.get(
            RecurringKey(operation.resource, operation.action, operation.interval_ms)
        )
        if former is not None:
            self._unqueue(operation.resource, former.accepted.call_id)

    def _check_term(self, term: Term) -> None:
        if term < self.ledger.max_term:
            raise StaleTerm(term=term, current=self.ledger.max_term)

    def _raise_term(self, term: Term) -> None:
        """A newer DC: what older ones queued is not begun any more; what runs, runs."""
        if term <= self.ledger.max_term:
            return
        self._record(records.TermSeen(term=term))
        self._drop_queued(f"a newer DC took over in term {term}")

    def _drop_queued(self, why: str) -> None:
        """What waits was part of a plan that nobody follows any more."""
        for call_id, flight in sorted(self.ledger.pending.items()):
            if not flight.in_flight:
                self._unqueue(flight.accepted.operation.resource, call_id)
                self._not_run(flight, why)

    def _check_operation(self, operation: Operation) -> None:
        if not operation.resource or not operation.action:
            raise InvalidRequest(what="an operation needs a resource and an action")
        if not 0 < operation.timeout_ms <= TIMEOUT_MS_MAX:
            raise InvalidRequest(
                what=f"{operation.key} has a timeout of {operation.timeout_ms} ms",
                remedy=f"1 to {TIMEOUT_MS_MAX}",
            )
        for name in ("interval_ms", "start_delay_ms", "start_within_ms"):
            if not 0 <= getattr(operation, name) <= 2**40:
                raise InvalidRequest(what=f"{operation.key} has {name} {getattr(operation, name)}")

    def _check_room(self, operation: Operation) -> None:
        lane = self._lanes.get(operation.resource)
        if lane is not None and len(lane.waiting) >= self._limits.queued_per_resource:
            raise ResourceExhausted(what=f"{len(lane.waiting)} operations wait for {operation.resource}")
        if len(self.ledger.pending) >= self._limits.pending:
            raise ResourceExhausted(what=f"{len(self.ledger.pending)} operations are queued")
        if len(self.ledger.known) >= 2 * KNOWN_IDS_MAX:
            raise ResourceExhausted(what=f"{len(self.ledger.known)} operations in one transition")
        if operation.interval_ms and len(self.ledger.recurring) >= self._limits.recurring:
            raise ResourceExhausted(what=f"{len(self.ledger.recurring)} recurring operations")

    def _cancel(self, event: Cancel) -> None:
        self._raise_term(event.term)
        key = RecurringKey(event.resource, event.action, event.interval_ms)
        known = key in self.ledger.recurring
        self._effects.append(CancelAnswer(known))
        if known:
            self._disarm(key)
        name = (event.action, event.interval_ms)
        if event.interval_ms and (known or name in self.ledger.history.get(event.resource, {})):
            self._forget_history(event.resource, *name)

    def _forget(self, event: Forget) -> None:
        self._raise_term(event.term)
        for key in list(self.ledger.recurring):
            named = not event.action or (key.action, key.interval_ms) == (event.action, event.interval_ms)
            if key.resource == event.resource and named and not event.failures_only:
                self._disarm(key)
        self._forget_history(
            event.resource, event.action, event.interval_ms, failures_only=event.failures_only
        )

    def _forget_history(
        self, resource: ResourceId, action: str, interval_ms: int, *, failures_only: bool = False
    ) -> None:
        self._record(
            records.Forgotten(
                resource=resource, action=action, interval_ms=interval_ms, failures_only=failures_only
            )
        )
        self._effects.append(PublishForgotten(resource, action, interval_ms, failures_only))

    def _end_recurring(self, resource: ResourceId) -> None:
        """What they expect is over: a monitor of the promoted role would call a demotion a failure."""
        for key in [key for key in self.ledger.recurring if key.resource == resource]:
            self._disarm(key)

    def _end_held(self, resource: ResourceId, now_ns: int) -> None:
        """A stop: starts that are still being held are not run."""
        lane = self._lanes.get(resource)
        for call_id in list(lane.waiting) if lane is not None else ():
            flight = self.ledger.flight(call_id)
            if flight is not None and flight.due_ns > now_ns:
                self._unqueue(resource, call_id)
                self._not_run(flight, "a stop came before its start-delay was over")

    def _disarm(self, key: RecurringKey) -> None:
        flight = self.ledger.recurring[key]
        self._unqueue(key.resource, flight.accepted.call_id)
        self._record(records.Disarmed(key=key))
        if flight.in_flight:
            self._effects.append(KillRun(RunId(flight.accepted.call_id, flight.run)))

    # Results

    def _ended(self, event: Ended, now_ns: int) -> None:
        flight = self.ledger.flight(event.run.call_id)
        if flight is None or not flight.in_flight or flight.run != event.run.run:
            return
        operation = flight.accepted.operation
        lane = self._lane(operation.resource)
        assert lane.running == event.run
        lane.running = None
        lane.stuck = lane.stuck or event.unkillable
        self._running -= 1
        if operation.interval_ms:
            self._observe(flight, event, now_ns)
        else:
            result = self._result(flight, event)
            self._record(records.Concluded(result=result))
            self._effects.append(Publish(result))
        self._make_ready(operation.resource, now_ns)
        self._tidy(operation.resource)

    def _observe(self, flight: Flight, event: Ended, now_ns: int) -> None:
        """A run of a recurring operation; only news is reported. One that is lost is simply run again."""
        call_id = flight.accepted.call_id
        lost = event.status is ExecutionStatus.UNKNOWN
        before = flight.reported
        wait_ms = flight.accepted.operation.interval_ms
        if before is None:  # a transition waits for the first run, so it is the second that is spread
            wait_ms += self._jitter_ms(flight.accepted.operation)
        due_ns = now_ns if lost else now_ns + wait_ms * NS_PER_MS
        news = before is None or (before.status, before.rc) != (event.status, event.rc)
        dying = self.ledger.is_dying(call_id)
        result = self._result(flight, event) if news and not lost and not dying else None
        self._record(records.Observed(call_id=call_id, run=event.run.run, due_ns=due_ns, result=result))
        if result is not None:
            self._effects.append(Publish(result))
        if not dying:
            heapq.heappush(self._timers, (due_ns, call_id))

    def _result(self, flight: Flight, event: Ended) -> OperationResult:
        accepted = flight.accepted
        entry = self.ledger.history.get(accepted.operation.resource, {}).get(
            (accepted.operation.action, accepted.operation.interval_ms)
        )
        same = entry is not None and (entry.last.status, entry.last.rc) == (event.status, event.rc)
        return OperationResult(
            id=accepted.id,
            call_id=accepted.call_id,
            operation=accepted.operation,
            status=event.status,
            rc=event.rc,
            raw_status=event.raw_status,
            queued_ms=max(0, flight.began_ns - max(accepted.received_ns, flight.due_ns)) // NS_PER_MS,
            executed_ms=event.executed_ms,
            last_run_s=event.last_run_s,
            last_change_s=entry.last.last_change_s if entry is not None and same else event.now_s,
            exit_reason=event.exit_reason,
            output=event.output,
            private_parameters=event.private_parameters,
            reloadable_parameters=event.reloadable_parameters,
            supports_reload=event.supports_reload,
            restart_parameters=event.restart_parameters,
        )

    def _pending_result(self, flight: Flight) -> OperationResult:
        return OperationResult(
            id=flight.accepted.id,
            call_id=flight.accepted.call_id,
            operation=flight.accepted.operation,
            status=ExecutionStatus.PENDING,
            rc=PENDING_RC,
        )

    def _not_run(self, flight: Flight, why: str) -> None:
        result = replace(self._pending_result(flight), status=ExecutionStatus.NOT_RUN, rc=1, exit_reason=why)
        self._record(records.Concluded(result=result))
        self._effects.append(Publish(result))
        self._effects.append(Note(log_events.NOT_RUN, {**_names(flight), "reason": why}))

    # Order

    def _enqueue(self, call_id: int, flight: Flight, now_ns: int) -> None:
        resource = flight.accepted.operation.resource
        self._lane(resource).waiting.append(call_id)
        if flight.due_ns > now_ns:
            heapq.heappush(self._timers, (flight.due_ns, call_id))
        self._make_ready(resource, now_ns)

    def _wake_due(self, now_ns: int) -> None:
        """Recurring operations that are due get in line; one-shot ones that were held are let go."""
        while self._timers and self._timers[0][0] <= now_ns:
            due_ns, call_id = heapq.heappop(self._timers)
            flight = self.ledger.flight(call_id)
            if flight is None or flight.due_ns != due_ns or flight.in_flight:
                continue  # cancelled, replaced, or newly scheduled
            resource = flight.accepted.operation.resource
            if flight.accepted.operation.interval_ms and self.ledger.recurring.get(flight.key) is flight:
                lane = self._lane(resource)
                if call_id not in lane.waiting:
                    lane.waiting.append(call_id)
            self._make_ready(resource, now_ns)

    def _make_ready(self, resource: ResourceId, now_ns: int) -> None:
        """Offer a resource's next operation for a slot, if there is one and nothing runs."""
        lane = self._lanes.get(resource)
        for ready in self._ready:
            ready.pop(resource, None)
        if lane is None or lane.running is not None or not lane.waiting:
            return
        flight = self.ledger.flight(lane.waiting[0])
        assert flight is not None
        if flight.due_ns > now_ns:
            return
        operation = flight.accepted.operation
        self._ready[_rank(operation)][resource] = None

    def _pump(self, now_ns: int) -> None:
        """Begin what may begin. Stops do not wait for a slot."""
        for resource in [each for each in self._ready[_ONE_SHOT] if self._is_urgent(each)]:
            self._begin_next(resource, now_ns)
        for ready in self._ready:
            while ready and self._running < self._limits.parallel:
                self._begin_next(next(iter(ready)), now_ns)

    def _is_urgent(self, resource: ResourceId) -> bool:
        flight = self.ledger.flight(self._lanes[resource].waiting[0])
        return flight is not None and flight.accepted.operation.action in _URGENT

    def _begin_next(self, resource: ResourceId, now_ns: int) -> None:
        lane = self._lanes[resource]
        call_id = lane.waiting.popleft()
        flight = self.ledger.flight(call_id)
        assert flight is not None
        why = self._too_late(flight, lane, now_ns)
        if why is not None:
            self._not_run(flight, why)
        else:
            self._begin(flight, lane, now_ns)
        self._make_ready(resource, now_ns)
        self._tidy(resource)

    def _begin(self, flight: Flight, lane: _Lane, now_ns: int) -> None:
        call_id = flight.accepted.call_id
        run = RunId(call_id, flight.run)
        self._record(records.Begun(call_id=call_id, run=flight.run, began_ns=now_ns))
        operation = flight.accepted.operation  # of a stop it may be another since then
        lane.running = run
        self._running += 1
        after_failure = operation.action == "stop" and self.ledger.has_failed(operation.resource)
        if not operation.interval_ms:
            self._effects.append(Publish(self._pending_result(flight)))
        self._effects.append(
            Begin(
                run=run,
                operation=operation,
                after_failure=after_failure,
                not_after_ns=self._not_after_ns(flight, now_ns),
            )
        )

    def _not_after_ns(self, flight: Flight, now_ns: int) -> int:
        """The gate counts at the moment of exec, and lrm-exec may be away or stopped for a while."""
        accepted = flight.accepted
        if not gate.is_activation(accepted.operation):
            return 0
        if not accepted.without_quorum and self.authority is not None:
            return self.authority.lease_end_ns
        within_ms = accepted.operation.start_within_ms
        return now_ns + within_ms * NS_PER_MS if within_ms else 0

    def _too_late(self, flight: Flight, lane: _Lane, now_ns: int) -> str | None:
        """Why an activation may not begin now, though it was accepted."""
        accepted = flight.accepted
        operation = accepted.operation
        if not gate.is_activation(operation):
            return None
        if lane.stuck:
            return "an earlier operation's process cannot be killed (it waits in the kernel)"
        waited_ms = (now_ns - max(accepted.received_ns, flight.due_ns)) // NS_PER_MS
        if operation.start_within_ms and waited_ms > operation.start_within_ms:
            return f"it waited {waited_ms} ms, more than start_within allows"
        why = gate.shut_because(
            self.authority, accepted.view, without_quorum=accepted.without_quorum, now_ns=now_ns
        )
        return None if why is None else f"no authority: {why}"

    def _unqueue(self, resource: ResourceId, call_id: int) -> None:
        lane = self._lanes.get(resource)
        if lane is not None and call_id in lane.waiting:
            lane.waiting.remove(call_id)
            self._make_ready(resource, self._now_ns)
            self._tidy(resource)

    def _held(self, lane: _Lane) -> bool:
        flight = self.ledger.flight(lane.waiting[0])
        return flight is not None and any(call == lane.waiting[0] for _, call in self._timers)

    def _jitter_ms(self, operation: Operation) -> int:
        """Spreads second runs, the same on each node every time."""
        spread_ms = min(operation.interval_ms // 4, JITTER_MS_MAX)
        digest = zlib.crc32(f"{self._node}\0{operation.resource}\0{operation.action}".encode())
        return digest % spread_ms if spread_ms else 0

    def _lane(self, resource: ResourceId) -> _Lane:
        return self._lanes.setdefault(resource, _Lane())

    def _tidy(self, resource: ResourceId) -> None:
        lane = self._lanes.get(resource)
        if lane is not None and not lane.waiting and lane.running is None and not lane.stuck:
            del self._lanes[resource]

    def _record(self, record: records.Record) -> None:
        self.ledger.apply(record)
        self._effects.append(Append(record))


def _rank(operation: Operation) -> int:
    if operation.interval_ms:
        return _RECURRING
    return _PROBE if operation.action == "monitor" else _ONE_SHOT


def _names(flight: Flight) -> dict[str, str | int]:
    operation = flight.accepted.operation
    return {
        "resource": operation.resource,
        "operation": operation.action,
        "interval_ms": operation.interval_ms,
        "call_id": flight.accepted.call_id,
    }
