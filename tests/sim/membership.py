"""ha-messaging in the simulator: the real membership core and gate on the virtual network and disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from mypy_extensions import mypyc_attr

from hacluster.vocabulary.ids import NodeId, NodeName
from hacluster.vocabulary.membership import QuorumConfig
from messaging import wire
from messaging.fragments import Assembler, body_room, cut
from messaging.membership import durable as slots
from messaging.membership.core import MembershipCore
from messaging.membership.events import (
    KIND_OF,
    AskWitness,
    BarStored,
    Config,
    ConfiguredNode,
    DataAnswered,
    Deliver,
    Duplicated,
    Effect,
    EndRun,
    Event,
    Lost,
    Message,
    Note,
    OutdatedSender,
    Persist,
    Persisted,
    PersistFailed,
    Publish,
    QuorumStored,
    RaiseIncarnation,
    Received,
    ReleaseWitness,
    Send,
    SetTimer,
    Start,
    Status,
    StrangerHeard,
    Timer,
    WitnessAnswered,
)
from messaging.membership.runs import Run, known_runs
from messaging.membership.waiting import MarkAllSeen, MarkMet
from messaging.packet import (
    TO_ALL,
    Drop,
    Dropped,
    Gate,
    Header,
    Heartbeat,
    Keyring,
    Kind,
    Opened,
    Sealer,
    WorkingKey,
)
from messaging.store import DISKLESS_SHIFT
from messaging.witness.core import Answer
from tests.sim.engine import MS, SECOND, Disk, InvariantBroken, Node, PersistRequest, Process, World
from tests.sim.network import Damaged, Network

WITNESS_NODE = "w"
KEYRING = Keyring(keys={1: WorkingKey(id=1, method="sha256", key=b"k" * 32)}, signing=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The timers of a simulated cluster."""

    keepalive_ns: int = 250 * MS
    warntime_ns: int = 1_250 * MS
    deadtime_ns: int = 2_500 * MS
    initdead_ns: int = 30 * SECOND
    deadtime_auto: bool = False


@mypyc_attr(allow_interpreted_subclasses=True)
class MessagingProcess(Process[Event, Effect]):
    """One node's ha-messaging. `on_publish` hears what ha-crm would, `on_talk` what clients of DATA would.

    With `wire` set, packets are sealed bytes, fragments included; else they are objects, which is faster.
    """

    wire = False

    def __init__(self, node: Node, network: Network, config: Config) -> None:
        super().__init__(node, "messaging")
        self.network = network
        self.config = config
        self.core: MembershipCore | None = None
        self.status: Status | None = None
        self._newest: Publish | None = None
        self.on_publish: list[Callable[[MessagingProcess, Status], None]] = []
        self.on_talk: list[Callable[[MessagingProcess, DataAnswered | Deliver | Lost], None]] = []
        self.on_ask: list[Callable[[MessagingProcess, AskWitness | ReleaseWitness], None]] = []
        self.assembler = Assembler()
        self.former_nodes: tuple[tuple[tuple[int, str], ...], ...] = ()
        self.keyring = KEYRING
        self.gate = self._new_gate()
        self._names: dict[int, str] = {n.id: n.name for n in config.nodes}
        self._identity = (b"", 0)
        self._serial = 0
        self._rng = self.world.stream(f"core/{node.name}")
        network.attach(node.name, self._arrive)

    def use(self, keyring: Keyring) -> None:
        """Other keys from now on."""
        self.keyring = keyring
        self.gate.use(keyring)
        self.sealer.use(keyring)

    def _new_gate(self, runs: Sequence[Run] = ()) -> Gate:
        return Gate(
            seen=known_runs({}, runs),
            cluster_id=bytes(16),
            node_id=self.config.node_id,
            nodes=[n.id for n in self.config.nodes],
            keyring=self.keyring,
        )

    @property
    def diskless(self) -> bool:
        """It keeps what it has to remember in /run."""
        return any(node.diskless for node in self.config.nodes if node.id == self.config.node_id)

    @property
    def disk(self) -> Disk:
        return self.node.run if self.diskless else self.node.disk

    def _read_slots(self, name: str) -> list[bytes | None]:
        return [self.disk.read(f"{name}.{number}") for number in range(slots.SLOTS)]

    def _write_incarnation(self, value: int) -> None:
        content, _ = slots.newest(self._read_slots("incarnation"))
        serial = content["serial"] + 1 if content else 1
        name = f"incarnation.{serial % slots.SLOTS}"
        self.disk.write(name, slots.encode_slot(serial, {"incarnation": value}))
        self.disk.sync(name)

    def begin(self) -> Sequence[Effect]:
        content, _ = slots.newest(self._read_slots("incarnation"))
        incarnation = (content["incarnation"] if content else 0) + 1
        if self.diskless:
            incarnation = max(incarnation, self.node.wall_s() << DISKLESS_SHIFT)
        self._write_incarnation(incarnation)
        view, _ = slots.newest(self._read_slots("view"))
        self._serial = view["serial"] if view else 0
        durable = slots.durable_from(self._read_slots("view"))
        session = self._rng.getrandbits(128).to_bytes(16, "big")
        self._identity = (session, incarnation)
        self.gate, self.assembler = self._new_gate(durable.runs), Assembler()
        self.sealer = Sealer(
            cluster_id=bytes(16),
            node_id=self.config.node_id,
            session=session,
            incarnation=incarnation,
            keyring=self.keyring,
        )
        start = Start(
            incarnation=incarnation,
            boot_token=self.node.boot_token,  # type: ignore[arg-type]
            durable=durable,
            all_seen=self.node.run.read("all-seen") is not None,
            met=frozenset(self.node.run.read("met") or b""),
            first_sequence=self._rng.getrandbits(31),
            former_nodes=self.former_nodes,
        )
        now_ns = self.node.clock.now_ns()
        self.core, self._newest = MembershipCore(self.config, start, self._rng, now_ns), None
        return self.core.begin(now_ns)

    def handle(self, event: Event, now_ns: int) -> Sequence[Effect]:
        assert self.core is not None
        effects = self.core.handle(event, now_ns)
        for effect in effects:
            if type(effect) is Publish:
                self._newest = effect
        return effects

    def persist_of(self, effect: Effect) -> PersistRequest[Event] | None:
        if not isinstance(effect, Persist):
            return None
        self._serial += 1
        return PersistRequest(
            file=f"view.{self._serial % slots.SLOTS}",
            data=slots.encode_slot(self._serial, slots.durable_content(effect.durable)),
            done=Persisted(effect.token),
            failed=PersistFailed(effect.token, 5),
        )

    def apply(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._transmit(effect)
            case SetTimer(key, at_ns):
                self.set_timer(key, at_ns, Timer(key, at_ns))
            case Publish(status):
                if self._newest is not None and effect is not self._newest:
                    raise InvariantBroken("I6/news", f"{self.name} publishes what it has published newer of")
                self.status = status
                for listener in self.on_publish:
                    listener(self, status)
            case Note(level, name, fields):
                if level != "debug":
                    text = " ".join(f"{key}={value}" for key, value in fields)
                    self.world.note(self.node.name, f"{name.removeprefix('messaging.')} {text}")
            case MarkAllSeen():
                self.node.run.write("all-seen", b"1")
            case MarkMet(nodes):
                self.node.run.write("met", bytes(sorted(nodes)))
            case RaiseIncarnation(highest):
                self._write_incarnation(highest)
                self.world.count("incarnation_raised")
                self.crash()
                self.world.after(100 * MS, f"restart {self.name}", self.start)
            case EndRun():
                self.crash()
                self.world.after(100 * MS, f"restart {self.name}", self.start)
            case AskWitness() | ReleaseWitness():
                for asked in self.on_ask:
                    asked(self, effect)
            case DataAnswered() | Deliver() | Lost():
                for heard in self.on_talk:
                    heard(self, effect)
            case QuorumStored() | BarStored() | Persist():
                pass

    def _transmit(self, send: Send) -> None:
        targets = self._names.values() if send.destination == TO_ALL else [self._names[send.destination]]
        for payload in self._sealed(send) if self.wire else [self._as_object(send)]:
            for target in targets:
                if target != self.node.name:
                    self.network.send(self.node.name, target, send.link, payload)

    def _as_object(self, send: Send) -> tuple[Header, Message]:
        session, incarnation = self._identity
        header = Header(
            KIND_OF[type(send.message)], 1, 0, send.link, self.config.node_id, send.destination,
            session, incarnation, send.sequence,
        )  # fmt: skip
        return header, send.message

    def _sealed(self, send: Send) -> list[bytes]:
        kind, body = KIND_OF[type(send.message)], wire.encode(send.message)
        bodies = [body]
        if len(body) > body_room(self.config.payload_bytes):
            assert send.message_id, f"{type(send.message)} of {len(body)} bytes was not expected to be cut"
            bodies, kind = cut(kind, body, send.message_id, self.config.payload_bytes), Kind.FRAGMENT
        return [
            self.sealer.seal(
                kind, part, link=send.link, sequence=send.sequence + offset, destination=send.destination
            )
            for offset, part in enumerate(bodies)
        ]

    def _arrive(self, _source: str, _link: int, payload: object) -> None:
        if not self.alive:
            return
        if isinstance(payload, bytes):
            self._opened(payload)
            return
        if isinstance(payload, Answer):
            answer = WitnessAnswered(
                nonce=payload.nonce,
                view=payload.view,
                granted=payload.granted,
                lease_ms=payload.lease_ms,
                reason=payload.reason,
                runs=payload.runs,
            )
            self.deliver(answer)
            return
        event = self._event(*cast(tuple[Header, Message], payload))
        if event is not None:
            self.deliver(event)

    def _opened(self, datagram: bytes) -> None:
        """What the shell does with a datagram."""
        opened = self.gate.open(datagram)
        if isinstance(datagram, Damaged):
            self._not_fooled(opened)
        if isinstance(opened, Dropped):
            header = opened.header
            if header is None:
                return
            if self.gate.outdated(header):
                if header.kind == Kind.HEARTBEAT:
                    self.deliver(OutdatedSender(header.sender, opened.highest_incarnation))
            elif opened.reason is Drop.REPLAYED:
                self.deliver(Duplicated(header.sender, header.link))
            return
        header, body = opened
        kind = header.kind
        if kind == Kind.FRAGMENT:
            whole = self.assembler.take(header.sender, header.session, body, self.node.clock.now_ns())
            if isinstance(whole, bool):
                assert whole, "a fragment of ours is no good"
                return
            kind, body = whole
        message = wire.decode(kind, body)
        assert message is not None, f"a packet of ours does not decode: {header}"
        self.deliver(Received(header, message, self.node.clock.now_ns()))

    def _not_fooled(self, opened: Opened | Dropped) -> None:
        """I22: it is dropped, and nothing of it is believed."""
        if not isinstance(opened, Dropped) or opened.header is not None:
            raise InvariantBroken(
                "I22", f"{self.name} took a damaged or forged packet for genuine: {opened[0]}"
            )
        self.world.count(f"dropped {opened.reason.value}")

    def _event(self, header: Header, message: Message) -> Event | None:
        if all(header.sender != node.id for node in self.config.nodes):
            return StrangerHeard(header.sender) if isinstance(message, Heartbeat) else None
        dropped = self.gate.admit(header)
        if dropped is None:
            return Received(header, message, self.node.clock.now_ns())
        if self.gate.outdated(header):
            highest = self.gate.seen[header.sender]
            return OutdatedSender(header.sender, highest) if isinstance(message, Heartbeat) else None
        return Duplicated(header.sender, header.link) if dropped is Drop.REPLAYED else None


@mypyc_attr(allow_interpreted_subclasses=True)
class MembershipCluster:
    """n nodes with ha-messaging alone."""

    def __init__(
        self,
        world: World,
        count: int,
        *,
        links: int = 2,
        timing: Timing | None = None,
        two_node: bool = False,
        wait_for_all: bool = False,
        rates_ppm: Sequence[int] = (),
        payload_bytes: int = 1_400,
        sealed: bool = False,
        diskless: Sequence[str] = (),
        lms_window_ms: int = 0,
        witness_votes: int = 0,
    ) -> None:
        self.world = world
        self.faults_over = False
        self.timing = timing or Timing()
        names = [f"n{number}" for number in range(1, count + 1)]
        configured = tuple(
            ConfiguredNode(
                id=NodeId(number),
                name=NodeName(name),
                votes=int(name not in diskless),
                diskless=name in diskless,
            )
            for number, name in enumerate(names, 1)
        )
        self.quorum = QuorumConfig(
            voters=tuple((node.id, 1) for node in configured if node.votes),
            two_node=two_node,
            wait_for_all=wait_for_all,
            tiebreak=NodeId(1) if lms_window_ms else None,
            tiebreak_order=tuple(node.id for node in configured) if lms_window_ms else (),
            lms_window_ms=lms_window_ms,
            witness_votes=witness_votes,
        )
        self.network = Network(world, names, links, beside=(WITNESS_NODE,) if witness_votes else ())
        rates = [*rates_ppm, *[0] * count]
        self.nodes = {
            name: Node(world, name, rate_ppm=rate) for name, rate in zip(names, rates, strict=False)
        }
        self.processes: dict[str, MessagingProcess] = {
            node.name: MessagingProcess(
                self.nodes[node.name],
                self.network,
                Config(
                    node_id=node.id,
                    nodes=configured,
                    links=links,
                    keepalive_ns=self.timing.keepalive_ns,
                    warntime_ns=self.timing.warntime_ns,
                    deadtime_ns=self.timing.deadtime_ns,
                    initdead_ns=self.timing.initdead_ns,
                    deadtime_auto=self.timing.deadtime_auto,
                    quorum=self.quorum,
                    payload_bytes=payload_bytes,
                    key_ids=KEYRING.id_bits,
                ),
            )
            for node in configured
        }
        for process in self.processes.values():
            process.wire = sealed

    def boot_all(self) -> None:
        """Power on."""
        for node in self.nodes.values():
            node.boot()

    def live(self) -> list[MessagingProcess]:
        """Daemons that run, in the order of ids."""
        return [process for process in self.processes.values() if process.alive and process.core is not None]

    def one_view(self) -> bool:
        """Whether everybody who lives is in one view of exactly those, quorate if they are a majority."""
        live = self.live()
        ids = {process.config.node_id for process in live}
        views = {process.core.agreement.installed for process in live if process.core is not None}
        if len(views) != 1:
            return False
        view = views.pop()
        if view is None or {member.id for member in view.members} != ids:
            return False
        quorate = {process.status is not None and process.status.authority.quorate for process in live}
        return len(quorate) == 1
