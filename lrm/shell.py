"""ha-lrm's shell: feeds the queue, carries out what it orders in order, and tells those who watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn, assert_never

import structlog

from hacluster.clock import Clock
from hacluster.errors import HaError, ResourceExhausted, Unavailable
from hacluster.vocabulary.ids import BootToken, NodeName, Term
from hacluster.vocabulary.operation import OperationResult
from lrm import log_events
from lrm.executor import Executor
from lrm.journal.store import Store
from lrm.queue import gate
from lrm.queue.core import Queue
from lrm.queue.events import (
    Answer,
    Append,
    AuthorityChanged,
    Begin,
    CancelAnswer,
    Effect,
    Event,
    Execute,
    KillRun,
    Note,
    Publish,
    PublishForgotten,
    Refuse,
    Tick,
)

log = structlog.get_logger()

WATCHER_EVENTS_MAX: Final = 10_000
EARLY_WAIT_S: Final = 0.3
"""How long an operation waits for a view or lease that this node has not heard of yet."""
LAG_WARNING_NS: Final = 50_000_000
_LAG_STEP_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything recorded has been told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryItem:
    """One message of the History stream."""

    item: OperationResult | PublishForgotten | Synced
    initial: bool
    sequence: int


class LrmShell:
    """Owns the queue. Everything happens in the event loop, one event after the other."""

    def __init__(
        self,
        *,
        queue: Queue,
        store: Store,
        clock: Clock,
        node: NodeName,
        boot_token: BootToken,
        instance: int,
        die: Callable[[], NoReturn],
    ) -> None:
        self.queue = queue
        self.node = node
        self.boot_token = boot_token
        self.instance = instance
        self.sequence = 0
        self._store = store
        self._die = die
        self._clock = clock
        self._executor: Executor | None = None
        self._watchers: list[asyncio.Queue[HistoryItem | None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._stopping = False
        self._authority_news = asyncio.Event()

    def connect(self, executor: Executor) -> None:
        """The executor this shell orders from: once, before `start`."""
        self._executor = executor

    def start(self) -> None:
        """Continue where the journal ends."""
        self._apply(self.queue.restore(self._clock.now_ns()))
        self._set_timer()

    def handle(self, event: Event) -> Answer | CancelAnswer | None:
        """Feed the queue. Raises the HaError of a request that is refused."""
        if self._stopping:
            raise Unavailable(why="ha-lrm is stopping")
        return self.tell(event)

    def tell(self, event: Event) -> Answer | CancelAnswer | None:
        """As `handle`, also while stopping: results still go into the journal."""
        if isinstance(event, AuthorityChanged):
            self._log_authority(event)
        try:
            answer = self._apply(self.queue.handle(event, self._clock.now_ns()))
            self._store.compact_if_grown(self.queue.ledger)
        except HaError:
            self._set_timer()
            raise
        except OSError as error:
            # What is not in the journal must not happen, and the ledger is ahead of it now.
            log.critical(log_events.JOURNAL_FAILED, reason=str(error))
            self._die()
        except Exception:
            log.exception(log_events.BUG, told=type(event).__name__)
            self._die()
        if isinstance(event, AuthorityChanged):
            self._authority_news.set()
            self._authority_news = asyncio.Event()
        self._set_timer()
        return answer

    async def execute(self, event: Execute) -> Answer:
        """As `handle`; one that comes before the news it rests on waits for them, `EARLY_WAIT_S` at most.

        Refused at once, it would end the DC's transition, and the resource would be without service until the
        DC's next attempt.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(EARLY_WAIT_S):
                while not self._stopping and self._is_early(event):
                    await self._authority_news.wait()
        answer = self.handle(event)
        assert isinstance(answer, Answer)
        return answer

    def _is_early(self, event: Execute) -> bool:
        return gate.is_early(
            self.queue.authority,
            event.operation,
            event.view,
            without_quorum=event.without_quorum,
            now_ns=self._clock.now_ns(),
        )

    def accept(self, event: Event, term: Term, dc: str) -> int:
        """A DC takes over; the sequence number of the last history event before its term counted."""
        before = self.sequence
        self.handle(event)
        log.info(log_events.DC_ACCEPTED, dc=dc, term=str(term))
        return before

    async def history(self) -> AsyncIterator[HistoryItem]:
        """What is recorded, then what comes. Raises ResourceExhausted for a watcher that does not read."""
        watcher: asyncio.Queue[HistoryItem | None] = asyncio.Queue(WATCHER_EVENTS_MAX)
        ledger = self.queue.ledger
        ended = sorted((*ledger.results(), *ledger.not_run()), key=lambda result: result.call_id)
        recorded = [*ended, *self.queue.running_results()]
        at = self.sequence
        self._watchers.append(watcher)
        try:
            for result in recorded:
                yield HistoryItem(item=result, initial=True, sequence=at)
            yield HistoryItem(item=Synced(), initial=True, sequence=at)
            while True:
                item = await watcher.get()
                if item is None:
                    if self._stopping:
                        return
                    raise ResourceExhausted(what=f"{WATCHER_EVENTS_MAX} events were not read")
                yield item
        finally:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

    def now_ns(self) -> int:
        """The time events are stamped with."""
        return self._clock.now_ns()

    def stop(self) -> None:
        """No more requests; agents that run go on."""
        self._stopping = True
        for watcher in self._watchers:
            if not watcher.full():
                watcher.put_nowait(None)

    async def watch_lag(self) -> None:
        """Say when the loop was late: everything here is, then."""
        while True:
            before_ns = self._clock.now_ns()
            await asyncio.sleep(_LAG_STEP_S)
            lag_ns = self._clock.now_ns() - before_ns - int(_LAG_STEP_S * 1e9)
            if lag_ns > LAG_WARNING_NS:
                log.warning(log_events.LOOP_LAG, lag_ms=lag_ns // 1_000_000)

    def _apply(self, effects: list[Effect]) -> Answer | CancelAnswer | None:
        answer: Answer | CancelAnswer | None = None
        refusal = None
        assert self._executor is not None
        for effect in effects:
            match effect:
                case Append(record=record):
                    self._store.append(record)
                case Begin(run=run, operation=operation):
                    level = log.debug if operation.interval_ms else log.info
                    level(
                        log_events.OPERATION_BEGUN,
                        resource=operation.resource,
                        operation=operation.action,
                        interval_ms=operation.interval_ms,
                        call_id=run.call_id,
                        agent=str(operation.agent),
                    )
                    self._executor.begin(effect)
                case KillRun(run=run):
                    self._executor.kill(run)
                case Answer() | CancelAnswer():
                    answer = effect
                case Refuse(error=error):
                    refusal = error
                case Publish(result=result):
                    if result.operation.interval_ms:
                        self._log_change(result)
                    self._publish(result)
                case PublishForgotten():
                    self._publish(effect)
                case Note(event=event, fields=fields):
                    log.info(event, **fields)
                case _:
                    assert_never(effect)
        if refusal is not None:
            raise refusal
        return answer

    def _publish(self, item: OperationResult | PublishForgotten) -> None:
        self.sequence += 1
        message = HistoryItem(item=item, initial=False, sequence=self.sequence)
        for watcher in list(self._watchers):
            if watcher.full():
                self._watchers.remove(watcher)
                watcher.get_nowait()
                watcher.put_nowait(None)
            else:
                watcher.put_nowait(message)

    def _set_timer(self) -> None:
        due_ns = self.queue.next_due_ns()
        if due_ns is None or (self._timer is not None and due_ns == self._timer_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = due_ns
        wait_s = max(0, due_ns - self._clock.now_ns()) / 1e9
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.tell(Tick())

    def _log_change(self, result: OperationResult) -> None:
        log.info(
            log_events.RECURRING_CHANGED,
            resource=result.operation.resource,
            operation=result.operation.action,
            interval_ms=result.operation.interval_ms,
            call_id=result.call_id,
            rc=result.rc,
            status=result.status.name.lower(),
            reason=result.exit_reason,
        )

    def _log_authority(self, event: AuthorityChanged) -> None:
        before, now = self.queue.authority, event.authority
        if now is None:
            if before is not None:
                log.warning(log_events.AUTHORITY_LOST)
        elif before is None or (before.view.id, before.quorate) != (now.view.id, now.quorate):
            log.info(log_events.AUTHORITY, view=str(now.view.id), quorate=now.quorate, waiting=now.waiting)
