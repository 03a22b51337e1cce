"""Small reliable messages between members: DATA, NACK, acknowledgements, flow (cluster-protocol.md, 5).

One sequence a run of the sender. Receivers deliver each sender's messages in order, at most once, and only in
the view that they belong to; a gap is asked for, to the sender alone. While both ends stay in one installed
view everything arrives; across views nothing is promised. A message for one node is `void` to the others, so
that every receiver sees the same count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hacluster.vocabulary.ids import NO_VIEW, NodeId
from messaging.fragments import INCOMPLETE_MAX, TOPIC_CHARACTERS_MAX, data_bytes_max, pieces_needed
from messaging.membership.detector import Detector, Peer
from messaging.membership.events import (
    Config,
    Data,
    DataAnswered,
    DataRequested,
    Deliver,
    Effect,
    InstalledView,
    Lost,
    Message,
    Nack,
)
from messaging.membership.rng import Rng
from messaging.packet import TO_ALL

MS: Final = 1_000_000
DATA_BYTES_MAX: Final = 60 * 1_024
HISTORY_MESSAGES: Final = 512
HISTORY_BYTES: Final = 1 << 20
OVERHEAD_BYTES: Final = 64
NACK_RANGE_MAX: Final = 64
NACK_FIRST_NS: Final = 20 * MS
NACK_BACKOFF_NS_MAX: Final = 320 * MS
REPEAT_APART_NS: Final = 10 * MS


@dataclass(slots=True)
class _Kept:
    """A message of ours that may have to be repeated. `destination` is a node, or all."""

    data: Data
    destination: int
    repeated_ns: dict[int, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.data.payload) + OVERHEAD_BYTES


@dataclass(slots=True)
class _Inbox:
    """What has come of one run of one sender. `expected` is the number to be delivered next."""

    incarnation: int
    expected: int
    newest: int = 0
    waiting: dict[int, Data] = field(default_factory=dict)
    bytes_waiting: int = 0
    nack_at_ns: int | None = None
    asked_from: int = 0  # `expected` when we asked last
    backoff_ns: int = NACK_FIRST_NS
    held_since_ns: int | None = None
    acked: int = 0  # told the sender
    ack_at_ns: int | None = None


class Talk:
    """Both ends. `send(node, message)` is given by the core; effects for the layers above go to `out`."""

    def __init__(
        self,
        config: Config,
        incarnation: int,
        rng: Rng,
        detector: Detector,
        send: Callable[[int, Message], None],
    ) -> None:
        self._config, self._incarnation, self._rng = config, incarnation, rng
        self._detector, self._send = detector, send
        self.out: list[Effect] = []
        self.counters = dict.fromkeys(
            ("data_sent", "data_delivered", "data_repeated", "data_stale", "data_lost", "nacks_sent"), 0
        )
        self._view: InstalledView | None = None
        self._next = self._base = 1
        self._kept: deque[_Kept] = deque()
        self._kept_bytes = 0
        self._acked: dict[int, int] = {}
        self._inboxes: dict[int, _Inbox] = {}
        self._announce_at_ns: int | None = None

    # Sending.

    def request(self, request: DataRequested, now_ns: int) -> None:
        """A message of a local client: it goes out at once, or is refused for a reason."""
        refusal, exhausted = self._refusal(request)
        if refusal:
            self.out.append(DataAnswered(token=request.token, refusal=refusal, exhausted=exhausted))
            return
        number, self._next = self._next, self._next + 1
        view = self._view.id if self._view is not None else NO_VIEW
        data = Data(
            number=number,
            view=view,
            any_view=request.any_view,
            topic=request.topic,
            payload=request.payload,
            newest=number,
        )
        destination = request.destination or TO_ALL
        kept = _Kept(data, destination)
        self._kept.append(kept)
        self._kept_bytes += kept.size
        self._trim()
        self.counters["data_sent"] += 1
        self.out.append(DataAnswered(token=request.token, number=number, view=view))
        self._send(destination, self._stamped(data, destination))
        if destination != TO_ALL:
            self._send(TO_ALL, self._stamped(_voided(kept), TO_ALL))
        if self._announce_at_ns is None:
            self._announce_at_ns = now_ns + self._config.keepalive_ns

    def _refusal(self, request: DataRequested) -> tuple[str, bool]:
        """Why not, and whether it may be tried again soon; empty when it may go."""
        if not 1 <= len(request.topic) <= TOPIC_CHARACTERS_MAX:
            return f"a topic has 1 to {TOPIC_CHARACTERS_MAX} characters", False
        longest = min(DATA_BYTES_MAX, data_bytes_max(self._config.payload_bytes))
        if len(request.payload) > longest:
            return f"{len(request.payload)} bytes are more than {longest}", False
        if self._view is None and not request.any_view:
            return "this node is in no view", False
        if request.destination:
            peer = self._detector.peers.get(request.destination)
            if peer is None:
                return f"node {request.destination} is no other node of this cluster", False
            if not request.any_view and (self._view is None or self._view.member(peer.id) is None):
                return f"node {request.destination} is not in the view", False
        count, size = self._unacknowledged()
        if 2 * count >= HISTORY_MESSAGES or 2 * size >= HISTORY_BYTES:
            return f"{count} messages are not acknowledged yet", True
        return "", False

    def _members(self) -> list[Peer]:
        """The other members of the view."""
        view = self._view
        if view is None:
            return []
        peers = self._detector.peers
        return [peers[member.id] for member in view.members if member.id in peers]

    def _lowest_ack(self) -> int:
        """What every member has; with no other member, everything."""
        return min((self._acked.get(peer.id, 0) for peer in self._members()), default=self._next - 1)

    def _unacknowledged(self) -> tuple[int, int]:
        """How many of our messages some member does not have, and their bytes."""
        lowest = self._lowest_ack()
        sizes = [kept.size for kept in self._kept if kept.data.number > lowest]
        return len(sizes), sum(sizes)

    def _trim(self) -> None:
        while len(self._kept) > HISTORY_MESSAGES or self._kept_bytes > HISTORY_BYTES:
            self._kept_bytes -= self._kept.popleft().size

    def _stamped(self, data: Data, destination: int, *, want_ack: bool = False) -> Data:
        """With what is true now: how far we are, and what has arrived here of the addressee."""
        ack_incarnation = ack = 0
        inbox = self._inboxes.get(destination)
        if inbox is not None:
            ack_incarnation, ack = inbox.incarnation, inbox.expected - 1
            inbox.acked, inbox.ack_at_ns = ack, None
        return data._replace(
            newest=self._next - 1,
            oldest=self._kept[0].data.number if self._kept else self._next,
            base=self._base,
            want_ack=want_ack,
            ack_incarnation=ack_incarnation,
            ack=ack,
        )

    def ack_for(self, node: int) -> tuple[int, int]:
        """What PROBE_ACK tells `node`: its run, and the number up to which we have its messages."""
        inbox = self._inboxes.get(node)
        return (inbox.incarnation, inbox.expected - 1) if inbox is not None else (0, 0)

    def acknowledged(self, sender: int, incarnation: int, number: int) -> None:
        """`sender` has everything of ours up to `number`, if it means this run."""
        if incarnation == self._incarnation and number < self._next:
            self._acked[sender] = max(number, self._acked.get(sender, 0))

    def nack(self, sender: int, nack: Nack, now_ns: int) -> None:
        """Repeat what is asked for: a range at a time, no number twice within 10 ms.

        Of messages that have to be cut only as many as the receiver puts together at a time.
        """
        if nack.incarnation != self._incarnation or not nack.first <= nack.last < self._next:
            return
        oldest = self._kept[0].data.number if self._kept else self._next
        if nack.first < oldest:
            self._send(sender, self._stamped(Data(), sender))
        last = min(nack.last, nack.first + NACK_RANGE_MAX - 1)
        cut = 0
        for number in range(max(nack.first, oldest), last + 1):
            kept = self._kept[number - oldest]
            cut += kept.destination in (TO_ALL, sender) and (
                pieces_needed(kept.data, self._config.payload_bytes) > 1
            )
            if cut > INCOMPLETE_MAX:
                return
            if now_ns - kept.repeated_ns.get(sender, -NACK_BACKOFF_NS_MAX) < REPEAT_APART_NS:
                continue
            kept.repeated_ns[sender] = now_ns
            self.counters["data_repeated"] += 1
            data = kept.data if kept.destination in (TO_ALL, sender) else _voided(kept)
            self._send(sender, self._stamped(data, sender))

    # Receiving.

    def data(self, peer: Peer, data: Data, now_ns: int) -> None:
        """A message, an announcement, an acknowledgement; all three at once mostly."""
        self.acknowledged(peer.id, data.ack_incarnation, data.ack)
        if not data.newest:
            return
        inbox = self._inboxes.get(peer.id)
        if inbox is None or inbox.incarnation != peer.incarnation:
            inbox = self._inboxes[peer.id] = _Inbox(peer.incarnation, max(1, data.base))
        inbox.newest = max(inbox.newest, data.newest)
        if data.oldest > inbox.expected:
            self._lost(peer, inbox, data.oldest)
        if (
            data.number >= inbox.expected
            and data.number not in inbox.waiting
            and data.void_of != self._config.node_id
        ):
            self._keep(inbox, data)
        self._deliver(peer, inbox, now_ns)
        self._look_for_gap(inbox, now_ns)
        if data.want_ack and inbox.expected > inbox.newest:
            self._send(peer.id, self._stamped(Data(), peer.id))

    def _keep(self, inbox: _Inbox, data: Data) -> None:
        """Within bounds; what does not fit is asked for later."""
        ahead = data.number - inbox.expected
        if ahead >= HISTORY_MESSAGES or (ahead and inbox.bytes_waiting > HISTORY_BYTES):
            return
        inbox.waiting[data.number] = data
        inbox.bytes_waiting += len(data.payload) + OVERHEAD_BYTES

    def _lost(self, peer: Peer, inbox: _Inbox, oldest: int) -> None:
        """What the sender cannot repeat any more is gone: the layer above has to know."""
        first = inbox.expected
        for number in [number for number in inbox.waiting if number < oldest]:
            self._drop(inbox, number)
        inbox.expected = oldest
        inbox.held_since_ns = None
        self.counters["data_lost"] += oldest - first
        self.out.append(Lost(NodeId(peer.id), inbox.incarnation, first, oldest - 1))

    def _drop(self, inbox: _Inbox, number: int) -> Data:
        data = inbox.waiting.pop(number)
        inbox.bytes_waiting -= len(data.payload) + OVERHEAD_BYTES
        return data

    def _deliver(self, peer: Peer, inbox: _Inbox, now_ns: int) -> None:
        """Everything that is next in order and belongs to our view, or to none."""
        installed = self._view.id if self._view is not None else NO_VIEW
        while (data := inbox.waiting.get(inbox.expected)) is not None:
            if not (data.void_of or data.any_view) and data.view > installed:
                # The sender is in a view that we have not got yet: its INSTALL may be on the way.
                if inbox.held_since_ns is None:
                    inbox.held_since_ns = now_ns
                if now_ns < inbox.held_since_ns + self._detector.deadtime.ns:
                    return
            self._drop(inbox, inbox.expected)
            inbox.held_since_ns = None
            inbox.expected += 1
            if inbox.ack_at_ns is None:
                inbox.ack_at_ns = now_ns + self._config.keepalive_ns
            if data.void_of:
                continue
            if not data.any_view and data.view != installed:
                self.counters["data_stale"] += 1
                continue
            self.counters["data_delivered"] += 1
            self.out.append(Deliver(NodeId(peer.id), inbox.incarnation, data))

    def _look_for_gap(self, inbox: _Inbox, now_ns: int) -> None:
        """Something is missing: ask for it after a random wait, again with back-off."""
        if inbox.expected > inbox.newest or inbox.expected in inbox.waiting:
            inbox.nack_at_ns, inbox.backoff_ns = None, NACK_FIRST_NS
        elif inbox.nack_at_ns is None or inbox.expected > inbox.asked_from > 0:
            inbox.asked_from, inbox.backoff_ns = 0, NACK_FIRST_NS
            inbox.nack_at_ns = now_ns + int(self._rng.random() * NACK_FIRST_NS)

    def _ask(self, peer: Peer, inbox: _Inbox, now_ns: int) -> None:
        last = min(inbox.newest, inbox.expected + NACK_RANGE_MAX - 1)
        for number in range(inbox.expected, last + 1):
            if number in inbox.waiting:
                last = number - 1
                break
        self.counters["nacks_sent"] += 1
        inbox.asked_from = inbox.expected
        self._send(peer.id, Nack(first=inbox.expected, last=last, incarnation=inbox.incarnation))
        inbox.nack_at_ns = now_ns + inbox.backoff_ns
        inbox.backoff_ns = min(2 * inbox.backoff_ns, NACK_BACKOFF_NS_MAX)

    # Time and views.

    def view_is(self, view: InstalledView | None, now_ns: int) -> None:
        """The view that this node is in; what waited for it is delivered."""
        before = self._view.id if self._view is not None else NO_VIEW
        after = view.id if view is not None else NO_VIEW
        if before == after:
            return
        self._view, self._base = view, self._next
        runs = {member.id: member.incarnation for member in view.members} if view is not None else {}
        # Who comes new into the view owes us nothing of what was before it.
        self._acked = {
            node: max(self._acked.get(node, 0), self._base - 1)
            for node in runs
            if node != self._config.node_id
        }
        for node, inbox in self._inboxes.items():
            peer = self._detector.peers.get(node)
            if peer is not None and peer.incarnation == inbox.incarnation:
                self._deliver(peer, inbox, now_ns)
                self._look_for_gap(inbox, now_ns)

    def forget(self, nodes: set[int]) -> None:
        """These nodes are no more of this cluster."""
        for node in nodes:
            self._inboxes.pop(node, None)
            self._acked.pop(node, None)

    def wake_ns(self) -> int | None:
        """When `tick` has something to do."""
        times = [] if self._announce_at_ns is None else [self._announce_at_ns]
        for inbox in self._inboxes.values():
            times += [at for at in (inbox.nack_at_ns, inbox.ack_at_ns) if at is not None]
            if inbox.held_since_ns is not None:
                times.append(inbox.held_since_ns + self._detector.deadtime.ns)
        return min(times, default=None)

    def tick(self, now_ns: int) -> None:
        """Ask for gaps, acknowledge, announce: each when it is due."""
        for node, inbox in self._inboxes.items():
            peer = self._detector.peers.get(node)
            if peer is None or not peer.heard or peer.incarnation != inbox.incarnation:
                # Its next packet, or its next run, starts this anew.
                inbox.nack_at_ns = inbox.ack_at_ns = inbox.held_since_ns = None
                continue
            if inbox.held_since_ns is not None:
                self._deliver(peer, inbox, now_ns)
                self._look_for_gap(inbox, now_ns)
            if inbox.nack_at_ns is not None and now_ns >= inbox.nack_at_ns:
                self._ask(peer, inbox, now_ns)
            if inbox.ack_at_ns is not None and now_ns >= inbox.ack_at_ns:
                self._send(node, self._stamped(Data(), node))
        if self._announce_at_ns is not None and now_ns >= self._announce_at_ns:
            self._announce(now_ns)

    def _announce(self, now_ns: int) -> None:
        """Every keepalive, to each member that has not acknowledged everything."""
        behind = [p for p in self._members() if self._acked.get(p.id, 0) < self._next - 1]
        for peer in behind:
            self._send(peer.id, self._stamped(Data(), peer.id, want_ack=True))
        self._announce_at_ns = now_ns + self._config.keepalive_ns if behind else None

    def unacknowledged(self) -> int:
        """How many of our messages some member does not have (for Status)."""
        return self._unacknowledged()[0]


def _voided(kept: _Kept) -> Data:
    """What stands for it at nodes that it is not for."""
    return kept.data._replace(topic="", payload=b"", void_of=kept.destination)
