"""Drives the replicated CIB's core with disk, gRPC and clock. Decides nothing about the cluster.

Effects are carried out strictly in order by one task, and each Persist is awaited: so nothing is said before
what it rests on is durable. Calls to peers run beside it, each with a deadline of its own.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar, assert_never

import structlog

from crm.cib.model import Element, element
from crm.cib.replication.leading import DC_CHANGED
from crm.cib.replication.model import Stored
from crm.cib.replication.voters import VotersWanted
from crm.cib.replication.waiters import DISPLACED
from crm.cib.store import CibStore
from crm.cib.versions import NO_VERSION, CibVersion
from crm.election.model import ElectionSettings
from crm.replica import log_events
from crm.replica.answers import Answers, Replies, Together
from crm.replica.cib_xml import CibXml
from crm.replica.core import Replica
from crm.replica.effects import (
    Answer,
    AuthorityChanged,
    Call,
    CallFailed,
    CancelTimer,
    DecideOrphans,
    Die,
    Effect,
    EligibilityChanged,
    Event,
    FenceConfirmed,
    ForceQuorum,
    MarkCommitted,
    MarkSoloRight,
    Message,
    Note,
    OutcomeAsked,
    Persisted,
    PersistEntries,
    PersistPromise,
    PersistSnapshot,
    Propose,
    ReadAsked,
    Received,
    Reply,
    SaveOrphans,
    SetTimer,
    Started,
    Tell,
    TellOrphans,
    TellWitness,
    TimerFired,
    Up,
    VotersChangeRequested,
    WriteRequested,
    WritesRequested,
)
from crm.replica.events import (
    BecameDc,
    Committed,
    DcState,
    Outcome,
    ReplicaEvent,
    WriteOutcome,
)
from crm.replica.interface import Change, ForwardHandler
from crm.replica.orphan_keeper import OrphanKeeper
from crm.replica.peers import CrmPeers, Witness
from crm.replica.recent import Known, Recent
from crm.replica.solo_file import SoloRightFile
from crm.replica.status_stream import Reign, StatusStream
from crm.replica.telling import log_event
from crm.replica.timers import Timers
from hacluster.clock import Clock
from hacluster.errors import ErrorCode, HaError, InvalidRequest, NoDc, Unavailable
from hacluster.vocabulary.ids import Term
from hacluster.vocabulary.membership import Authority, QuorumConfig

log = structlog.get_logger()

MS: Final = 1_000_000
SERVE_S: Final = 30.0
DC_RETRY_S: Final = 0.05
FORWARD_MS: Final = 30_000
_PERHAPS_WRITTEN: Final = (ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE)  # or a bug there

P = ParamSpec("P")
T = TypeVar("T")


class ReplicaDied(Exception):
    """The core asked for the end of this daemon; the supervisor starts it again."""


class ReplicaShell:
    """The replicated CIB of this node; `interface.Replica` says what its methods promise."""

    def __init__(
        self,
        settings: ElectionSettings,
        *,
        node_name: str,
        store: CibStore,
        peers: CrmPeers,
        clock: Clock,
        initial: Element,
        validate: Callable[[Element], str],
        others: tuple[int, ...],
        solo_right: SoloRightFile,
        witness: Witness,
    ) -> None:
        """`others`: the ids of all other nodes of the cluster, voters or not."""
        self._settings = settings
        self._witness = witness
        self._solo_right = solo_right
        self._node_name = node_name
        self._store = store
        self._peers = peers
        self._clock = clock
        self._initial = initial
        self._validate = validate
        self._core: Replica | None = None
        self._eligibility = EligibilityChanged(True, 0)
        self._authority: AuthorityChanged | None = None
        self._queue: deque[Effect] = deque()
        self._wake = asyncio.Event()
        self._dc_known = asyncio.Event()
        self._timers = Timers(clock, lambda key: self._feed(TimerFired(key)))
        self._answers = Answers()
        self._writes = Together(lambda requests: self._feed(WritesRequested(requests)))
        self._replies = Replies()
        self._subscribers: list[asyncio.Queue[ReplicaEvent]] = []
        self._forward_handler: ForwardHandler | None = None
        self._configuration = element("configuration")
        self._digest = ""
        self.recent = Recent()
        self._author = ""
        self._visible = NO_VERSION
        self._status = StatusStream(peers, self._reign, others)
        self.use_others = self._status.use  # other nodes are configured; voters are not changed by it
        self._cib_xml = CibXml(store, lambda: (self._configuration, self._visible, self._author), node_name)
        self._orphans = OrphanKeeper(
            self, store.orphans, node_name, peers, on_disk=self._on_disk, feed=self._feed, tell=self._tell
        )
        self._disk_thread = ThreadPoolExecutor(1, thread_name_prefix="cib-disk")

    # -- life

    async def run(self) -> None:
        """Until cancelled. Raises OSError when the disk fails and ReplicaDied; both must end the daemon."""
        stored = await self._on_disk(self._store.load, wall_s=self._clock.wall_s())
        self._core = Replica(
            self._settings,
            stored,
            initial=self._initial,
            validate=self._validate,
            solo_right=await self._on_disk(self._solo_right.read),
        )
        self._show_stored(stored)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._pump(), name="replica-effects")
                group.create_task(self._cib_xml.keep(self._on_disk), name="replica-cib-xml")
                self._status.start(group)
                self._feed(Started())
                await self._orphans.find()
                self._feed(self._eligibility)
                if self._authority is not None:
                    self._feed(self._authority)
        finally:
            self._timers.cancel_all()
            self._cib_xml.finish()
            self._disk_thread.shutdown(wait=True)

    def _show_stored(self, stored: Stored) -> None:
        assert self._core is not None
        state = self._core.replication.log.committed
        if state.index:
            self._configuration, self._digest = state.content, state.digest
            self.recent.add(self._digest, self._configuration)
            self._visible = max(state.version, stored.shown)
            self._core.replication.note_shown(self._visible)
        term, voter = str(stored.promise.term), stored.promise.voter
        log.info(log_events.LOADED, cib_version=str(self._visible), term=term, voter=voter)

    # -- what others see

    @property
    def configuration(self) -> Element:
        """The committed <configuration>."""
        return self._configuration

    @property
    def version(self) -> CibVersion:
        """Of configuration and status."""
        return self._visible

    @property
    def digest(self) -> str:
        """Of the committed <configuration>."""
        return self._digest

    @property
    def dc(self) -> DcState:
        """Who is DC."""
        return DcState() if self._core is None else self._core.dc

    @property
    def status(self) -> Element:
        """The <status> section."""
        return self._status.status

    @property
    def status_age_ms(self) -> int:
        """Since a DC was last heard, or this node was one, or ha-crm began; 0 at the DC."""
        if self._core is None or self._core.dc.is_me:
            return 0
        return (self._clock.now_ns() - self._core.election.dc_heard_ns) // MS

    def subscribe(self) -> asyncio.Queue[ReplicaEvent]:
        """A new queue of events from now on."""
        queue: asyncio.Queue[ReplicaEvent] = asyncio.Queue()
        self._subscribers.append(queue)
        return queue

    # -- what others tell

    def set_authority(self, authority: Authority) -> None:
        """From ha-messaging."""
        self._authority = AuthorityChanged(authority)
        self._feed(self._authority)
        self._status.wake()

    def fence_confirmed(self, node_id: int, boot_token: str) -> None:
        """From the fencer."""
        self._feed(FenceConfirmed(node_id, boot_token))

    def set_eligibility(self, *, eligible: bool, priority: int = 0, gives_up: bool = False) -> None:
        """May this node be DC."""
        self._eligibility = EligibilityChanged(eligible, priority)
        self._feed(EligibilityChanged(eligible, priority, gives_up))

    def on_forward(self, handler: ForwardHandler) -> None:
        """Register what answers forwarded requests while this node is DC."""
        self._forward_handler = handler

    def publish_status(self, status: Element) -> None:
        """At the DC: the new <status>, for the followers too."""
        if self._core is not None and self._core.dc.is_me and status != self._status.status:
            self._show_version(self._visible.status_changed())
            self._status.publish(status)

    # -- writing

    async def write(
        self,
        configuration: Element | Change,
        *,
        author: str,
        client: str = "",
        request_id: str = "",
        expected_digest: str = "",
        force: bool = False,
        deadline_ms: int = 10_000,
    ) -> WriteOutcome:
        """Replace the configuration, from any node."""
        request_id = request_id or secrets.token_hex(16)
        author = f"{author}@{self._node_name}" + (f"/{client}" if client else "")
        until_ns = self._clock.now_ns() + deadline_ms * MS
        while True:
            left_ms = (until_ns - self._clock.now_ns()) // MS
            if left_ms <= 0 or not await self.dc_within(left_ms):
                return WriteOutcome(outcome=Outcome.FAILED, reason="there is no DC: nothing was changed")
            dc = self.dc
            left_ms = max((until_ns - self._clock.now_ns()) // MS, 1)
            try:
                write: Callable[..., Awaitable[WriteOutcome]]
                if dc.is_me:
                    write = partial(self.write_here, dc.term, configuration)
                elif isinstance(configuration, Element):
                    base = Known(self._digest, self._configuration) if self._digest else None
                    write = partial(self._peers.write, dc.dc_node_id or 0, dc.term, configuration, base=base)
                else:
                    return WriteOutcome(outcome=Outcome.FAILED, reason="this node is not DC")
                outcome = await write(
                    author=author,
                    request_id=request_id,
                    expected_digest=expected_digest,
                    force=force,
                    deadline_ms=left_ms,
                )
                return outcome if outcome.reason != DISPLACED else await self._resolve(request_id, until_ns)
            except HaError as error:
                if error.code is ErrorCode.NO_DC:
                    await asyncio.sleep(DC_RETRY_S)
                elif error.code in _PERHAPS_WRITTEN:
                    return await self._resolve(request_id, until_ns)
                else:
                    return WriteOutcome(outcome=Outcome.FAILED, reason=str(error))

    async def _resolve(self, request_id: str, until_ns: int) -> WriteOutcome:
        """The DC went away while it had our write: ask whoever is DC next, as long as there is time."""
        while True:
            outcome = await self.outcome_of(request_id)
            late = self._clock.now_ns() + int(DC_RETRY_S * 1e9) >= until_ns
            if outcome.outcome is not Outcome.UNKNOWN or late:
                return outcome
            await asyncio.sleep(DC_RETRY_S)

    async def outcome_of(self, request_id: str) -> WriteOutcome:
        """What became of a write that was answered UNKNOWN."""
        dc = self.dc
        try:
            if dc.is_me:
                return await self.outcome_here(dc.term, request_id)
            if dc.dc_node_id is not None:
                return await self._peers.outcome_of(dc.dc_node_id, dc.term, request_id)
        except HaError as error:
            return WriteOutcome(outcome=Outcome.UNKNOWN, reason=str(error))
        return WriteOutcome(outcome=Outcome.UNKNOWN, reason="there is no DC: ask again")

    async def change_voters(
        self, term: Term, wanted: VotersWanted, *, author: str, request_id: str, deadline_ms: int
    ) -> WriteOutcome:
        """Raises NoDc when this node is not DC of `term`."""
        self._require_dc(term)
        token = self._answers.expect()
        self._feed(
            VotersChangeRequested(
                token=token,
                wanted=wanted,
                author=author,
                request_id=request_id,
                deadline_ns=self._clock.now_ns() + deadline_ms * MS,
            )
        )
        return await self._answers.wait(token, deadline_ms / 1_000 + SERVE_S)

    def voters(self) -> tuple[int, QuorumConfig, tuple[int, ...]]:
        """Log index, who votes, and at the DC those that have all that is committed."""
        core = self._core
        if core is None:
            return 0, self._settings.quorum, ()
        leading = core.replication.leading
        in_sync = leading.in_sync() if leading is not None else ()
        return core.replication.log.voters[0], core.quorum, in_sync

    async def force_quorum(self, *, author: str) -> WriteOutcome:
        """The operator's decree."""
        dc = self.dc
        try:
            if dc.is_me:
                return await self.force_here(dc.term, author)
            if dc.dc_node_id is not None:
                return await self._peers.force_quorum(dc.dc_node_id, dc.term, author)
        except HaError as error:
            return WriteOutcome(outcome=Outcome.UNKNOWN, reason=str(error))
        return WriteOutcome(outcome=Outcome.FAILED, reason="there is no DC to do it: try again in a moment")

    async def forward(self, method: str, request: bytes, user: str, client: str = "") -> bytes:
        """Hand a client's request to the DC."""
        if not await self.dc_within(FORWARD_MS // 10):
            raise NoDc
        dc = self.dc
        if dc.is_me:
            return await self.forward_here(dc.term, method, request, user, client)
        if dc.dc_node_id is None:
            raise NoDc
        return await self._peers.forward(dc.dc_node_id, dc.term, method, request, user, client)

    # -- at the DC, for our own clients and other nodes'

    async def write_here(
        self,
        term: Term,
        configuration: Element | Change,
        *,
        author: str,
        request_id: str,
        expected_digest: str,
        force: bool,
        deadline_ms: int,
    ) -> WriteOutcome:
        """Raises NoDc when this node is not DC of `term`, or stopped before it wrote: nothing was done."""
        self._require_dc(term)
        token = self._answers.expect()
        request = WriteRequested(
            token=token,
            change=configuration,
            author=author,
            request_id=request_id,
            expected_digest=expected_digest,
            force=force,
            deadline_ns=self._clock.now_ns() + deadline_ms * MS,
        )
        self._writes.add(request)
        outcome = await self._answers.wait(token, deadline_ms / 1_000 + SERVE_S)
        if outcome.outcome is Outcome.FAILED and outcome.reason == DC_CHANGED:
            raise NoDc
        return outcome

    async def outcome_here(self, term: Term, request_id: str) -> WriteOutcome:
        """Raises NoDc when this node is not DC of `term`."""
        self._require_dc(term)
        token = self._answers.expect()
        self._feed(OutcomeAsked(token, request_id))
        return await self._answers.wait(token, SERVE_S)

    async def vouch(self, *, by_quorum: bool) -> WriteOutcome:
        """At the DC: whether what this node shows has all that was committed before. Raises NoDc."""
        term = self.dc.term
        self._require_dc(term)
        token = self._answers.expect()
        self._feed(ReadAsked(token, by_quorum))
        outcome = await self._answers.wait(token, SERVE_S)
        self._require_dc(term)  # or something else may be shown by now
        return outcome

    async def force_here(self, term: Term, author: str) -> WriteOutcome:
        """Raises NoDc when this node is not DC of `term`."""
        self._require_dc(term)
        token = self._answers.expect()
        self._feed(ForceQuorum(token, author))
        return await self._answers.wait(token, SERVE_S)

    async def forward_here(self, term: Term, method: str, request: bytes, user: str, client: str) -> bytes:
        """Raises NoDc when this node is not DC of `term`, and what the handler raises."""
        self._require_dc(term)
        if self._forward_handler is None:
            raise Unavailable(why="this ha-crm is still starting")
        return await self._forward_handler(method, request, user, client)

    def _require_dc(self, term: Term) -> None:
        dc = self.dc
        if not dc.is_me or dc.term != term:
            raise NoDc

    async def dc_within(self, timeout_ms: int) -> bool:
        """Whether a DC is known, after waiting for one at most so long."""
        if self._dc_known.is_set():
            return True
        try:
            await asyncio.wait_for(self._dc_known.wait(), timeout_ms / 1_000)
        except TimeoutError:
            return False
        return True

    # -- for the service

    async def serve(self, peer: int, message: Message) -> Message:
        """A peer's message of the election or the log. Raises Unavailable while starting, Timeout."""
        if self._core is None:
            raise Unavailable(why="this ha-crm is still reading its disk")
        token = self._replies.expect()
        self._feed(Received(peer, message, token))
        return await self._replies.wait(token, SERVE_S)

    def told(self, peer: int, message: Message) -> None:
        """What a peer says without waiting for an answer."""
        self._feed(Received(peer, message))

    def take_status(self, peer: int, term: Term, version: CibVersion, status: Element) -> bool:
        """The DC's status section; false when this node does not follow that DC."""
        dc = self.dc
        if status.tag != "status":
            raise InvalidRequest(what=f"a status update holds <{status.tag}>")
        if dc.is_me or dc.dc_node_id != peer or dc.term != term:
            return False
        self._status.status = status
        self._show_version(version)
        return True

    # -- events and effects

    def _feed(self, event: Event) -> None:
        if self._core is None:
            return
        try:
            effects = self._core.handle(event, self._clock.now_ns())
        except Exception:  # a bug, and half an event taken in: nothing more may be said from here
            self._queue = deque([Die(f"a bug: {type(event).__name__} could not be handled")])
            self._wake.set()
            raise
        for effect in effects:
            match effect:
                case SetTimer(key, at_ns):
                    self._timers.set(key, at_ns)
                case CancelTimer(key):
                    self._timers.cancel(key)
                case _:
                    self._queue.append(effect)
        if self._core.knows_dc:
            self._dc_known.set()
        else:
            self._dc_known.clear()
        self._wake.set()

    async def _pump(self) -> None:
        while True:  # ends by cancellation, or with the daemon
            while self._queue:
                await self._carry_out(self._queue.popleft())
            self._wake.clear()
            await self._wake.wait()

    async def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Call(peer, message):
                self._group.create_task(self._call(peer, message), name=f"replica-call-{peer}")
            case Tell(peer, message):
                self._group.create_task(self._peers.tell(peer, message))
            case Reply(token, reply):
                self._replies.give(token, reply)
            case PersistPromise(promise):
                await self._on_disk(self._store.promise, promise)
            case PersistEntries(after, entries, commit_index, shown):
                await self._on_disk(self._store.entries, after, entries, commit_index, shown)
                self._feed(Persisted(entries[-1].index, entries[-1].chain))
            case PersistSnapshot(snapshot, entries, commit_index, shown):
                await self._on_disk(self._store.snapshot, snapshot, entries, commit_index, shown)
            case MarkCommitted(index):
                await self._on_disk(self._store.mark_committed, index)
            case TellWitness():
                self._group.create_task(self._tell_witness(effect))
            case MarkSoloRight(boot_token):
                await self._on_disk(self._solo_right.keep, boot_token)
            case SaveOrphans():
                await self._orphans.save(effect, self._clock.wall_s())
            case Propose():
                self._group.create_task(self._orphans.propose(effect), name="replica-merge")
            case DecideOrphans():
                await self._orphans.decide(effect)
            case TellOrphans(file):
                await self._orphans.tell(file)
            case Up(event):
                self._tell(event)
            case Answer(token, outcome):
                self._answers.give(token, outcome)
            case Note(name, fields):
                log.info(name, **dict(fields))
            case Die(why):
                log.error(log_events.DIES, reason=why)
                raise ReplicaDied(why)
            case SetTimer() | CancelTimer():
                raise AssertionError("timers are set at once")
            case _:
                assert_never(effect)

    async def _call(self, peer: int, message: Message) -> None:
        try:
            reply = await self._peers.exchange(peer, message)
        except HaError:
            self._feed(CallFailed(peer, message))
        else:
            self._feed(Received(peer, reply))

    async def _tell_witness(self, told: TellWitness) -> None:
        self._feed(await self._witness(told))

    async def _on_disk(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._disk_thread, lambda: function(*args, **kwargs))

    def _tell(self, event: ReplicaEvent) -> None:
        if isinstance(event, Committed):
            self._configuration, self._digest, self._author = event.configuration, event.digest, event.author
            self.recent.add(self._digest, self._configuration)
            self._show_version(event.version)
            self._cib_xml.changed()
        elif isinstance(event, BecameDc):
            self._status.wake()
        log_event(event)
        for queue in self._subscribers:
            queue.put_nowait(event)

    def _show_version(self, version: CibVersion) -> None:
        self._visible = max(self._visible, version)
        if self._core is not None:
            self._core.replication.note_shown(self._visible)

    def _reign(self) -> Reign | None:
        core = self._core
        if core is None or not core.dc.is_me:
            return None
        return core.dc.term, core.election.view.id, self._visible, core.election.peers
