"""The shell with a real queue and journal, and an executor that only takes notes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, cast

import pytest

from hacluster.errors import NoAuthority, ResourceExhausted, StaleTerm, Unavailable
from hacluster.vocabulary.ids import Term, ViewId
from hacluster.vocabulary.operation import ExecutionStatus, OperationResult
from lrm import shell as lrm_shell
from lrm.executor import Executor
from lrm.journal.records import Record
from lrm.journal.store import Store
from lrm.queue.events import Accept, Answer, AuthorityChanged, Begin, Ended, Forget, PublishForgotten, RunId
from lrm.shell import HistoryItem, LrmShell, Synced
from tests.unit.lrm.queue.world import BOOT, MS, NODE, a_queue, an_authority, an_execute, an_operation


class Died(Exception):
    """What a process would not survive."""


class NoClock:
    def now_ns(self) -> int:
        return 1_000 * MS

    def wall_s(self) -> int:
        return 1_700_000_000


class Notes:
    """Stands for the executor."""

    def __init__(self) -> None:
        self.begun: list[Begin] = []
        self.killed: list[RunId] = []

    def begin(self, order: Begin) -> None:
        self.begun.append(order)

    def kill(self, run: RunId) -> None:
        self.killed.append(run)


class FullDisk(Store):
    full = False

    def append(self, record: Record) -> None:
        if self.full:
            raise OSError(28, "the file system is full")
        super().append(record)


def die() -> NoReturn:
    raise Died


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def store(tmp_path: Path) -> FullDisk:
    return FullDisk(tmp_path / "journal", BOOT)


@pytest.fixture
async def shell(store: FullDisk, notes: Notes) -> LrmShell:
    shell = LrmShell(
        queue=a_queue(store.open().ledger),
        store=store,
        clock=NoClock(),
        node=NODE,
        boot_token=BOOT,
        instance=1,
        die=die,
    )
    shell.connect(cast(Executor, notes))
    shell.start()
    shell.tell(AuthorityChanged(an_authority()))
    return shell


def ended(call_id: int) -> Ended:
    return Ended(run=RunId(call_id, 0), status=ExecutionStatus.DONE, rc=0)


async def taken(shell: LrmShell, count: int) -> list[HistoryItem]:
    found = []
    async with asyncio.timeout(5):
        async for item in shell.history():
            found.append(item)
            if len(found) == count:
                break
    return found


async def test_history_is_what_was_then_a_mark_then_what_comes(shell: LrmShell, notes: Notes) -> None:
    shell.handle(an_execute(an_operation("a"), action=1))
    shell.tell(ended(1))
    shell.handle(an_execute(an_operation("b"), action=2))
    reading = asyncio.create_task(taken(shell, 4))
    await asyncio.sleep(0)
    shell.tell(ended(2))
    items = await reading
    kinds = [(type(item.item).__name__, item.initial, item.sequence) for item in items]
    assert kinds == [
        ("OperationResult", True, 3),
        ("OperationResult", True, 3),
        ("Synced", True, 3),
        ("OperationResult", False, 4),
    ]
    statuses = [item.item.status for item in items if isinstance(item.item, OperationResult)]
    assert statuses == [ExecutionStatus.DONE, ExecutionStatus.PENDING, ExecutionStatus.DONE]
    assert [order.run for order in notes.begun] == [RunId(1, 0), RunId(2, 0)]


async def test_accept_tells_where_the_history_stood(shell: LrmShell) -> None:
    shell.handle(an_execute(an_operation("a"), action=1))
    shell.handle(an_execute(an_operation("a", "promote"), action=2))
    assert shell.accept(Accept(term=Term(2, 1)), Term(2, 1), "node1") == 1
    assert shell.sequence == 2, "what is not run any more is told after that"
    with pytest.raises(StaleTerm):
        shell.accept(Accept(term=Term(1, 1)), Term(1, 1), "node2")


async def test_a_watcher_that_does_not_read_is_sent_away(
    shell: LrmShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lrm_shell, "WATCHER_EVENTS_MAX", 3)
    stream = shell.history()
    assert isinstance((await anext(stream)).item, Synced)
    for number in range(1, 6):
        shell.handle(an_execute(an_operation("a", "monitor"), action=number))
        shell.tell(ended(number))
    with pytest.raises(ResourceExhausted):
        [item async for item in stream]


async def test_refused_and_answered(shell: LrmShell) -> None:
    answer = shell.handle(an_execute(an_operation("a"), action=1))
    assert answer == Answer(1)
    shell.tell(AuthorityChanged(None))
    with pytest.raises(NoAuthority):
        shell.handle(an_execute(an_operation("b"), action=2))


async def test_an_operation_that_is_quicker_than_the_view_it_rests_on_waits(
    shell: LrmShell, notes: Notes
) -> None:
    execute = an_execute(an_operation("a"), action=1)
    shell.tell(AuthorityChanged(None))
    early = asyncio.create_task(shell.execute(execute))
    await asyncio.sleep(0)
    assert not early.done()
    shell.tell(AuthorityChanged(replace(an_authority(), quorate=False)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not early.done()
    shell.tell(AuthorityChanged(an_authority()))
    assert await early == Answer(1)
    assert len(notes.begun) == 1


async def test_an_operation_waits_no_longer_than_it_may(
    shell: LrmShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lrm_shell, "EARLY_WAIT_S", 0.0)
    shell.tell(AuthorityChanged(None))
    with pytest.raises(NoAuthority):
        await shell.execute(an_execute(an_operation("a"), action=1))


async def test_an_operation_of_an_older_view_is_refused_at_once(
    shell: LrmShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lrm_shell, "EARLY_WAIT_S", 3600.0)
    execute = an_execute(an_operation("a"), action=1)
    newer = ViewId(counter=execute.view.counter + 1, coordinator=execute.view.coordinator)
    authority = an_authority()
    shell.tell(AuthorityChanged(replace(authority, view=replace(authority.view, id=newer))))
    with pytest.raises(NoAuthority):
        await asyncio.wait_for(shell.execute(execute), 5)


async def test_a_full_disk_ends_the_daemon(shell: LrmShell, store: FullDisk, notes: Notes) -> None:
    """Nothing may be begun that the journal does not know of."""
    store.full = True
    with pytest.raises(Died):
        shell.handle(an_execute(an_operation("a"), action=1))
    assert notes.begun == []


async def test_while_stopping_results_are_still_taken(shell: LrmShell, store: FullDisk) -> None:
    shell.handle(an_execute(an_operation("a"), action=1))
    reading = asyncio.create_task(taken(shell, 99))
    await asyncio.sleep(0)
    shell.stop()
    assert len(await reading) == 2, "the stream ends"
    with pytest.raises(Unavailable):
        shell.handle(an_execute(an_operation("b"), action=2))
    shell.tell(ended(1))
    store.close()
    assert [result.rc for result in store.open().ledger.results()] == [0]


async def test_forgetting_is_told(shell: LrmShell) -> None:
    shell.handle(an_execute(an_operation("a"), action=1))
    shell.tell(ended(1))
    stream = shell.history()
    await anext(stream)
    await anext(stream)
    shell.handle(Forget(term=Term(1, 1), resource=an_operation("a").resource))
    assert isinstance((await anext(stream)).item, PublishForgotten)


async def test_what_needs_authority_says_until_when_it_has_it(shell: LrmShell, notes: Notes) -> None:
    shell.tell(AuthorityChanged(an_authority(lease_end_ms=1_700)))
    shell.handle(an_execute(an_operation("a"), action=1))
    shell.handle(an_execute(an_operation("b", "stop"), action=2))
    shell.handle(an_execute(an_operation("c"), action=3, without_quorum=True))
    assert [order.not_after_ns // MS for order in notes.begun] == [1_700, 0, 6_000]
