"""ha-crm's replicated CIB in the simulator: the real cores and the real store, on virtual disks and calls.

Views come from an abstract service that keeps the promises of the membership layer (ids grow, same id same
members) and none besides: they come late, at different moments at different nodes, or not at all.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from crm.cib.model import Element, element
from crm.cib.replication.messages import Append, AppendReply, InstallSnapshot
from crm.cib.replication.model import Kind, LogEntry
from crm.cib.store import CibStore
from crm.election.model import ElectionSettings
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
    Event,
    MarkCommitted,
    MarkSoloRight,
    Note,
    OrphansKept,
    OutcomeAsked,
    Persisted,
    PersistEntries,
    PersistPromise,
    PersistSnapshot,
    Propose,
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
    WriteRequested,
    WritesRequested,
)
from crm.replica.events import Outcome, ReplicaEvent, VotersCommitted, WriteOutcome
from hacluster.vocabulary.ids import NO_TERM, NodeId
from hacluster.vocabulary.membership import Authority, QuorumConfig
from tests.sim.cib_disk import SimStorage
from tests.sim.cib_merge import change_of, count_decision, propose
from tests.sim.cib_views import Views, ViewService
from tests.sim.cib_witness import CibWitness
from tests.sim.engine import MS, SECOND, Node, Process, World
from tests.sim.network import Calls, Network

CALL_NS = 500 * MS
APPEND_NS = 2 * SECOND


class ReplicaProcess(Process[Event, Effect]):
    """One node's ha-crm, as far as the replicated CIB goes."""

    def __init__(self, cluster: CibCluster, node: Node, node_id: int) -> None:
        super().__init__(node, "crm")
        self.cluster = cluster
        self.id = node_id
        self.core: Replica | None = None
        self.storage = SimStorage(node.disk)
        self.store = CibStore(self.storage)
        self.corrupt = ""
        self.instance = 0
        self.died = 0
        self.crash_at_merge: int | None = None  # effects from the next report of orphans to a crash
        self.had_index = 0  # while it is down: its disk holds no entry above
        self._queue: deque[Effect] = deque()
        self._busy = False
        self._answers: dict[int, Callable[[object], None]] = {}
        self.proposals: dict[int, Callable[[object], None]] = {}
        self._token = 0
        self._saved = ""  # the report that is being written

    # -- life

    def start(self) -> None:
        """The supervisor tries again while the disk cannot be written."""
        if self.node.disk.broken:
            self.world.after(SECOND, f"restart {self.name}", self.start)
        else:
            super().start()

    def begin(self) -> Sequence[Effect]:
        self.instance += 1
        self._queue.clear()
        self._busy = False
        self._answers.clear()
        self.proposals.clear()
        self.storage = SimStorage(self.node.disk)
        self.store = CibStore(self.storage)
        stored = self.store.load(wall_s=self.node.wall_s())
        self.storage.putting_off = True
        self.corrupt = stored.corrupt
        self.core = Replica(
            ElectionSettings(
                me=self.id,
                boot_token=self.node.boot_token,
                instance=self.instance,
                quorum=self.cluster.founding_of(self.id),
            ),
            stored,
            initial=self.cluster.initial,
            validate=lambda _: "",
            keep_entries=self.cluster.keep_entries,
            solo_right=(self.node.run.read("solo-right") or b"").decode(),
        )
        self.cluster.views.crm_changed()
        now_ns = self.node.clock.now_ns()
        effects = list(self.core.handle(Started(), now_ns))
        for report in self.store.orphans.undecided():
            self.world.count("merge_begun_again")
            effects += self.core.handle(OrphansKept(report), now_ns)
        return effects

    def crash(self) -> None:
        """Somewhere in the middle of what the disk was doing."""
        if self.alive:
            self._count_moment()
            with contextlib.suppress(OSError):
                self.storage.finish(self._disk_rng.randint(0, self.storage.pending))
            self.cluster.clients.process_gone(self)
            if self.core is not None:
                self.had_index = self.core.replication.log.last_index
            self.core = None
        super().crash()
        self.cluster.views.crm_changed()

    def _count_moment(self) -> None:
        """What a crash interrupts."""
        if self.core is not None and self.core.replication.leading is not None:
            self.world.count("dc_crashed")
        if self.storage.pending:
            self.world.count("crash_in_sync")

    def handle(self, event: Event, now_ns: int) -> Sequence[Effect]:
        assert self.core is not None
        effects = self.core.handle(event, now_ns)
        for watcher in self.cluster.watchers:
            watcher(self)
        return effects

    # -- effects: strictly in order, as the shell does it

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case SetTimer(key, at_ns):
                    self.set_timer(key, at_ns, TimerFired(key))
                case CancelTimer(key):
                    self.cancel_timer(key)
                case _:
                    self._queue.append(effect)
        self._pump()

    def _pump(self) -> None:
        while self._queue and not self._busy and self.alive:
            if self.crash_after is not None:
                self.crash_after -= 1
                if self.crash_after < 0:
                    self.world.count("crash_between_effects")
                    self.crash()
                    self.world.after(SECOND, f"restart {self.name}", self.start)
                    return
            effect = self._queue.popleft()
            if isinstance(
                effect, PersistPromise | PersistEntries | PersistSnapshot | SaveOrphans | DecideOrphans
            ):
                self._to_disk(effect)
            else:
                self.apply(effect)

    def _to_disk(self, effect: Effect) -> None:
        try:
            self._write(effect)
        except OSError:
            self._disk_failed()
            return
        self._busy = True
        delay_ns = self._disk_rng.randint(*self.node.disk.sync_ns)
        self.world.after(delay_ns, f"disk {self.name}", self._guarded(lambda: self._synced(effect)))

    def _write(self, effect: Effect) -> None:
        match effect:
            case PersistPromise(promise):
                self.store.promise(promise)
            case PersistEntries(after, entries, commit_index, shown):
                self.store.entries(after, entries, commit_index, shown)
            case PersistSnapshot(snapshot, entries, commit_index, shown):
                self.store.snapshot(snapshot, entries, commit_index, shown)
            case SaveOrphans():
                wall_s = self.node.wall_s()
                self._saved = self.store.orphans.save(effect, node=self.node.name, wall_s=wall_s)
            case DecideOrphans():
                self.store.orphans.decide(effect)
                count_decision(self.world, effect)
            case _:
                raise AssertionError(effect)

    def _synced(self, effect: Effect) -> None:
        try:
            self.storage.finish()
        except OSError:
            self._disk_failed()
            return
        self._busy = False
        if isinstance(effect, SaveOrphans):
            self.cluster.orphans_saved(self, effect)
            if self.crash_at_merge is not None:
                self.world.count("crash_at_merge")
                self.crash_after, self.crash_at_merge = self.crash_at_merge, None
            report = self.store.orphans.kept(self._saved)
            assert report is not None
            self.deliver(OrphansKept(report))
        if isinstance(effect, PersistEntries):
            self.cluster.spoken(self, effect.entries)
            self.deliver(Persisted(effect.entries[-1].index, effect.entries[-1].chain))
        self._pump()

    def apply(self, effect: Effect) -> None:
        match effect:
            case Call(peer, message):
                if isinstance(message, Append):
                    self.cluster.spoken(self, message.entries)
                elif isinstance(message, InstallSnapshot):
                    self.world.count("snapshot_sent")
                self._call(peer, message)
            case Tell(peer, message):
                self._tell(peer, message)
            case Reply(token, message):
                if isinstance(message, AppendReply) and not message.stored:
                    self.world.count("append_refused")
                answer = self._answers.pop(token, None)
                if answer is not None:
                    answer(message)
            case TellWitness():
                if self.cluster.witness is not None:
                    self.cluster.witness.tell(self, effect)
            case MarkSoloRight(boot_token):
                self.node.run.write("solo-right", boot_token.encode())
            case MarkCommitted(index):
                self._mark_committed(index)
            case Up(event):
                if isinstance(event, VotersCommitted):
                    self.cluster.tell_messaging(self, event)
                self.world.note(self.name, f"{type(event).__name__} {_short(event)}")
                for listener in self.cluster.listeners:
                    listener(self, event)
            case Propose():
                propose(self, effect)
            case TellOrphans():
                self.world.count("told_before_it_is_decided")
            case Answer(token, outcome) if token in self.proposals:
                self.proposals.pop(token)(outcome)
            case Answer(token, outcome):
                self.cluster.clients.answered(token, outcome)
            case Note(name, fields):
                self.world.count(" ".join([name, *(str(v) for key, v in fields if key == "reason")])[:60])
                self.world.note(self.name, f"{name} {fields}")
            case Die(why):
                self.world.note(self.name, f"dies: {why}")
                self.died += 1
                self.crash()
                self.world.after(SECOND, f"restart {self.name}", self.start)
            case _:
                raise AssertionError(effect)

    def _mark_committed(self, index: int) -> None:
        try:
            self.store.mark_committed(index)
        except OSError:
            self._disk_failed()

    def _disk_failed(self) -> None:
        """Nothing more is answered (9.6)."""
        self.world.note(self.name, "disk error: the daemon ends")
        self.world.count("daemon_ended_by_its_disk")
        self.died += 1
        self.crash()

    def _tell(self, peer: int, message: Append) -> None:
        """On the way like a call; nobody waits for its end."""
        target = self.cluster.by_id[peer]

        def execute(answer: Callable[[object], None]) -> None:
            if target.alive:
                target.deliver(Received(self.id, message))
                answer(None)

        self.cluster.calls.call(
            self.node.name,
            target.node.name,
            execute,
            lambda _: None,
            lambda _: None,
            timeout_ns=APPEND_NS,
            size_bytes=_size_bytes(message),
        )

    def _call(self, peer: int, message: object) -> None:
        target = self.cluster.by_id[peer]

        def execute(answer: Callable[[object], None]) -> None:
            if target.alive:
                target._token += 1
                target._answers[target._token] = answer
                target.deliver(Received(self.id, message, target._token))  # type: ignore[arg-type]

        generation = self.generation

        def back(event: Event) -> None:
            if self.generation == generation:
                self.deliver(event)

        self.cluster.calls.call(
            self.node.name,
            target.node.name,
            execute,
            lambda reply: back(Received(peer, reply)),  # type: ignore[arg-type]
            lambda _: back(CallFailed(peer, message)),  # type: ignore[arg-type]
            timeout_ns=APPEND_NS if isinstance(message, Append | InstallSnapshot) else CALL_NS,
            size_bytes=_size_bytes(message),
        )


def _size_bytes(message: object) -> int:
    """Roughly, as it would go over the wire: whether it fits into one packet."""
    if isinstance(message, InstallSnapshot):
        return 10_000
    return 200 + 1_500 * len(message.entries) if isinstance(message, Append) else 200


def _short(event: ReplicaEvent) -> str:
    return " ".join(str(getattr(event, name)) for name in event.__slots__ if name not in ("configuration",))[
        :120
    ]


@dataclass(slots=True)
class Write:
    """One client's numbered write. `provisional`: the answer said so."""

    number: int
    request_id: str
    node: int
    force: bool
    asked_ns: int
    outcome: Outcome | None = None
    provisional: bool = False
    shared: str = ""  # the element that it changes; empty: it adds one of its own
    found: str = ""  # what it changed there

    @property
    def note(self) -> str:
        """The id of the element that it adds."""
        return f"w{self.number}"


class Clients:
    """Writers at whoever is DC; what was answered UNKNOWN is asked again later."""

    def __init__(self, cluster: CibCluster) -> None:
        self.cluster = cluster
        self.writes: dict[str, Write] = {}
        self.tokens: dict[int, str] = {}
        self.asking: dict[int, str] = {}
        self.on_answer: list[Callable[[Write], None]] = []
        self.on_ask: list[Callable[[Write], None]] = []
        self.others: Callable[[int, WriteOutcome], None] = lambda token, outcome: None
        self._token = 0
        self._rng = cluster.world.stream("clients")

    def write(
        self,
        process: ReplicaProcess,
        *,
        force: bool = False,
        deadline_ns: int = 3 * SECOND,
        expected_digest: str = "",
        shared: str = "",
    ) -> Write:
        """One write at this node, which may or may not be DC."""
        token = self.new_token()
        number = len(self.writes) + 1
        write = Write(number, f"r{number}", process.id, force, self.cluster.world.now_ns, shared=shared)
        self.writes[write.request_id] = write
        self.tokens[token] = write.request_id
        for listener in self.on_ask:
            listener(write)
        request = WriteRequested(
            token=token,
            change=change_of(write),
            author=f"client@{process.node.name}",
            request_id=write.request_id,
            expected_digest=expected_digest,
            force=force,
            deadline_ns=process.node.clock.now_ns() + deadline_ns,
        )
        process.deliver(WritesRequested((request,)))
        return write

    def ask_again(self, process: ReplicaProcess) -> None:
        """The outcome of all unknown writes, at this node."""
        for write in list(self.writes.values()):
            if write.outcome is Outcome.UNKNOWN:
                token = self.new_token()
                self.asking[token] = write.request_id
                process.deliver(OutcomeAsked(token, write.request_id))

    def new_token(self) -> int:
        """One that nobody else has."""
        self._token += 1
        return self._token

    def answered(self, token: int, outcome: WriteOutcome) -> None:
        request_id = self.tokens.pop(token, None) or self.asking.pop(token, None)
        if request_id is None:
            self.others(token, outcome)
            return
        write = self.writes[request_id]
        if write.outcome in (Outcome.OK, Outcome.FAILED):
            return
        if write.outcome is Outcome.UNKNOWN and outcome.outcome is not Outcome.UNKNOWN:
            self.cluster.world.count(f"unknown_resolved_{outcome.outcome.value}")
        write.outcome = outcome.outcome
        write.provisional = bool(outcome.reason)
        self.cluster.world.count(f"answer_{outcome.outcome.value}")
        for listener in self.on_answer:
            listener(write)

    def process_gone(self, process: ReplicaProcess) -> None:
        """Its clients do not know."""
        for token, request_id in list(self.tokens.items()):
            write = self.writes[request_id]
            if write.node == process.id:
                del self.tokens[token]
                write.outcome = Outcome.UNKNOWN


@dataclass(slots=True)
class Saved:
    """An orphan report."""

    node: int
    requests: tuple[str, ...]
    committed: int


@dataclass
class CibCluster:
    """The nodes 1 … n with a vote each."""

    world: World
    count: int
    founders: int = 0  # so many of them have a vote at first; 0: all
    two_node: bool = False
    fencing: bool = False
    wait_for_all: bool = True
    witness_votes: int = 0
    keep_entries: int = 1_000
    disjoint: bool = False  # cib-merge
    nodes: dict[int, Node] = field(default_factory=dict)
    given_network: Network | None = None
    orphans: list[Saved] = field(default_factory=list)
    listeners: list[Callable[[ReplicaProcess, ReplicaEvent], None]] = field(default_factory=list)
    entry_listeners: list[Callable[[ReplicaProcess, tuple[LogEntry, ...]], None]] = field(
        default_factory=list
    )
    watchers: list[Callable[[ReplicaProcess], None]] = field(default_factory=list)
    boots_seen: dict[int, int] = field(default_factory=dict)
    told: dict[int, VotersCommitted] = field(default_factory=dict)  # what each ha-messaging has on its disk

    def __post_init__(self) -> None:
        ids = range(1, self.count + 1)
        self.quorum = QuorumConfig(
            voters=tuple((NodeId(one), 1) for one in ids if one <= (self.founders or self.count)),
            two_node=self.two_node,
            wait_for_all=self.two_node and self.wait_for_all,
            witness_votes=self.witness_votes,
        )
        value = "true" if self.fencing else "false"
        self.initial = element(
            "configuration",
            {},
            element(
                "crm_config",
                {},
                element(
                    "cluster_property_set",
                    {"id": "o"},
                    element("nvpair", {"id": "f", "name": "stonith-enabled", "value": value}),
                    *(element("nvpair", {"id": "m", "name": "cib-merge", "value": "disjoint"}),)
                    * self.disjoint,
                ),
            ),
        )
        self.nodes = self.nodes or {one: Node(self.world, f"n{one}") for one in ids}
        self.network = self.given_network or Network(
            self.world, [node.name for node in self.nodes.values()], 1
        )
        self.calls = Calls(self.network)
        views = Views(self)
        self.views: ViewService = views
        self.witness = CibWitness(self, views) if self.witness_votes else None
        self.clients = Clients(self)
        self.by_id = {one: ReplicaProcess(self, node, one) for one, node in self.nodes.items()}
        self.processes = list(self.by_id.values())
        self._telling = self.world.stream("telling")

    def boot_all(self) -> None:
        for node in self.nodes.values():
            if not node.up:
                node.boot()
        self.views.links_changed()

    def boot(self, node_id: int) -> None:
        if not self.nodes[node_id].up:
            self.nodes[node_id].boot()
            self.views.links_changed()

    def power_cut(self, node_id: int, rng: random.Random) -> None:
        self.nodes[node_id].power_cut(rng)
        self.views.forget(node_id)
        self.views.links_changed()

    def partition(self, *groups: Sequence[int]) -> None:
        self.network.partition(*[[self.nodes[one].name for one in group] for group in groups])
        self.views.links_changed()

    def heal(self) -> None:
        self.network.heal()
        self.views.links_changed()

    def authority_changed(self, process: ReplicaProcess, authority: Authority) -> None:
        """From ha-messaging, when that is simulated too."""
        process.deliver(AuthorityChanged(authority))

    def founding_of(self, node_id: int) -> QuorumConfig:
        """Its cluster.toml: whoever came later has been told of all nodes."""
        if node_id <= (self.founders or self.count):
            return self.quorum
        return self.quorum.among(tuple((NodeId(one), 1) for one in self.nodes))

    def tell_messaging(self, process: ReplicaProcess, event: VotersCommitted) -> None:
        """Its own ha-messaging, sooner or later; a crash meanwhile, and it has not been told."""
        delay_ns = self._telling.choice((0, 0, 1, 20, 400, 4_000)) * MS
        generation = process.generation

        def arrive() -> None:
            if process.generation == generation and self._learn(process.id, event):
                self.views.tell(process)

        if delay_ns:
            self.world.after(delay_ns, f"voters for {process.node.name}", arrive)
        else:
            self._learn(process.id, event)

    def _learn(self, node_id: int, event: VotersCommitted) -> bool:
        known = self.told.get(node_id)
        if known is not None and known.log_index > event.log_index:
            return False
        self.told[node_id] = event
        return True

    def meet(self, group: Sequence[int]) -> VotersCommitted | None:
        """The newest that a member of a view to be has on its disk: all members learn it with the view."""
        known = [self.told[one] for one in group if one in self.told]
        return max(known, key=lambda event: event.log_index) if known else None

    def install(self, node_id: int, event: VotersCommitted | None) -> None:
        """What came with the view."""
        if event is not None:
            self._learn(node_id, event)

    def counted_by(self, node_id: int) -> QuorumConfig:
        """The voters by which this node's ha-messaging counts."""
        return self.told[node_id].quorum if node_id in self.told else self.quorum

    def spoken(self, process: ReplicaProcess, entries: tuple[LogEntry, ...]) -> None:
        """Entries that are on a disk now, or on their way to a peer: they exist."""
        for listener in self.entry_listeners:
            listener(process, entries)

    def orphans_saved(self, process: ReplicaProcess, effect: SaveOrphans) -> None:
        patches = [entry for entry in effect.entries if entry.kind is Kind.PATCH]
        requests = tuple(entry.request_id for entry in patches if entry.request_id)
        self.orphans.append(Saved(process.id, requests, effect.committed))
        self.world.count("orphans_saved")
        if effect.committed:
            self.world.count("answered_orphans")

    def dc(self, *, safe: bool = False) -> ReplicaProcess | None:
        """An established DC (the one with the highest term), or None."""
        best: ReplicaProcess | None = None
        term = NO_TERM
        for process in self.processes:
            if process.core is None:
                continue
            dc = process.core.dc
            fits = dc.is_me and dc.established and (not safe or (dc.basis is not None and dc.basis.safe))
            if fits and dc.term > term:
                best, term = process, dc.term
        return best

    def settled(self) -> bool:
        """One established DC that all follow, with the same configuration everywhere."""
        cores = [process.core for process in self.processes]
        if any(core is None for core in cores):
            return False
        if any(core is not None and not core.merge.is_idle for core in cores):
            return False
        states = {(core.dc.term, core.dc.established) for core in cores if core}
        chains = {core.replication.log.last_chain for core in cores if core}
        commits = {core.replication.log.commit_index for core in cores if core}
        return len(states) == len(chains) == len(commits) == 1 and next(iter(states))[1]


def configuration_of(process: ReplicaProcess) -> Element:
    """What is committed there."""
    assert process.core is not None
    return process.core.replication.log.committed.content
