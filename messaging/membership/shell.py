"""Drives the membership core with sockets, clock, timers and disk; decides nothing about the cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, assert_never

import structlog

from hacluster.clock import Clock
from hacluster.errors import InvalidRequest, NotFound, ResourceExhausted, Unavailable
from hacluster.sentinel_word import WordFile
from hacluster.vocabulary.ids import NO_VIEW, ViewId
from hacluster.vocabulary.sentinel import Word
from messaging import log_events, rotation, wire
from messaging.fragments import Assembler, body_room, cut
from messaging.membership.bars import BOOT_BYTES
from messaging.membership.core import LEAVE_APART_NS, LEAVE_COPIES, MembershipCore
from messaging.membership.events import (
    KIND_OF,
    AskWitness,
    BarRequested,
    BarStored,
    CommittedQuorum,
    ConfiguredNode,
    DaemonsChanged,
    DataAnswered,
    DataRequested,
    Deliver,
    Duplicated,
    Effect,
    EndRun,
    Event,
    KeysChanged,
    Leave,
    LeaveRequested,
    Lost,
    NodesChanged,
    Note,
    OutdatedSender,
    Persist,
    Persisted,
    PersistFailed,
    Publish,
    QuorumConfigured,
    QuorumStored,
    RaiseIncarnation,
    Received,
    ReleaseWitness,
    Send,
    SetTimer,
    Status,
    StrangerHeard,
    Suspended,
    Timer,
    WitnessAnswered,
    node_list,
)
from messaging.membership.waiting import MarkAllSeen, MarkMet, WaitingEnded
from messaging.packet import REMEDY, Drop, Dropped, Gate, Keyring, Kind, Sealer
from messaging.priority import Scheduling
from messaging.store import Store
from messaging.transport.link import Carrier
from messaging.witness.client import WitnessClient
from messaging.witness.core import SyncChanged
from messaging.witness.sync import SyncCalls

log = structlog.get_logger()

WATCH_QUEUE: Final = 64
DELIVERY_QUEUE: Final = 1_024
PERSIST_QUEUE: Final = 256
SEEN_EVERY_S: Final = 60.0
DROP_LOG_EVERY_NS: Final = 60_000_000_000
DROP_SOURCES_MAX: Final = 1_024
LAG_LOGGED_NS: Final = 50_000_000
SUSPEND_NS: Final = 5_000_000
STORE_TIMEOUT_S: Final = 5.0


@dataclass(eq=False, slots=True)
class Watcher:
    """One open Watch call. `daemon` is "crm", "lrm" or "" for a tool."""

    daemon: str
    instance: int
    updates: asyncio.Queue[Status]
    overrun: bool = False


@dataclass(eq=False, slots=True)
class Listener:
    """One open Receive call."""

    topic: str
    news: asyncio.Queue[Deliver | Lost]
    overrun: bool = False


@dataclass(slots=True)
class Figures:
    """What Status tells beside the core's own."""

    dropped: dict[str, int] = field(default_factory=lambda: {reason.value: 0 for reason in Drop})
    lag_max_ns: int = 0


class MembershipShell:
    """One run of ha-messaging: give it events with `dispatch`, and it carries out what the core orders."""

    def __init__(
        self,
        *,
        core: MembershipCore,
        gate: Gate,
        sealer: Sealer,
        store: Store,
        clock: Clock,
        restart: Callable[[str], None],
        end_run: Callable[[str], None],
        store_timeout_s: float = STORE_TIMEOUT_S,
        lease_word: WordFile | None = None,
    ) -> None:
        """`restart`: the process ends, to be started again; `end_run`: the next run begins in it.

        `lease_word`: where ha-sentinel reads for how long this node may run resources."""
        self.core, self.figures = core, Figures()
        self.links: Sequence[Carrier] = ()
        self._gate, self._sealer, self._store, self._clock = gate, sealer, store, clock
        self.keyring = sealer.keyring
        self.witness: WitnessClient | None = None
        self.sync: SyncCalls | None = None
        self._restart, self._end_run, self._store_timeout_s = restart, end_run, store_timeout_s
        self.payload_bytes = core.payload_bytes
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, tuple[int, asyncio.TimerHandle]] = {}
        self._writes: asyncio.Queue[tuple[Persist, list[Effect]]] = asyncio.Queue(PERSIST_QUEUE)
        self._watchers: list[Watcher] = []
        self._quorum_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._bar_waiters: dict[int, asyncio.Future[None]] = {}
        self._drop_logged: dict[tuple[str, Drop], int] = {}
        self._sleep_offset_ns = _sleep_offset_ns()
        self._assembler = Assembler()
        self._listeners: list[Listener] = []
        self._answers: dict[int, asyncio.Future[DataAnswered]] = {}
        self._data_token = 0
        self._lease_word = lease_word
        self._over = False

    def begin(self) -> None:
        """The first heartbeats."""
        self._apply(self.core.begin(self._clock.now_ns()))

    def dispatch(self, event: Event) -> None:
        """One event to the core, its effects to the world."""
        if not self._over:
            self._apply(self.core.handle(event, self._clock.now_ns()))

    def end(self) -> None:
        """The run is over: whatever still comes (a call that ends late), only the next one acts."""
        self._over, self._lease_word = True, None
        for _, handle in self._timers.values():
            handle.cancel()
        self._timers.clear()

    # Packets.

    def taken(self, _link: int, datagram: bytes, arrived_ns: int, source: str) -> None:
        """A datagram as the socket gave it."""
        opened = self._gate.open(datagram)
        if isinstance(opened, Dropped):
            self._dropped(opened, source)
            return
        kind, body = opened.header.kind, opened.body
        if kind == Kind.FRAGMENT:
            whole = self._assembler.take(opened.header.sender, opened.header.session, body, arrived_ns)
            self.figures.dropped[Drop.INCOMPLETE.value] = self._assembler.given_up
            if whole is True:
                return
            kind, body = whole or (kind, body)
        message = wire.decode(kind, body)
        if message is None:
            self._dropped(Dropped(Drop.BAD_BODY), source)
            return
        self.dispatch(Received(opened.header, message, arrived_ns))

    def _dropped(self, dropped: Dropped, source: str) -> None:
        reason, header = dropped.reason, dropped.header
        self.figures.dropped[reason.value] += 1
        now_ns = self._clock.now_ns()
        if header is not None and self._gate.outdated(header):
            if header.kind == Kind.HEARTBEAT:
                self.dispatch(OutdatedSender(header.sender, dropped.highest_incarnation))
        elif header is not None and reason is Drop.UNKNOWN_SENDER and header.kind == Kind.HEARTBEAT:
            self.dispatch(StrangerHeard(header.sender))
        elif header is not None and reason is Drop.REPLAYED:
            self.dispatch(Duplicated(header.sender, header.link))
            return  # a second copy is nothing to write about
        if reason is Drop.NOT_FOR_US:
            return  # nor is what a group hears that was meant for one of it
        if now_ns - self._drop_logged.get((source, reason), -DROP_LOG_EVERY_NS) >= DROP_LOG_EVERY_NS:
            if len(self._drop_logged) >= DROP_SOURCES_MAX:
                self._drop_logged.clear()
            self._drop_logged[source, reason] = now_ns
            log.warning(
                log_events.PACKET_DROPPED,
                source=source,
                reason=reason.value,
                total=self.figures.dropped[reason.value],
                remedy=REMEDY[reason],
            )

    # Effects.

    def _apply(self, effects: Sequence[Effect]) -> None:
        for index, effect in enumerate(effects):
            match effect:
                case Send():
                    self._send(effect)
                case SetTimer(key, at_ns):
                    self._set_timer(key, at_ns)
                case Note(level, name, fields):
                    log.log(_LEVELS[level], name, **dict(fields))
                case Publish(status):
                    self._publish(status)
                case Persist():
                    # What follows has to wait for the disk; a full queue means that it hangs for good.
                    self._writes.put_nowait((effect, list(effects[index + 1 :])))
                    return
                case MarkAllSeen() | MarkMet():
                    self._mark(effect)
                case QuorumStored(log_index):
                    self._quorum_stored(log_index)
                case BarStored(token):
                    waiter = self._bar_waiters.get(token)
                    if waiter is not None and not waiter.done():
                        waiter.set_result(None)
                case DataAnswered(token=token):
                    answer = self._answers.pop(token, None)
                    if answer is not None and not answer.done():
                        answer.set_result(effect)
                case AskWitness() | ReleaseWitness():
                    self.ask_witness(effect)
                case Deliver() | Lost():
                    self._deliver(effect)
                case RaiseIncarnation(highest):
                    self._store.raise_incarnation(highest)
                    self._restart(f"others have seen our incarnation {highest}: the disk was lost")
                case EndRun(why):
                    self._end_run(why)
                case _:
                    assert_never(effect)

    def _send(self, send: Send) -> None:
        link, destination, sequence, message, urgent, message_id = send
        kind, body = KIND_OF[type(message)], wire.encode(message)
        bodies = [body]
        if message_id and len(body) > body_room(self.payload_bytes):
            bodies = cut(kind, body, message_id, self.payload_bytes)
            kind = Kind.FRAGMENT
        for offset, part in enumerate(bodies):
            datagram = self._sealer.seal(
                kind, part, link=link, sequence=sequence + offset, destination=destination, urgent=urgent
            )
            self.links[link].send(datagram, destination)

    def _set_timer(self, key: str, at_ns: int) -> None:
        if key in self._timers:
            self._timers[key][1].cancel()
        delay_s = max(0, at_ns - self._clock.now_ns()) / 1e9
        self._timers[key] = (at_ns, self._loop.call_later(delay_s, self._fire, key, at_ns))

    def _fire(self, key: str, at_ns: int) -> None:
        """Last look: whatever lies in the sockets comes before the timer, which may thereby be set anew."""
        late_ns = self._clock.now_ns() - at_ns
        self.figures.lag_max_ns = max(self.figures.lag_max_ns, late_ns)
        if late_ns > LAG_LOGGED_NS:
            log.warning(log_events.LOOP_LATE, late_ms=late_ns // 1_000_000)
        for link in self.links:
            link.drain()
        offset_ns = _sleep_offset_ns()
        if offset_ns - self._sleep_offset_ns > SUSPEND_NS:
            self.dispatch(Suspended())
        self._sleep_offset_ns = offset_ns
        if self._timers.get(key, (0, None))[0] != at_ns:
            return
        if self._clock.now_ns() < at_ns:
            self._set_timer(key, at_ns)
            return
        del self._timers[key]
        self.dispatch(Timer(key, at_ns))

    # Disk.

    async def write(self) -> None:
        """Persist in order, off the loop, until cancelled. Views wait for it: it is as urgent as the loop.

        A write that has begun is waited for: else it may take the place of what the next run has stored.
        """
        disk = ThreadPoolExecutor(1, thread_name_prefix="disk", initializer=Scheduling().adopt)
        try:
            while True:
                persist, rest = await self._writes.get()
                try:
                    await self._loop.run_in_executor(disk, self._store.keep, persist.durable)
                except OSError as error:
                    self.dispatch(PersistFailed(persist.token, error.errno or 0))
                    continue
                self._apply(rest)
                self.dispatch(Persisted(persist.token))
        finally:
            await asyncio.to_thread(disk.shutdown)

    async def keep_seen(self) -> None:
        """The highest incarnations seen, once a minute when they have changed, until cancelled."""
        kept: Mapping[int, int] = {}
        while True:
            await asyncio.sleep(SEEN_EVERY_S)
            seen = self._gate.seen
            if seen != kept:
                try:
                    await asyncio.to_thread(self._store.keep_seen, seen)
                    kept = seen
                except OSError as error:
                    log.warning(log_events.DISK_FAILED, reason=str(error))

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

    def republish(self) -> None:
        """Something beside the core's own has changed (ping nodes)."""
        self._publish(self.core.status(self._clock.now_ns()))

    async def next_update(self, watcher: Watcher) -> Status:
        """Raises ResourceExhausted when the caller reads too slowly."""
        if watcher.overrun:
            raise ResourceExhausted(what="updates were not read in time: call Watch again")
        return await watcher.updates.get()

    async def set_quorum(self, quorum: CommittedQuorum) -> None:
        """Returns when it, or a later one, is on disk. Raises Unavailable when that takes too long."""
        stored: asyncio.Future[None] = self._loop.create_future()
        entry = (quorum.log_index, stored)
        self._quorum_waiters.append(entry)
        try:
            self.dispatch(QuorumConfigured(quorum))
            await asyncio.wait_for(stored, self._store_timeout_s)
        except TimeoutError:
            raise Unavailable(why="the disk does not store the quorum configuration") from None
        finally:
            self._quorum_waiters.remove(entry)

    def _mark(self, effect: MarkAllSeen | MarkMet) -> None:
        try:
            if isinstance(effect, MarkMet):
                self._store.keep_met(effect.nodes)
            else:
                self._store.mark_all_seen()
        except OSError as error:  # then our next run waits for all once more
            log.warning(log_events.DISK_FAILED, reason=str(error))

    def end_waiting(self, view: ViewId) -> None:
        """wait_for_all holds this node no more in this boot, if this is its view."""
        self.dispatch(WaitingEnded(view))

    def _quorum_stored(self, log_index: int) -> None:
        for wanted, stored in self._quorum_waiters:
            if wanted <= log_index and not stored.done():
                stored.set_result(None)

    async def set_barred(self, node: int, boot_token: str) -> None:
        """Returns when it is on disk. Raises NotFound, InvalidRequest, Unavailable (the disk)."""
        if all(one.id != node for one in self.core.nodes):
            raise NotFound(kind="node", name=str(node))
        try:
            boot = bytes.fromhex(boot_token[: 2 * BOOT_BYTES])
        except ValueError:
            boot = b"?"
        if len(boot) not in (0, BOOT_BYTES):
            raise InvalidRequest(
                what=f"{boot_token!r} is no boot token", remedy="16 hexadecimal digits or more"
            )
        self._data_token += 1
        token = self._data_token
        stored = self._bar_waiters[token] = self._loop.create_future()
        try:
            self.dispatch(BarRequested(token, node, boot))
            await asyncio.wait_for(stored, self._store_timeout_s)
        except TimeoutError:
            raise Unavailable(why="the disk does not store which node is barred") from None
        finally:
            del self._bar_waiters[token]

    def ask_witness(self, question: AskWitness | ReleaseWitness | SyncChanged) -> None:
        """Fire and forget; nothing without a witness."""
        if self.witness is not None:
            self.witness.ask(question)

    async def set_in_sync(
        self, in_sync: tuple[int, ...], term: tuple[int, int], serial: int
    ) -> WitnessAnswered:
        """Returns when the witness has it, or refuses the term. Raises Unavailable, InvalidRequest."""
        if self.sync is None:
            raise Unavailable(why="there is no witness")
        view = self.core.agreement.installed
        view_id = view.id if view is not None else NO_VIEW
        return await self.sync.change(view_id, tuple(sorted(in_sync)), term, serial)

    # Small messages.

    async def say(self, *, topic: str, payload: bytes, destination: int, any_view: bool) -> DataAnswered:
        """Raises Unavailable when no answer comes: a write of ours hangs before it."""
        self._data_token += 1
        token = self._data_token
        answer: asyncio.Future[DataAnswered] = self._loop.create_future()
        self._answers[token] = answer
        try:
            self.dispatch(
                DataRequested(
                    token=token, topic=topic, payload=payload, destination=destination, any_view=any_view
                )
            )
            return await asyncio.wait_for(answer, self._store_timeout_s)
        except TimeoutError:
            raise Unavailable(why="the disk does not store what has to come before the message") from None
        finally:
            self._answers.pop(token, None)

    def listen(self, topic: str) -> Listener:
        """A new Receive call."""
        listener = Listener(topic=topic, news=asyncio.Queue(DELIVERY_QUEUE))
        self._listeners.append(listener)
        return listener

    def unlisten(self, listener: Listener) -> None:
        """The call has ended."""
        self._listeners.remove(listener)

    async def next_delivery(self, listener: Listener) -> Deliver | Lost:
        """Raises ResourceExhausted when the caller reads too slowly."""
        if listener.overrun:
            raise ResourceExhausted(what="messages were not read in time: resynchronise, then call again")
        return await listener.news.get()

    def _deliver(self, news: Deliver | Lost) -> None:
        for listener in self._listeners:
            if isinstance(news, Deliver) and news.data.topic != listener.topic:
                continue
            try:
                listener.news.put_nowait(news)
            except asyncio.QueueFull:
                listener.overrun = True

    async def leave(self, leave: Leave, by: int) -> None:
        """Say LEAVE; returns when the last copy has gone out."""
        self.dispatch(LeaveRequested(leave, by))
        await asyncio.sleep(2 * LEAVE_COPIES * LEAVE_APART_NS / 1e9)

    def use_nodes(self, nodes: tuple[ConfiguredNode, ...]) -> None:
        """Other nodes from now on. Raises InvalidRequest when one that would go is still here."""
        why = self.core.nodes_objection(nodes)
        if why:
            raise InvalidRequest(what=why)
        self._gate.use_nodes(node.id for node in nodes)
        self._store.node_lists(node_list(nodes))
        self.dispatch(NodesChanged(nodes))

    def use_keys(self, keyring: Keyring, *, force: bool = False) -> None:
        """Verify and sign with these from now on. Raises InvalidRequest when a member would not follow."""
        why = rotation.objections(keyring, self.core.detector.peers.values())
        if why and not force:
            raise InvalidRequest(what="the keys are not taken: " + "; ".join(why))
        self.keyring = keyring
        if self.witness is not None:
            self.witness.use(keyring)
        self._gate.use(keyring)
        self._sealer.use(keyring)
        self.dispatch(KeysChanged(keyring.id_bits))


_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def _sleep_offset_ns() -> int:
    """How long the machine has slept: BOOTTIME runs on then, MONOTONIC does not."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
