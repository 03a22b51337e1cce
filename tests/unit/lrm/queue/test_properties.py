"""The queue under any order of requests, time and ends of agents: what must hold always (I4, I19, I27)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from hacluster.vocabulary.ids import ResourceId, Term, ViewId
from hacluster.vocabulary.operation import ExecutionStatus
from lrm.journal.codec import decode, encode
from lrm.journal.model import Ledger
from lrm.journal.records import Accepted, Begun, Record, TermSeen
from lrm.queue.core import Queue
from lrm.queue.events import (
    Accept,
    Append,
    AuthorityChanged,
    Begin,
    Cancel,
    Effect,
    Ended,
    Event,
    Execute,
    Forget,
    KillRun,
    RunId,
    Tick,
)
from lrm.queue.gate import is_activation
from tests.unit.lrm.queue.world import MS, VIEW, a_queue, an_authority, an_execute, an_operation

RESOURCES = ("a", "b", "c")
ACTIONS = ("start", "stop", "monitor", "promote", "notify")


@dataclass
class World:
    """Agents that the queue believes to run, a clock, and the journal as it would be on disk."""

    queue: Queue = field(default_factory=lambda: a_queue(parallel=2))
    now_ms: int = 0
    journal: list[Record] = field(default_factory=list)
    running: dict[RunId, ResourceId] = field(default_factory=dict)
    begun: set[RunId] = field(default_factory=set)
    has_authority: bool = False

    def tell(self, event: Event) -> None:
        self.take(self.queue.handle(event, self.now_ms * MS))

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Append(record=record):
                    self.journal.append(decode(encode(record)))
                case Begin(run=run, operation=operation):
                    assert run not in self.begun, "one execution a run"
                    assert operation.resource not in self.running.values(), "one agent a resource"
                    assert self.has_authority or not is_activation(operation)
                    self.begun.add(run)
                    self.running[run] = operation.resource
                case KillRun(run=run):
                    assert run in self.running
                case _:
                    pass
        self.queue.check()

    def restart(self) -> None:
        """ha-lrm dies and comes back; its agents live on."""
        ledger = Ledger()
        for record in self.journal:
            ledger.apply(record)
        ledger.check()
        self.queue = Queue(
            ledger, node=self.queue._node, boot_token=self.queue._boot_token, limits=self.queue._limits
        )
        self.has_authority = False
        assert {RunId(f.accepted.call_id, f.run) for f in ledger.flights()} == set(self.running)
        self.take(self.queue.restore(self.now_ms * MS))


def a_step(world: World, rng: random.Random, number: int) -> None:
    resource = ResourceId(rng.choice(RESOURCES))
    term = Term(rng.choice((1, 1, 1, 2, 3)), 1)
    match rng.randrange(14):
        case 0 | 1 | 2 | 3:
            operation = an_operation(
                resource,
                rng.choice(ACTIONS),
                start_delay_ms=rng.choice((0, 0, 0, 500)),
                start_within_ms=1_000,
            )
            identity = rng.choice((number, rng.randrange(1, number + 1)))
            world.tell(an_execute(operation, term=term.counter, transition=1, action=identity))
        case 4 | 5:
            operation = an_operation(resource, "monitor", interval_ms=rng.choice((1_000, 3_000)))
            world.tell(an_execute(operation, term=term.counter, transition=1, action=number))
        case 6:
            world.tell(Accept(term=term))
        case 7:
            interval_ms = rng.choice((1_000, 3_000))
            world.tell(Cancel(term=term, resource=resource, action="monitor", interval_ms=interval_ms))
        case 8:
            world.tell(
                Forget(
                    term=term,
                    resource=resource,
                    action=rng.choice(("", "monitor")),
                    interval_ms=rng.choice((0, 1_000)),
                    failures_only=rng.random() < 0.5,
                )
            )
        case 9:
            world.has_authority = rng.random() < 0.8
            view = VIEW if world.has_authority else ViewId(99, 1)
            world.tell(AuthorityChanged(an_authority(view=view)))
        case 10 | 11 | 12 if world.running:
            run = rng.choice(list(world.running))
            del world.running[run]
            status = rng.choice((ExecutionStatus.DONE, ExecutionStatus.TIMEOUT, ExecutionStatus.UNKNOWN))
            world.tell(
                Ended(run=run, status=status, rc=rng.choice((0, 0, 1, 7)), unkillable=rng.random() < 0.05)
            )
        case 13 if rng.random() < 0.5:
            world.restart()
        case _:
            world.now_ms += rng.randrange(2_000)
            world.tell(Tick())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(10, 120))
def test_invariants_hold_in_any_order(seed: int, steps: int) -> None:
    world, rng = World(), random.Random(seed)
    for number in range(1, steps):
        a_step(world, rng, number)
    assert_no_execution_below_its_term(world.journal)
    settle(world)


def settle(world: World) -> None:
    """When agents end and nobody asks for more, only recurring operations are left."""
    for _ in range(500):
        if not world.running and not world.queue.queued():
            break
        for run in list(world.running):
            del world.running[run]
            world.tell(Ended(run=run, status=ExecutionStatus.DONE, rc=0))
        world.now_ms += 1
        world.tell(Tick())
        if all(run.call_id not in world.queue.ledger.pending for run in world.running):
            world.now_ms += 600  # held starts
            if not world.queue.ledger.pending:
                return
    assert not world.queue.ledger.pending


def assert_no_execution_below_its_term(journal: list[Record]) -> None:
    """I4: what is accepted is never of a term below the highest seen, nor are queued operations of older
    terms begun (recurring ones go on)."""
    highest = Term(0, 0)
    accepted: dict[int, Accepted] = {}
    for record in journal:
        match record:
            case TermSeen(term=term):
                assert term > highest
                highest = term
            case Accepted(call_id=call_id, id=id_):
                assert id_.term == highest
                accepted[call_id] = record
            case Begun(call_id=call_id):
                operation = accepted[call_id]
                assert operation.operation.interval_ms or operation.id.term == highest
            case _:
                pass


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_every_prefix_of_a_journal_is_a_legal_state(seed: int) -> None:
    """I27: whenever ha-lrm is killed, the next one finds a state to go on from."""
    world, rng = World(), random.Random(seed)
    for number in range(1, 60):
        a_step(world, rng, number)
    for length in range(len(world.journal) + 1):
        ledger = Ledger()
        for record in world.journal[:length]:
            ledger.apply(record)
        ledger.check()
        in_flight = {(f.accepted.call_id, f.run) for f in ledger.flights()}
        queue = Queue(ledger, node=world.queue._node, boot_token=world.queue._boot_token)
        effects = queue.restore(10**15)
        queue.check()
        begun = {(e.run.call_id, e.run.run) for e in effects if isinstance(e, Begin)}
        assert not begun & in_flight, "what runs is not started again"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_a_compacted_journal_means_the_same(seed: int) -> None:
    world, rng = World(), random.Random(seed)
    for number in range(1, 80):
        a_step(world, rng, number)
    before, after = world.queue.ledger, Ledger()
    for record in before.records():
        after.apply(decode(encode(record)))
    after.check()
    assert after.max_term == before.max_term
    assert after.next_call_id == before.next_call_id
    assert after.results() == before.results()
    assert after.known == before.known
    assert after.floor == before.floor
    assert list(after.flights()) == list(before.flights())
    assert after.pending == before.pending
    assert after.recurring == before.recurring


def test_ids_are_never_run_twice_however_many_there_are() -> None:
    world = World()
    for number in range(1, 5_000):
        event = an_execute(an_operation("a", "monitor"), transition=number // 10, action=number)
        world.tell(event)
        run = next(iter(world.running))
        del world.running[run]
        world.tell(Ended(run=run, status=ExecutionStatus.DONE, rc=0))
    begun = len(world.begun)
    assert len(world.queue.ledger.known) <= 4_096
    for number in range(1, 5_000, 50):
        event = an_execute(an_operation("a", "monitor"), transition=number // 10, action=number)
        assert isinstance(event, Execute)
        world.tell(event)
    assert len(world.begun) == begun
