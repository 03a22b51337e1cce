"""Drives the core with corosync's libraries, clock and disk; decides nothing about the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, assert_never

import structlog

from hacluster.clock import Clock
from hacluster.errors import HaError, ResourceExhausted, Unavailable
from hacluster.sentinel_word import WordFile
from hacluster.vocabulary.sentinel import Word
from messaging import log_events
from messaging.corosync import wire
from messaging.corosync.core import (
    CorosyncCore,
    Effect,
    Event,
    GroupChanged,
    Heard,
    LeaveGroup,
    QuorumTold,
    RingChanged,
    Say,
    Ticked,
)
from messaging.corosync.library import Group, Votes
from messaging.membership.events import (
    DaemonsChanged,
    DataAnswered,
    DataRequested,
    Deliver,
    EndRun,
    Leave,
    LeaveRequested,
    Note,
    Persist,
    Persisted,
    Publish,
    RaiseIncarnation,
    Status,
)
from messaging.membership.shell import DELIVERY_QUEUE, WATCH_QUEUE, Listener, Watcher
from messaging.membership.waiting import MarkAllSeen
from messaging.store import Store

log = structlog.get_logger()

GROUP: Final = "hacluster"
CONNECT_AGAIN_S: Final = 0.5
JOIN_TRIES: Final = 40
SAY_AGAIN_S: Final = 0.02
SAYINGS_MAX: Final = 1_024
LEAVE_WAIT_S: Final = 0.3
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class CorosyncShell:
    """One run of ha-messaging on corosync."""

    def __init__(
        self,
        core: CorosyncCore,
        *,
        node_id: int,
        store: Store,
        clock: Clock,
        keepalive_s: float,
        restart: Callable[[str], None],
        end_run: Callable[[str], None],
        lease_word: WordFile | None = None,
    ) -> None:
        self.core = core
        self._node_id, self._store, self._clock, self._keepalive_s = node_id, store, clock, keepalive_s
        self._restart, self._end_run, self._lease_word = restart, end_run, lease_word
        self._group: Group | None = None
        self._votes: Votes | None = None
        self._joined = False
        self._events: list[Event] = []  # what callbacks have brought
        self._sayings: list[bytes] = []  # corosync was busy
        self._writes: asyncio.Queue[Persist] = asyncio.Queue(64)
        self._watchers: list[Watcher] = []
        self._listeners: list[Listener] = []
        self._answers: dict[int, DataAnswered] = {}
        self._data_token = 0

    # Corosync.

    async def run(self) -> None:
        """Connect, then follow until cancelled; a corosync that goes away ends this run."""
        group, votes = await self._connect()
        loop = asyncio.get_running_loop()
        loop.add_reader(group.fileno(), self._drain)
        loop.add_reader(votes.fileno(), self._drain)
        try:
            while True:
                self._tick()
                await asyncio.sleep(self._keepalive_s)
        finally:
            loop.remove_reader(group.fileno())
            loop.remove_reader(votes.fileno())
            self._joined = False
            group.close()
            votes.close()

    async def _connect(self) -> tuple[Group, Votes]:
        said = ""
        while True:
            try:
                return await self._connected()
            except HaError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning(log_events.COROSYNC, reason=said)
                await asyncio.sleep(CONNECT_AGAIN_S)

    async def _connected(self) -> tuple[Group, Votes]:
        """Raises HaError."""
        group = Group(GROUP, heard=self._heard, changed=self._changed, ring=self._ring)
        try:
            own = group.local_node()
            if own != self._node_id:
                raise Unavailable(
                    why=f"corosync's node id here is {own}, cluster.toml says {self._node_id}: let them agree"
                )
            votes = Votes(self._told)
            votes.track()
            for attempt in range(JOIN_TRIES):
                try:
                    group.join()
                    break
                except ResourceExhausted:
                    if attempt == JOIN_TRIES - 1:
                        raise
                    await asyncio.sleep(SAY_AGAIN_S)
        except BaseException:
            group.close()
            raise
        self._group, self._votes, self._joined = group, votes, True
        log.info(log_events.COROSYNC, node_id=own, group=GROUP)
        return group, votes

    def _heard(self, node: int, pid: int, message: bytes) -> None:
        packet = wire.decode(message)
        if packet is None:
            log.warning(log_events.PACKET_DROPPED, source=f"node {node}, pid {pid}", reason="bad_body")
            return
        self._events.append(Heard(sender=(node, pid), packet=packet))

    def _changed(self, members: tuple[tuple[int, int], ...], died: tuple[int, ...]) -> None:
        self._events.append(GroupChanged(members=members, died=died))

    def _ring(self, ring: tuple[int, int], nodes: tuple[int, ...]) -> None:
        self._events.append(RingChanged(ring=ring, nodes=nodes))

    def _told(self, quorate: bool, ring_seq: int) -> None:
        self._events.append(QuorumTold(quorate=quorate, ring_seq=ring_seq))

    def _drain(self) -> None:
        try:
            assert self._group is not None
            assert self._votes is not None
            self._votes.dispatch()
            self._group.dispatch()
        except Unavailable as error:
            self._lost(str(error))
        except ResourceExhausted:
            return  # the socket stays readable
        events, self._events = self._events, []
        for event in events:
            self.dispatch(event)

    def _tick(self) -> None:
        asked_ns = self._clock.now_ns()
        try:
            assert self._group is not None
            self._group.local_node()
            self._say_again()
        except ResourceExhausted:
            return  # no answer: the lease does not move
        except Unavailable as error:
            self._lost(str(error))
            return
        self._drain()
        self.dispatch(Ticked(asked_ns))

    def _lost(self, why: str) -> None:
        """No authority at once, and a new run when corosync is back."""
        if self._joined:
            self._joined = False
            log.error(log_events.COROSYNC, reason=why)
            self.dispatch(RingChanged(ring=(0, 0), nodes=()))
            self.dispatch(QuorumTold(quorate=False, ring_seq=0))
            self._restart(why)

    # Effects.

    def dispatch(self, event: Event) -> None:
        """One event to the core, its effects to the world."""
        for effect in self.core.handle(event, self._clock.now_ns()):
            self._apply(effect)

    def _apply(self, effect: Effect) -> None:
        match effect:
            case Say(packet):
                self._sayings.append(wire.encode(packet))
                self._flush()
            case LeaveGroup():
                if self._group is not None and self._joined:
                    self._joined = False
                    self._group.leave()
            case Persist():
                self._writes.put_nowait(effect)
            case Publish(status):
                self._publish(status)
            case Deliver():
                self._deliver(effect)
            case DataAnswered(token=token):
                self._answers[token] = effect
            case MarkAllSeen():
                try:
                    self._store.mark_all_seen()
                except OSError as error:
                    log.warning(log_events.DISK_FAILED, reason=str(error))
            case EndRun(why):
                self._end_run(why)
            case RaiseIncarnation(highest):
                self._store.raise_incarnation(highest)
                self._end_run(f"others have seen our incarnation {highest}: the disk was lost")
            case Note(level, name, fields):
                log.log(_LEVELS[level], name, **dict(fields))
            case _:
                assert_never(effect)

    def _flush(self) -> None:
        """In order; what corosync does not take now is said a little later."""
        while self._sayings and self._joined and self._group is not None:
            try:
                self._group.say(self._sayings[0])
            except ResourceExhausted:
                asyncio.get_running_loop().call_later(SAY_AGAIN_S, self._say_again)
                return
            self._sayings.pop(0)

    def _say_again(self) -> None:
        try:
            self._flush()
        except Unavailable as error:
            self._lost(str(error))

    def _publish(self, status: Status) -> None:
        if self._lease_word is not None:
            authority = status.authority
            until_ns = authority.lease_end_ns if authority.quorate and not authority.waiting else 0
            try:
                self._lease_word.write(Word(self._clock.now_ns(), until_ns))
            except OSError as error:  # then the sentinel has an old word, which is the safe side
                log.warning(log_events.LEASE_NOT_TOLD, reason=str(error))
                self._lease_word = None
        for watcher in self._watchers:
            try:
                watcher.updates.put_nowait(status)
            except asyncio.QueueFull:
                watcher.overrun = True

    async def write(self) -> None:
        """Persist in order, off the loop, until cancelled. A disk that fails ends this run.

        A write that has begun is waited for: else it may take the place of what the next run has stored.
        """
        while True:
            persist = await self._writes.get()
            try:
                await _to_its_end(asyncio.to_thread(self._store.keep, persist.durable))
            except OSError as error:
                log.error(log_events.DISK_FAILED, reason=str(error))
                self._restart(f"the disk fails: {error}")
                return
            self.dispatch(Persisted(persist.token))

    # Those who ask.

    def watch(self, daemon: str, instance: int) -> Watcher:
        """A new Watch call; the present state is its first update."""
        watcher = Watcher(daemon=daemon, instance=instance, updates=asyncio.Queue(WATCH_QUEUE))
        watcher.updates.put_nowait(self.core.status(self._clock.now_ns()))
        self._watchers.append(watcher)
        self._daemons()
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """The call has ended."""
        self._watchers.remove(watcher)
        self._daemons()

    def _daemons(self) -> None:
        last = {watcher.daemon: watcher.instance for watcher in self._watchers}
        self.dispatch(DaemonsChanged(crm_instance=last.get("crm", 0), lrm_instance=last.get("lrm", 0)))

    def republish(self) -> None:
        """Something beside the core's own has changed (ping nodes)."""
        self._publish(self.core.status(self._clock.now_ns()))

    async def next_update(self, watcher: Watcher) -> Status:
        """Raises ResourceExhausted when the caller reads too slowly."""
        if watcher.overrun:
            raise ResourceExhausted(what="updates were not read in time: call Watch again")
        return await watcher.updates.get()

    def say(self, *, topic: str, payload: bytes, destination: int, any_view: bool) -> DataAnswered:
        """Raises ResourceExhausted while corosync takes nothing."""
        if len(self._sayings) >= SAYINGS_MAX:
            raise ResourceExhausted(what="corosync takes no messages at the moment")
        self._data_token += 1
        self.dispatch(
            DataRequested(
                token=self._data_token,
                topic=topic,
                payload=payload,
                destination=destination,
                any_view=any_view,
            )
        )
        return self._answers.pop(self._data_token)

    def listen(self, topic: str) -> Listener:
        """A new Receive call."""
        listener = Listener(topic=topic, news=asyncio.Queue(DELIVERY_QUEUE))
        self._listeners.append(listener)
        return listener

    def unlisten(self, listener: Listener) -> None:
        """The call has ended."""
        self._listeners.remove(listener)

    async def next_delivery(self, listener: Listener) -> Deliver:
        """Raises ResourceExhausted when the caller reads too slowly."""
        if listener.overrun:
            raise ResourceExhausted(what="messages were not read in time: resynchronise, then call again")
        news = await listener.news.get()
        assert isinstance(news, Deliver)
        return news

    def _deliver(self, news: Deliver) -> None:
        for listener in self._listeners:
            if news.data.topic != listener.topic:
                continue
            try:
                listener.news.put_nowait(news)
            except asyncio.QueueFull:
                listener.overrun = True

    async def leave(self, leave: Leave, by: int) -> None:
        """Out of the group, with a word."""
        self.dispatch(LeaveRequested(leave, by))
        await asyncio.sleep(LEAVE_WAIT_S)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Also when this is cancelled meanwhile. Raises OSError."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(log_events.DISK_FAILED, reason=str(error))
        raise
