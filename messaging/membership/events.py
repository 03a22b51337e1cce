"""What the membership core is told and what it orders: messages, events, effects, what it must remember."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from hacluster.vocabulary.ids import NO_VIEW, BootToken, NodeId, NodeName, ViewId
from hacluster.vocabulary.membership import Authority, NodeState, QuorumConfig
from messaging.membership.runs import Run
from messaging.membership.waiting import MarkAllSeen, MarkMet, WaitingEnded
from messaging.packet import Header, Heartbeat, Kind

NO_BOOT = BootToken("")  # not known


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredNode:
    """A node of cluster.toml."""

    id: NodeId
    name: NodeName
    votes: int = 1
    diskless: bool = False


def node_list(nodes: Iterable[ConfiguredNode]) -> tuple[tuple[int, str], ...]:
    """What the config hash is made of."""
    return tuple((int(node.id), str(node.name)) for node in nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What does not change while the daemon runs. `nodes` are in order of id; times in nanoseconds."""

    node_id: NodeId
    nodes: tuple[ConfiguredNode, ...]
    links: int
    keepalive_ns: int
    warntime_ns: int
    deadtime_ns: int
    initdead_ns: int
    quorum: QuorumConfig
    key_ids: int = 0
    deadtime_auto: bool = False  # `deadtime_ns` is only where it begins
    payload_bytes: int = 1_400  # of a datagram, on the link that carries least


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedQuorum:
    """A quorum configuration and its place in the CIB's log; index 0 is cluster.toml's."""

    config: QuorumConfig
    log_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewMember:
    """One run of one node."""

    id: NodeId
    incarnation: int
    boot_token: BootToken = NO_BOOT


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledView:
    """A view as agreed; members in order of id."""

    id: ViewId = NO_VIEW
    members: tuple[ViewMember, ...] = ()

    def member(self, node_id: int) -> ViewMember | None:
        """The member with this id, or None."""
        return next((member for member in self.members if member.id == node_id), None)


class Bar(NamedTuple):
    """The last word on a node that was confirmed to be off; of two words the greater counts.

    `boot`: the first 8 bytes of the token of the boot that no view takes; empty: it may come in again.
    """

    number: int
    boot: bytes


class Bars(NamedTuple):
    """The sender's last words on nodes, in order of their ids."""

    words: tuple[tuple[int, Bar], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Durable:
    """What must survive a crash (file messaging/view). `trusted` is false when the file was damaged."""

    promised: int = 0
    view: InstalledView = InstalledView()  # of the last run: history, not membership
    boot_token: BootToken = NO_BOOT
    quorum: CommittedQuorum | None = None
    trusted: bool = True
    told_deadtime_ns: int = 0  # the highest that heartbeats may have carried; 0: the configured one
    bars: Bars = Bars()  # noqa: RUF009 - a tuple
    runs: tuple[Run, ...] = ()  # the latest of each node in a view that was promised
    forgetful: bool = False  # the disk was lost, and no view has told since what it knew


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One run of the daemon."""

    incarnation: int
    boot_token: BootToken
    durable: Durable
    all_seen: bool = False  # since this boot, all voters were in one view together
    met: frozenset[int] = frozenset()  # since this boot, these were in a view with us
    first_sequence: int = 1
    former_nodes: tuple[tuple[tuple[int, str], ...], ...] = ()  # others may still use them


# Messages: bodies of packets other than HEARTBEAT.


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Answer at once; with `want_install`, repeat INSTALL of that view."""

    want_install: ViewId = NO_VIEW


class ProbeAck(NamedTuple):
    """A heartbeat in answer to PROBE. `highest_incarnation` is 0, or what the addressee must exceed.

    `ack`: all DATA of the addressee's run `ack_incarnation` up to this number has arrived.
    """

    heartbeat: Heartbeat
    highest_incarnation: int = 0
    ack_incarnation: int = 0
    ack: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """The sender goes away on purpose; `clean`: its LRM has nothing active."""

    clean: bool
    active_unmanaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """Shall these, and only these, be the view `id`?"""

    id: ViewId
    members: tuple[ViewMember, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """The sender's disk has promised `id`. `lease_rest_ns`: how long those left out may yet count on it."""

    id: ViewId
    incarnation: int
    boot_token: BootToken
    installed: ViewId
    lease_rest_ns: int
    quorum: CommittedQuorum
    runs: tuple[Run, ...] = ()  # the latest of each node that it knows of
    forgetful: bool = False  # its disk was lost: there may have been later ones
    fresh: bool = False  # it has never promised a view, as far as its disk knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """No: `promised` is higher, somebody is not in `hears`, or another should propose."""

    id: ViewId
    promised: int
    hears: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """All have accepted. Authority in the view begins `hold_ns` after receipt."""

    id: ViewId
    members: tuple[ViewMember, ...]
    hold_ns: int
    quorum: CommittedQuorum
    runs: tuple[Run, ...] = ()  # the latest of each node that any member knows of
    forgetful: tuple[int, ...] = ()  # members whose disk was lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The sender has the view."""

    id: ViewId


class Data(NamedTuple):
    """A small reliable message, an announcement (number 0), an acknowledgement; see `talk` and wire.proto."""

    number: int = 0
    view: ViewId = NO_VIEW
    any_view: bool = False
    topic: str = ""
    payload: bytes = b""
    void_of: int = 0
    newest: int = 0
    oldest: int = 0
    base: int = 0
    want_ack: bool = False
    ack_incarnation: int = 0
    ack: int = 0


class Nack(NamedTuple):
    """Repeat what you sent as `first` to `last` in your run `incarnation`."""

    first: int
    last: int
    incarnation: int


Message: TypeAlias = (
    Heartbeat
    | Probe
    | ProbeAck
    | Leave
    | Propose
    | Accept
    | Refuse
    | Install
    | Installed
    | Data
    | Nack
    | Bars
)

KIND_OF: dict[type, Kind] = {
    Heartbeat: Kind.HEARTBEAT,
    Probe: Kind.PROBE,
    ProbeAck: Kind.PROBE_ACK,
    Leave: Kind.LEAVE,
    Propose: Kind.PROPOSE,
    Accept: Kind.ACCEPT,
    Refuse: Kind.REFUSE,
    Install: Kind.INSTALL,
    Installed: Kind.INSTALLED,
    Data: Kind.DATA,
    Nack: Kind.NACK,
    Bars: Kind.BARS,
}

# Events.


class Received(NamedTuple):
    """A genuine, new packet, decoded, and when the kernel had it."""

    header: Header
    message: Message
    arrived_ns: int


@dataclass(frozen=True, slots=True)
class Duplicated:
    """A genuine packet that we have had before came again."""

    sender: int
    link: int


@dataclass(frozen=True, slots=True)
class OutdatedSender:
    """A genuine heartbeat of a lower incarnation than the highest seen."""

    sender: int
    highest_incarnation: int


@dataclass(frozen=True, slots=True)
class StrangerHeard:
    """A genuine packet of our cluster and key from a node that our cluster.toml does not name."""

    sender: int


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer of ours has fired; `planned_ns` is when it should have."""

    key: str
    planned_ns: int


@dataclass(frozen=True, slots=True)
class Persisted:
    """The disk has it."""

    token: int


@dataclass(frozen=True, slots=True)
class ConnectivityChanged:
    """So many of our links' devices and ping targets are well."""

    score: int


@dataclass(frozen=True, slots=True)
class PersistFailed:
    """The disk has failed; nothing that rests on it may be said."""

    token: int
    errno: int


@dataclass(frozen=True, slots=True)
class Suspended:
    """The machine slept: BOOTTIME ran ahead of MONOTONIC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonsChanged:
    """Which instances of ha-crm and ha-lrm are connected here; 0 is none."""

    crm_instance: int
    lrm_instance: int


@dataclass(frozen=True, slots=True)
class QuorumConfigured:
    """ha-crm has committed a configuration."""

    quorum: CommittedQuorum


@dataclass(frozen=True, slots=True)
class BarRequested:
    """ha-crm: this boot (the first 8 bytes of its token) of a node was confirmed to be over, and is not.

    Empty: the node may be let in again.
    """

    token: int
    node: int
    boot: bytes


@dataclass(frozen=True, slots=True)
class LeaveRequested:
    """A clean stop of the node. `by`: the ha-crm that says so; 0: one that does not say which it is."""

    leave: Leave
    by: int = 0


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """The ids of the keys we can verify, as bits."""

    key_ids: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequested:
    """A local client has a message for node `destination`, or for all members (0)."""

    token: int
    topic: str
    payload: bytes
    destination: int = 0
    any_view: bool = False


@dataclass(frozen=True, slots=True)
class NodesChanged:
    """cluster.toml has other nodes, in order of id; `MembershipCore.nodes_objection` has nothing to say."""

    nodes: tuple[ConfiguredNode, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessAnswered:
    """The witness's word on an AskWitness of ours, or on what the DC said to it."""

    nonce: int
    view: ViewId
    granted: bool
    lease_ms: int
    in_sync: tuple[int, ...] = ()
    term: tuple[int, int] = (0, 0)
    reason: str = ""
    runs: tuple[Run, ...] = ()  # the latest of each node in a view that it has granted


Event: TypeAlias = (
    Received
    | Duplicated
    | OutdatedSender
    | StrangerHeard
    | Timer
    | Persisted
    | PersistFailed
    | Suspended
    | DaemonsChanged
    | QuorumConfigured
    | BarRequested
    | LeaveRequested
    | KeysChanged
    | ConnectivityChanged
    | DataRequested
    | NodesChanged
    | WitnessAnswered
    | WaitingEnded
)

# Effects.


class Send(NamedTuple):
    """One datagram on one link; to one node, or to all."""

    link: int
    destination: int
    sequence: int
    message: Message
    urgent: bool = False
    message_id: int = 0  # of its fragments; they use the sequences that follow. 0: it is never cut


@dataclass(frozen=True, slots=True)
class Persist:
    """Write and fsync; what follows in the same list waits for it."""

    durable: Durable
    token: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """One timer a key; setting replaces. Never early."""

    key: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Publish:
    """What this node may do, and how it sees the others: to ha-crm and ha-lrm."""

    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """One configured node as seen here."""

    id: NodeId
    name: NodeName
    state: NodeState
    incarnation: int = 0
    boot_token: BootToken = NO_BOOT
    clean_leave: bool = False
    last_run: int = 0  # the latest that was in a view, as far as is known; 0: none
    silent_ms: int = 0
    key_ids: int = 0
    signs_with: int = 0
    connectivity: int | None = None  # as it said last; None: it has not said so


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole of what is published."""

    authority: Authority
    nodes: tuple[PeerStatus, ...]
    suggested: QuorumConfig | None = None  # last_man_standing


@dataclass(frozen=True, slots=True)
class QuorumStored:
    """The configuration with this log index, or a newer one, is on disk."""

    log_index: int


@dataclass(frozen=True, slots=True)
class BarStored:
    """The word of the BarRequested with this token is on disk."""

    token: int


@dataclass(frozen=True, slots=True)
class RaiseIncarnation:
    """Our disk was lost: store an incarnation above `highest` and start anew."""

    highest: int


@dataclass(frozen=True, slots=True)
class EndRun:
    """This run is over, and the next one begins at once: who has left comes back with another incarnation."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskWitness:
    """Would the witness support this view, for so long?"""

    nonce: int
    view: ViewId
    members: tuple[int, ...]
    voters: tuple[int, ...]
    config_index: int
    lease_ms: int
    score: int = 0  # how well connected we are: of two equal halves the better one wins
    runs: tuple[Run, ...] = ()  # the members'


@dataclass(frozen=True, slots=True)
class ReleaseWitness:
    """We leave `view` on purpose, and count on the witness no more."""

    view: ViewId


@dataclass(frozen=True, slots=True, kw_only=True)
class DataAnswered:
    """What became of a DataRequested: on its way as `number`, or refused; `exhausted`: for the moment."""

    token: int
    number: int = 0
    view: ViewId = NO_VIEW
    refusal: str = ""
    exhausted: bool = False


class Deliver(NamedTuple):
    """A message of another node, in its order."""

    sender: NodeId
    incarnation: int
    data: Data


class Lost(NamedTuple):
    """Messages `first` to `last` of another node's run will never come: resynchronise."""

    sender: NodeId
    incarnation: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log: level, event name, fields."""

    level: str
    name: str
    fields: tuple[tuple[str, object], ...] = ()


Effect: TypeAlias = (
    Send
    | Persist
    | SetTimer
    | Publish
    | MarkAllSeen
    | MarkMet
    | QuorumStored
    | BarStored
    | RaiseIncarnation
    | EndRun
    | AskWitness
    | ReleaseWitness
    | DataAnswered
    | Deliver
    | Lost
    | Note
)
