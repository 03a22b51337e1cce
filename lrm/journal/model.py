"""What the journal's records add up to. Pure: the live LRM and a replay after a crash use the same `apply`,
so that any prefix of the journal is a state the LRM was in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import assert_never

from agents.environment import CHECK_LEVEL
from hacluster.vocabulary.agent import OcfExit
from hacluster.vocabulary.ids import NO_TERM, OperationId, ResourceId, Term
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult
from lrm.journal.records import (
    Accepted,
    Begun,
    Concluded,
    Disarmed,
    Forgotten,
    Observed,
    Record,
    RecurringKey,
    Remembered,
    Reported,
    Spawned,
    TermSeen,
    Watermarks,
)

KNOWN_IDS_MAX = 2_048
"""Operation ids remembered within one term; of more, the older transitions' are refused instead."""

_ACTIVATING = frozenset({"start", "promote", "migrate_from"})
_TELLING = frozenset({*_ACTIVATING, "stop", "monitor", "demote", "migrate_to"})
_OF_WHAT_RUNS = frozenset({"stop", "demote"})
_OF_ONE_RUN = frozenset({CHECK_LEVEL, "trace_ra", "trace_dir", "trace_file"})
_REFUSED = frozenset({ExecutionStatus.NOT_INSTALLED, ExecutionStatus.INVALID, ExecutionStatus.NO_SECRETS})
_ACTIVE = frozenset(
    {
        OcfExit.OK,
        OcfExit.RUNNING_PROMOTED,
        OcfExit.FAILED_PROMOTED,
        OcfExit.DEGRADED,
        OcfExit.DEGRADED_PROMOTED,
    }
)
_ABSENT = frozenset({OcfExit.NOT_RUNNING, OcfExit.ERR_INSTALLED})
_GOOD = frozenset({OcfExit.OK, OcfExit.NOT_RUNNING, OcfExit.RUNNING_PROMOTED, OcfExit.DEGRADED})


@dataclass(slots=True)
class Flight:
    """An operation that was accepted and has not been concluded, or a recurring one.

    `run` counts runs; `in_flight` is true from the intent to the result. `reported` is what a recurring
    operation reported last.
    """

    accepted: Accepted
    run: int = 0
    in_flight: bool = False
    began_ns: int = 0
    pid: int = 0
    start_ticks: int = 0
    deadline_ns: int = 0
    due_ns: int = 0
    reported: OperationResult | None = None

    @property
    def key(self) -> RecurringKey:
        """The operation's key; with interval 0 it names no recurring one."""
        operation = self.accepted.operation
        return RecurringKey(operation.resource, operation.action, operation.interval_ms)


@dataclass(slots=True)
class Entry:
    """The history of one operation of a resource: the newest result, and the newest that was a failure.

    `executed` is the newest that was not refused: what it has made is there, whatever was refused since.
    """

    last: OperationResult
    failure: OperationResult | None = None
    executed: OperationResult | None = None

    def both(self) -> tuple[OperationResult, ...]:
        """The failure, if there was one, and the newest, once if they are the same."""
        if self.failure is None or self.failure is self.last:
            return (self.last,)
        return (self.failure, self.last)

    def all(self) -> tuple[OperationResult, ...]:
        """Each once, in the order of calls: by these, in this order, it becomes what it is."""
        earlier = self.executed is not None and all(self.executed is not one for one in self.both())
        found = (*((self.executed,) if self.executed is not None and earlier else ()), *self.both())
        return tuple(sorted(found, key=lambda result: result.call_id))


@dataclass(slots=True)
class Ledger:
    """The state of the journal.

    `left`: of resources whose history was forgotten, the newest that may have made something here and the
    newest that shows with what; until a stop has succeeded, or a monitor has found nothing.
    """

    max_term: Term = NO_TERM
    next_call_id: int = 1
    pending: dict[int, Flight] = field(default_factory=dict)
    recurring: dict[RecurringKey, Flight] = field(default_factory=dict)
    history: dict[ResourceId, dict[tuple[str, int], Entry]] = field(default_factory=dict)
    left: dict[ResourceId, tuple[OperationResult, ...]] = field(default_factory=dict)
    known: dict[OperationId, tuple[int, OperationResult | None]] = field(default_factory=dict)
    floor: int = 0
    newest: int = 0  # the highest transition of the present term: what comes late of an older one is not run
    _dying: dict[int, Flight] = field(default_factory=dict)
    _flights: dict[int, Flight] = field(default_factory=dict)

    def apply(self, record: Record) -> None:
        """Take one record in. Records about what is not (any more) there change nothing."""
        match record:
            case TermSeen(term=term):
                if term > self.max_term:
                    self.max_term, self.known, self.floor, self.newest = term, {}, 0, 0
            case Accepted():
                self._accept(record)
            case Begun(call_id=call_id, run=run, began_ns=began_ns):
                flight = self.flight(call_id)
                if flight is not None:
                    wanted = flight.accepted.operation
                    if wanted.action in _OF_WHAT_RUNS:
                        flight.accepted = replace(flight.accepted, operation=self.as_started(wanted))
                    flight.run, flight.in_flight, flight.began_ns = run, True, began_ns
                    flight.pid = flight.start_ticks = flight.deadline_ns = 0
            case Spawned(call_id=call_id):
                flight = self.flight(call_id)
                if flight is not None and flight.run == record.run and flight.in_flight:
                    flight.pid, flight.start_ticks = record.pid, record.start_ticks
                    flight.deadline_ns = record.deadline_ns
            case Concluded(result=result):
                if self.pending.pop(result.call_id, None) is not None:
                    self._flights.pop(result.call_id, None)
                self._remember(result.id, result.call_id, result)
                if result.status is not ExecutionStatus.NOT_RUN:
                    self._into_history(result)
            case Observed():
                self._observe(record)
            case Disarmed(key=key):
                self._retire(self.recurring.pop(key, None))
            case Forgotten():
                self._forget(record)
            case Reported(call_id=call_id, result=result):
                flight = self.flight(call_id)
                if flight is not None:
                    flight.reported = result
            case Remembered(id=id_, call_id=call_id, result=remembered):
                self._remember(id_, call_id, remembered)
            case Watermarks(next_call_id=next_call_id, floor=floor):
                self.next_call_id = max(self.next_call_id, next_call_id)
                self.floor = max(self.floor, floor)
            case _:
                assert_never(record)

    def flight(self, call_id: int) -> Flight | None:
        """The operation of this call, whether one-shot, recurring, or a recurring one that is being ended."""
        return self._flights.get(call_id)

    def flights(self) -> Iterator[Flight]:
        """All that is in flight: an agent may be running for it. In the order of calls."""
        yield from (flight for _, flight in sorted(self._flights.items()) if flight.in_flight)

    def is_dying(self, call_id: int) -> bool:
        """A recurring operation that was ended while its agent ran, which has not gone yet."""
        return call_id in self._dying

    def results(self) -> list[OperationResult]:
        """The history: newest results and newest failures, in the order of calls, each once."""
        found = [
            result
            for entries in self.history.values()
            for entry in entries.values()
            for result in entry.both()
        ]
        return sorted(found, key=lambda result: result.call_id)  # stable: a failure comes before the newest

    def not_run(self) -> list[OperationResult]:
        """Operations of the present term that were accepted and not begun: a DC may have missed that."""
        results = (result for _, result in self.known.values())
        return [result for result in results if result and result.status is ExecutionStatus.NOT_RUN]

    def forgotten(self) -> list[OperationResult]:
        """Of resources that may be active though their history was forgotten: what tells how they run.

        Until a stop succeeds or a probe finds nothing.
        """
        return [
            result
            for left in self.left.values()
            for result in left
            if result.operation.agent.standard != "stonith"
        ]

    def may_be_active(self) -> int:
        """How many resources may be active here: all whose newest word is not that they are stopped."""
        found = {resource for resource in self.history if self._may_be_active(resource)}
        found |= {result.operation.resource for result in self.forgotten()}
        for flight in self._flights.values():
            operation = flight.accepted.operation
            if operation.action in _ACTIVATING and operation.agent.standard != "stonith":
                found.add(operation.resource)
        return len(found)

    def _may_be_active(self, resource: ResourceId) -> bool:
        newest: OperationResult | None = None
        for (action, _), entry in self.history[resource].items():
            told = action in _TELLING and entry.last.operation.agent.standard != "stonith"
            if told and (newest is None or entry.last.call_id > newest.call_id):
                newest = entry.last
        if newest is None:
            return False
        action, done = newest.operation.action, newest.status is ExecutionStatus.DONE
        if action in ("stop", "migrate_to"):
            return not (done and newest.rc == OcfExit.OK)
        absent = newest.rc in _ABSENT and done
        return not (action == "monitor" and absent)

    def has_started(self, resource: ResourceId) -> bool:
        """The newest start that succeeded is later than the newest stop that did."""
        entries = self.history.get(resource, {})
        calls = {
            action: entry.last.call_id
            for (action, _), entry in entries.items()
            if action in ("start", "stop") and not is_failure(entry.last)
        }
        return calls.get("start", 0) > calls.get("stop", 0)

    def never_began(self, resource: ResourceId) -> bool:
        """Its newest start was refused before there was a process, and nothing else made it active."""
        start = self.history.get(resource, {}).get(("start", 0))
        if start is None or not _was_refused(start.last):
            return False
        newest = self._newest(resource, _may_have_changed_it)
        return newest is None or _is_good_stop(newest)

    def as_started(self, operation: Operation) -> Operation:
        """A stop or demotion as what runs needs it: with its own agent and parameters (Pacemaker's rule).

        The configuration may have others by now, or none any more. With these the old address would stay,
        and the old mount. They are those of the newest operation that made it active or found it so.
        """
        newest = self._newest(operation.resource, _shows_how)
        if newest is None or _is_good_stop(newest):
            return operation
        running = newest.operation
        started = {name: value for name, value in running.parameters.items() if name not in _OF_ONE_RUN}
        told = {name: value for name, value in operation.parameters.items() if name in _OF_ONE_RUN}
        return replace(operation, agent=running.agent, parameters={**started, **told})

    def _newest(
        self, resource: ResourceId, counts: Callable[[OperationResult], bool]
    ) -> OperationResult | None:
        entries = self.history.get(resource, {}).values()
        executed = [entry.executed for entry in entries if entry.executed is not None]
        executed += self.left.get(resource, ())
        return max(filter(counts, executed), key=lambda result: result.call_id, default=None)

    def has_failed(self, resource: ResourceId) -> bool:
        """Some operation's newest result is a failure."""
        return any(is_failure(entry.last) for entry in self.history.get(resource, {}).values())

    def records(self) -> Iterator[Record]:
        """A short journal that replays to this state (compaction)."""
        yield TermSeen(term=self.max_term)
        yield Watermarks(next_call_id=self.next_call_id, floor=self.floor)
        for resource, left in self.left.items():
            for result in left:
                yield Concluded(result=result)
                yield Forgotten(resource=resource, action="", interval_ms=0)
        for entries in self.history.values():
            for entry in entries.values():
                yield from (Concluded(result=result) for result in entry.all())
        everything = [*self._dying.values(), *self.pending.values(), *self.recurring.values()]
        for flight in everything:
            yield from _records_of(flight)
            if flight.accepted.call_id in self._dying:
                yield Disarmed(key=flight.key)
        for id_, (call_id, known) in self.known.items():
            yield Remembered(id=id_, call_id=call_id, result=known)

    def check(self) -> None:
        """What always holds; raises AssertionError."""
        for call_id, flight in self.pending.items():
            assert flight.accepted.call_id == call_id < self.next_call_id
            assert flight.accepted.operation.interval_ms == 0
        for key, flight in self.recurring.items():
            assert flight.key == key
            assert key.interval_ms > 0
        busy = [flight.accepted.operation.resource for flight in self.flights()]
        assert len(busy) == len(set(busy)), "two operations of one resource in flight"
        assert set(self._dying) | set(self.pending) <= set(self._flights)
        assert len(self._flights) == len(self._dying) + len(self.pending) + len(self.recurring)

    def _accept(self, record: Accepted) -> None:
        flight = Flight(record, due_ns=record.due_ns)
        self.next_call_id = max(self.next_call_id, record.call_id + 1)
        self._remember(record.id, record.call_id, None)
        self._flights[record.call_id] = flight
        if record.operation.interval_ms == 0:
            self.pending[record.call_id] = flight
            return
        self._retire(self.recurring.get(flight.key))
        self.recurring[flight.key] = flight

    def _retire(self, flight: Flight | None) -> None:
        """A recurring operation is no more; its agent may be running still."""
        if flight is None:
            return
        if flight.in_flight:
            self._dying[flight.accepted.call_id] = flight
        else:
            self._flights.pop(flight.accepted.call_id, None)

    def _observe(self, record: Observed) -> None:
        if self._dying.pop(record.call_id, None) is not None:
            self._flights.pop(record.call_id, None)
            return
        flight = self.flight(record.call_id)
        if flight is None:
            return
        flight.in_flight, flight.run, flight.due_ns = False, record.run + 1, record.due_ns
        flight.began_ns = flight.pid = flight.start_ticks = flight.deadline_ns = 0
        if record.result is not None:
            flight.reported = record.result
            self._remember(record.result.id, record.call_id, record.result)
            self._into_history(record.result)

    def _into_history(self, result: OperationResult) -> None:
        operation = result.operation
        entries = self.history.setdefault(operation.resource, {})
        name = (operation.action, operation.interval_ms)
        entry = entries.get(name)
        failure = result if is_failure(result) else (entry.failure if entry else None)
        executed = result if not _was_refused(result) else (entry.executed if entry else None)
        entries[name] = Entry(result, failure, executed)
        left = self.left.get(operation.resource)
        is_newer = left is not None and result.call_id >= left[-1].call_id  # a compacted journal has old ones
        if is_newer and (_is_good_stop(result) or not _may_have_changed_it(result)):
            del self.left[operation.resource]

    def _keep_what_is_left(self, resource: ResourceId) -> None:
        newest = self._newest(resource, _may_have_left_it)
        if newest is None or _is_good_stop(newest):
            self.left.pop(resource, None)
            return
        shown = self._newest(resource, _shows_how)
        is_known = shown is not None and shown is not newest and not _is_good_stop(shown)
        self.left[resource] = (shown, newest) if shown is not None and is_known else (newest,)

    def _forget(self, record: Forgotten) -> None:
        self._keep_what_is_left(record.resource)
        entries = self.history.get(record.resource, {})
        for name, entry in list(entries.items()):
            if record.action and name != (record.action, record.interval_ms):
                continue
            if record.failures_only and not is_failure(entry.last):
                entries[name] = Entry(entry.last, executed=entry.executed)
            else:
                del entries[name]
                flight = self.recurring.get(RecurringKey(record.resource, *name))
                if flight is not None:
                    flight.reported = None  # should it fail on, that is news again
        if not entries:
            self.history.pop(record.resource, None)

    def _remember(self, id_: OperationId, call_id: int, result: OperationResult | None) -> None:
        if id_.term != self.max_term or id_.transition < self.floor:
            return  # refused by its term or its transition from now on
        self.known[id_] = (call_id, result)
        self.newest = max(self.newest, id_.transition)
        if len(self.known) > KNOWN_IDS_MAX:
            transitions = sorted(one.transition for one in self.known)
            self.floor = transitions[len(transitions) // 2]
            self.known = {one: value for one, value in self.known.items() if one.transition >= self.floor}


def is_failure(result: OperationResult) -> bool:
    """The agent did not do it, or says that something is wrong. A clean probe (7) is not a failure."""
    if result.status in (ExecutionStatus.CANCELLED, ExecutionStatus.NOT_RUN, ExecutionStatus.PENDING):
        return False
    if result.status is not ExecutionStatus.DONE:
        return True
    if result.operation.action != "monitor":
        return result.rc != OcfExit.OK
    if result.operation.interval_ms and result.rc == OcfExit.NOT_RUNNING:
        return result.operation.meta.get("role") != "Stopped"
    return result.rc not in _GOOD and result.rc != OcfExit.DEGRADED_PROMOTED


def _shows_how(result: OperationResult) -> bool:
    """Whether this operation's agent and parameters are those of an instance that may run."""
    action, done = result.operation.action, result.status is ExecutionStatus.DONE
    if action == "monitor":
        return done and result.rc in _ACTIVE
    if action in ("reload", "reload-agent"):
        return done and result.rc == OcfExit.OK
    return action in _ACTIVATING or action in _OF_WHAT_RUNS


def _may_have_changed_it(result: OperationResult) -> bool:
    """All but a look that found nothing."""
    absent = result.status is ExecutionStatus.DONE and result.rc in _ABSENT
    return not (result.operation.action == "monitor" and absent)


def _may_have_left_it(result: OperationResult) -> bool:
    """Whether something may be active by it: not by a notification."""
    action = result.operation.action
    return (action in _TELLING or action.startswith("reload")) and _may_have_changed_it(result)


def _was_refused(result: OperationResult) -> bool:
    """There was no process. Of a monitor that may not be executed the DC takes it as active all the same."""
    not_permitted = result.status is ExecutionStatus.ERROR and result.rc == OcfExit.ERR_PERM
    return result.status in _REFUSED or (not_permitted and result.operation.action != "monitor")


def _is_good_stop(result: OperationResult) -> bool:
    return result.operation.action == "stop" and not is_failure(result)


def _records_of(flight: Flight) -> Iterator[Record]:
    """What brings a fresh ledger to this flight."""
    yield flight.accepted
    call_id = flight.accepted.call_id
    if flight.run:
        yield Observed(call_id=call_id, run=flight.run - 1, due_ns=flight.due_ns, result=None)
    if flight.reported is not None:
        yield Reported(call_id=call_id, result=flight.reported)
    if flight.in_flight:
        yield Begun(call_id=call_id, run=flight.run, began_ns=flight.began_ns)
        if flight.pid:
            yield Spawned(
                call_id=call_id,
                run=flight.run,
                pid=flight.pid,
                start_ticks=flight.start_ticks,
                deadline_ns=flight.deadline_ns,
            )
