"""Who is heard, in which directions, how freshly: the failure detector (cluster-protocol.md, 4).

Keeps one `Peer` for each other configured node and our own sequences. Liveness is granted only by packets
that echo a sequence which we sent within the last deadtime; so neither a replay nor a peer that cannot hear
us counts. What follows for the view is `agreement`'s.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from hacluster.vocabulary.ids import NO_VIEW, ViewId
from messaging import log_events
from messaging.membership.deadtime import CEILING_NS, Deadtime
from messaging.membership.events import Config, ConfiguredNode, Leave, Note, node_list
from messaging.membership.layouts import Layouts, moved
from messaging.membership.runs import Run
from messaging.packet import Header, Heartbeat, State
from messaging.transport.links import GapHistory, LinkTracker

HEALTH_MAX: Final = 8
FORMER_LIST_NS: Final = 600_000_000_000  # for so long we speak to a silent node in the list it had
HEALTH_STRETCH_MAX: Final = 3
_STATES: Final = {int(state): state for state in State}


class SentLog:
    """When we sent which sequence on one link, for as long as an echo of it may count."""

    def __init__(self, first_sequence: int, keep_ns: int) -> None:
        self.next_sequence = first_sequence
        self._keep_ns = keep_ns
        self._sent: deque[tuple[int, int]] = deque()
        self._sent_ns: dict[int, int] = {}

    def take(self, now_ns: int, count: int = 1) -> int:
        """The first of `count` sequences for packets that leave now."""
        first = self.next_sequence
        self.next_sequence += count
        for sequence in range(first, first + count):
            low = sequence & 0xFFFFFFFF
            self._sent.append((now_ns, low))
            self._sent_ns[low] = now_ns
        while self._sent[0][0] < now_ns - self._keep_ns:
            _, old = self._sent.popleft()
            self._sent_ns.pop(old, None)
        return first

    def sent_ns(self, echo: int) -> int | None:
        """When the echoed sequence was sent; None if it is not one of ours, or too old."""
        return self._sent_ns.get(echo)


class Peer:
    """Another configured node, as seen from here."""

    def __init__(self, config: Config, node: ConfiguredNode, slot: int) -> None:
        self.id, self.name, self.slot = node.id, node.name, slot
        self.incarnation = 0
        self.run_since_ns = 0
        self.heartbeat: Heartbeat | None = None  # the last live one of this incarnation
        self.boot_token = b""  # its first 8 bytes
        self.last_rx_ns = 0  # 0: never
        self.last_echoed_ns = 0  # any packet: our echo of it is support, too
        self.heard = False
        self.late = False
        self.leave: Leave | None = None
        self.tag = NO_VIEW
        self.tag_since_ns = 0
        self.next_probe_ns = 0
        self.signs_with = 0  # id of the key of its last packet
        self.former_layout = b""  # it says its heartbeats in a list that we had before
        self.newest_layout_ns = 0  # when it said one in the list that we have now
        self.config_differs = False
        self.differs_rx_ns = 0  # the last word with another cluster.toml's hash
        self.rtt_ns = 0  # smoothed, without the mean holding time
        self.gaps = GapHistory()
        self.links = [
            LinkTracker(
                keepalive_ns=config.keepalive_ns,
                warntime_ns=config.warntime_ns,
                deadtime_ns=config.deadtime_ns,
            )
            for _ in range(config.links)
        ]

    @property
    def state(self) -> State | None:
        """What it says of itself; None before its first live heartbeat."""
        return _STATES[self.heartbeat.state] if self.heartbeat is not None else None

    @property
    def established(self) -> bool:
        """Says that it is in a view."""
        return self.heartbeat is not None and self.heartbeat.state == State.MEMBER

    @property
    def left_cleanly(self) -> bool:
        """Nothing is active there, as its LEAVE says.

        Whoever has kept a LEAVE of a former run may play it to a node that has forgotten the run after it. So
        it has to be of the run whose heartbeats we take, which echo what this run of ours has sent.
        """
        return self.leave is not None and self.leave.clean and self.heartbeat is not None

    def begin_run(self, incarnation: int, now_ns: int) -> None:
        """Its ha-messaging is new. Being heard goes on until deadtime: it may be the same boot."""
        self.incarnation, self.run_since_ns = incarnation, now_ns
        self.heartbeat = None
        self.leave = None
        self.tag = NO_VIEW
        for link in self.links:
            link.begin_run()


class Detector:
    """The peers, what we sent, and our own health."""

    def __init__(
        self,
        config: Config,
        first_sequence: int,
        now_ns: int,
        layouts: Layouts,
        told_deadtime_ns: int = 0,
    ) -> None:
        """`told_deadtime_ns`: by a former run of ours, see `Deadtime`."""
        self.config = config
        self.deadtime = Deadtime(config, told_deadtime_ns, now_ns)
        self._noted_deadtime_ns = self.deadtime.ns
        self.layouts = layouts
        self.own_slot = next(slot for slot, node in enumerate(config.nodes) if node.id == config.node_id)
        self.peers: dict[int, Peer] = {
            node.id: Peer(config, node, slot)
            for slot, node in enumerate(config.nodes)
            if node.id != config.node_id
        }
        longest_ns = max(config.deadtime_ns, CEILING_NS if config.deadtime_auto else 0)
        keep_ns = 2 * longest_ns + config.keepalive_ns
        self.sent = [SentLog(first_sequence, keep_ns) for _ in range(config.links)]
        self.strangers: dict[int, int] = {}  # node id: when it was heard last
        self.heard_bits = 0
        self.highest_counter = 0
        self.notes: list[Note] = []
        self.changed = False  # something that views may depend on
        self.urgent = False  # something that the others should know at once
        self.health = 0
        self._quiet_since_ns = now_ns
        self.grace_from_ns = now_ns  # nothing that arrived or was sent before is a sign of life or support

    # Time.

    @property
    def suspicion_ns(self) -> int:
        """Deadtime, stretched while we do badly ourselves: suspicion of others only, never authority."""
        stretch = min(self.health, HEALTH_STRETCH_MAX)
        return self.deadtime.ns * (HEALTH_STRETCH_MAX + stretch) // HEALTH_STRETCH_MAX

    def unwell(self, now_ns: int) -> None:
        """The loop was late, or a suspicion of ours was wrong."""
        self.health = min(HEALTH_MAX, self.health + 1)
        self._quiet_since_ns = now_ns

    def recover(self, now_ns: int) -> None:
        """One step better for each quiet two keepalives."""
        while self.health and now_ns - self._quiet_since_ns >= 2 * self.config.keepalive_ns:
            self.health -= 1
            self._quiet_since_ns += 2 * self.config.keepalive_ns

    def adapt(self, now_ns: int) -> None:
        """Let deadtime follow the largest gap of a day, if it may; say so when it has moved by a fifth."""
        if not self.deadtime.observe(self.largest_gap_ns(now_ns), now_ns):
            return
        self.changed = True
        before_ns, after_ns = self._noted_deadtime_ns, self.deadtime.ns
        if 5 * abs(after_ns - before_ns) > before_ns:
            self._noted_deadtime_ns = after_ns
            fields = (("deadtime_ms", after_ns // 1_000_000), ("before_ms", before_ns // 1_000_000))
            self.notes.append(Note("info", log_events.DEADTIME, fields))

    def pause(self, last_ns: int, now_ns: int) -> None:
        """We were stopped: distrust ourselves first. Whoever was heard before gets a full deadtime."""
        for peer in self.peers.values():
            if peer.heard and last_ns - peer.last_rx_ns <= self.suspicion_ns:
                peer.last_rx_ns = now_ns
                peer.late = False
        self.grace_from_ns = now_ns
        self.changed = True

    def next_deadline_ns(self) -> int | None:
        """When somebody becomes late or dead, or is to be probed again."""
        deadlines = [
            min(
                peer.last_rx_ns + self.suspicion_ns + 1,
                peer.next_probe_ns if peer.late else peer.last_rx_ns + self.deadtime.warntime_ns + 1,
            )
            for peer in self.peers.values()
            if peer.heard
        ]
        return min(deadlines, default=None)

    def expire(self, now_ns: int) -> list[Peer]:
        """Forget the silent; returns the late ones that are to be probed now."""
        probe = []
        for peer in self.peers.values():
            if not peer.heard:
                continue
            silent_ns = now_ns - peer.last_rx_ns
            if silent_ns > self.suspicion_ns:
                peer.heard = peer.late = False
                self.heard_bits &= ~(1 << peer.slot)
                self.changed = self.urgent = True
                self._note("warning", log_events.NODE_SILENT, peer, silent_ms=silent_ns // 1_000_000)
            elif silent_ns > self.deadtime.warntime_ns:
                if not peer.late:
                    peer.late = self.changed = True
                    self._note("warning", log_events.NODE_LATE, peer, silent_ms=silent_ns // 1_000_000)
                if now_ns >= peer.next_probe_ns:
                    peer.next_probe_ns = now_ns + max(self.config.keepalive_ns // 4, 20_000_000)
                    probe.append(peer)
            elif peer.late:  # warntime has grown meanwhile
                peer.late = False
                self.changed = True
        return probe

    # Packets.

    def packet(self, header: Header, arrived_ns: int) -> Peer:
        """Account for any genuine packet; returns its sender."""
        peer = self.peers[header.sender]
        if header.incarnation > peer.incarnation:
            if peer.incarnation:
                self._note("info", log_events.NODE_RESTARTED, peer, incarnation=header.incarnation)
            peer.begin_run(header.incarnation, arrived_ns)
            self.changed = True
        peer.signs_with = header.key_id
        peer.last_echoed_ns = max(peer.last_echoed_ns, arrived_ns)
        if header.link < len(peer.links):
            link = peer.links[header.link]
            if not link.echo:
                self.urgent = True  # our echo is what lets it believe us
            link.heard(header.sequence, arrived_ns)
        return peer

    def heartbeat(
        self, peer: Peer, header: Header, heartbeat: Heartbeat, arrived_ns: int, now_ns: int
    ) -> int | None:
        """Take a heartbeat. Returns when we sent what it echoes, or None when it is no sign of life."""
        self.highest_counter = max(self.highest_counter, heartbeat.promised, heartbeat.view_counter)
        self._boot(peer, heartbeat.boot_token)
        heartbeat, echo = self._in_our_slots(peer, heartbeat, now_ns)
        if echo is None:
            if peer.heartbeat is not None and arrived_ns - peer.last_rx_ns < self.deadtime.warntime_ns:
                return None  # it says it in our list, too: the nodes are just being changed
            if not peer.config_differs:
                peer.config_differs = self.changed = True
                theirs = len(heartbeat.echo)
                differs = f"it has {theirs} nodes, ours {len(self.config.nodes)}"
                if theirs == len(self.config.nodes):
                    differs = "a node has another name or id there"
                self._note("error", log_events.CONFIG_DIFFERS, peer, reason=f"its cluster.toml: {differs}")
            peer.differs_rx_ns = max(peer.differs_rx_ns, arrived_ns)
            return None
        peer.config_differs = False
        if header.link >= len(self.sent):
            return None
        sent_ns = self.sent[header.link].sent_ns(echo)
        # One that the network has kept may say what was true before its sender heard somebody, or left.
        is_news = peer.links[header.link].is_news(header.sequence)
        if sent_ns is None or sent_ns < now_ns - self.deadtime.ns:
            if is_news:
                self._deaf(peer, heartbeat)
            return None
        if is_news or peer.heartbeat is None:
            self._compare(peer, heartbeat, now_ns)
            peer.heartbeat = heartbeat
        self._alive(peer, arrived_ns, now_ns)
        self._round_trip(peer, header.link, now_ns - sent_ns)
        return sent_ns

    def _in_our_slots(self, peer: Peer, heartbeat: Heartbeat, now_ns: int) -> tuple[Heartbeat, int | None]:
        """With `hear` in our slots, and what it echoes of us; None when its list is none that we ever had."""
        layouts = self.layouts
        ids = layouts.ids(heartbeat.config_hash)
        if ids is None or len(heartbeat.echo) != len(ids) or self.config.node_id not in ids:
            return heartbeat, None
        if heartbeat.config_hash == layouts.current:
            peer.former_layout, peer.newest_layout_ns = b"", now_ns
            return heartbeat, heartbeat.echo[self.own_slot]
        if now_ns - peer.newest_layout_ns > 4 * self.config.keepalive_ns:
            peer.former_layout = heartbeat.config_hash
        echo = heartbeat.echo[ids.index(self.config.node_id)]
        ours = [node.id for node in self.config.nodes]
        return heartbeat._replace(hear=moved(heartbeat.hear, ids, ours)), echo

    def layouts_in_use(self, now_ns: int) -> list[bytes]:
        """In which lists our heartbeats have to be said: the newest, and those that peers still use."""
        since_ns = now_ns - FORMER_LIST_NS
        former = {p.former_layout for p in self.peers.values() if p.last_rx_ns > since_ns} - {b""}
        return [self.layouts.current, *sorted(former)]

    def reconfigure(self, config: Config) -> None:
        """Other nodes: who stays keeps all that we know of it."""
        before = [node.id for node in self.config.nodes]
        after = [node.id for node in config.nodes]
        self.config = config
        self.layouts.use(node_list(config.nodes))
        self.own_slot = after.index(config.node_id)
        kept, self.peers = self.peers, {}
        for slot, node in enumerate(config.nodes):
            if node.id == config.node_id:
                continue
            peer = self.peers[node.id] = kept.get(node.id) or Peer(config, node, slot)
            peer.slot = slot
            peer.newest_layout_ns = 0
            if peer.heartbeat is not None:
                hear = moved(peer.heartbeat.hear, before, after)
                peer.heartbeat = peer.heartbeat._replace(hear=hear)
                peer.former_layout = peer.former_layout or self.layouts.before
            self.strangers.pop(node.id, None)
        self.heard_bits = sum(1 << peer.slot for peer in self.peers.values() if peer.heard)
        self.changed = self.urgent = True

    def stranger(self, node_id: int, now_ns: int) -> None:
        """Somebody of our cluster, with our key, whom our cluster.toml does not name."""
        if now_ns - self.strangers.get(node_id, 0) > self.suspicion_ns:
            self.changed = True
            fields = (("node_id", node_id), ("reason", "our cluster.toml does not name it; it has our key"))
            self.notes.append(Note("error", log_events.STRANGER, fields))
        self.strangers[node_id] = now_ns

    def estranged_until_ns(self, peer: Peer) -> int:
        """Until when a peer with another cluster.toml counts as alive, by what we know; 0: it does not."""
        differs = peer.config_differs and peer.leave is None
        return peer.differs_rx_ns + self.suspicion_ns if differs else 0

    def _deaf(self, peer: Peer, heartbeat: Heartbeat) -> None:
        """No sign of life; but that it does not hear us may be believed at once."""
        bit = 1 << self.own_slot
        if peer.heartbeat is not None and peer.heartbeat.hear & bit and not heartbeat.hear & bit:
            peer.heartbeat = peer.heartbeat._replace(hear=peer.heartbeat.hear & ~bit)
            self.changed = True

    def _boot(self, peer: Peer, boot_token: bytes) -> None:
        """A new boot: being heard until now was another life."""
        if peer.boot_token != boot_token:
            if peer.boot_token and peer.heard:
                peer.heard = peer.late = False
                peer.heartbeat = None
                self.heard_bits &= ~(1 << peer.slot)
                self.urgent = True
            peer.boot_token = boot_token
            self.changed = True

    def _compare(self, peer: Peer, heartbeat: Heartbeat, now_ns: int) -> None:
        """Note what is new in it."""
        before = peer.heartbeat
        tag = ViewId(heartbeat.view_counter, heartbeat.view_coordinator)
        if tag != peer.tag:
            peer.tag, peer.tag_since_ns = tag, now_ns
            self.changed = True
        if (
            before is None
            or before.hear != heartbeat.hear
            or before.state != heartbeat.state
            or before.crm_instance != heartbeat.crm_instance
            or before.lrm_instance != heartbeat.lrm_instance
        ):
            self.changed = True

    def _alive(self, peer: Peer, arrived_ns: int, now_ns: int) -> None:
        if peer.heard:
            gap_ns = max(0, arrived_ns - peer.last_rx_ns)
            peer.gaps.add(gap_ns, now_ns)
            if 2 * gap_ns > self.deadtime.ns:
                self.adapt(now_ns)
        # What waited in the sockets while we were stopped is read, but it is no sign of life (4.7).
        peer.last_rx_ns = max(peer.last_rx_ns, arrived_ns)
        if now_ns - peer.last_rx_ns > self.suspicion_ns:
            return
        if not peer.heard and arrived_ns < self.grace_from_ns:
            return
        if peer.late and now_ns - peer.last_rx_ns <= self.deadtime.warntime_ns:
            peer.late = False
            self.changed = True
            self.unwell(now_ns)
            self._note("info", log_events.NODE_BACK, peer)
        if not peer.heard:
            peer.heard = True
            self.heard_bits |= 1 << peer.slot
            self.changed = self.urgent = True
            self._note("info", log_events.NODE_SEEN, peer, incarnation=peer.incarnation)

    def _round_trip(self, peer: Peer, link: int, sample_ns: int) -> None:
        """The sample holds the time for which the peer kept our sequence: half a keepalive on average."""
        peer.links[link].round_trip(sample_ns)
        without = max(peer.links[link].rtt_min_ns, sample_ns - self.config.keepalive_ns // 2)
        peer.rtt_ns = without if not peer.rtt_ns else (7 * peer.rtt_ns + without) // 8

    def _note(self, level: str, name: str, peer: Peer, **fields: object) -> None:
        self.notes.append(Note(level, name, (("peer", peer.name), *fields.items())))

    # The matrix.

    def hear_matrix(self) -> list[int]:
        """For each slot, whom that node hears, as it said in its last live heartbeat."""
        rows = [0] * len(self.config.nodes)
        rows[self.own_slot] = self.heard_bits
        for peer in self.peers.values():
            if peer.heartbeat is not None:
                rows[peer.slot] = peer.heartbeat.hear
        return rows

    def bidirectional(self, peer: Peer) -> bool:
        """We hear it, and it says that it hears us."""
        return peer.heard and peer.heartbeat is not None and bool(peer.heartbeat.hear >> self.own_slot & 1)

    def left(self) -> list[Run]:
        """Runs whose clean LEAVE we have heard."""
        return [Run(p.id, p.incarnation, left=True) for p in self.peers.values() if p.left_cleanly]

    def propose_timeout_ns(self) -> int:
        """How long a member may take to answer: four round trips of the slowest, at least 150 ms."""
        slowest_ns = max((peer.rtt_ns for peer in self.peers.values() if peer.heard), default=0)
        return max(150_000_000, 4 * slowest_ns)

    def largest_gap_ns(self, now_ns: int) -> int:
        """Over all peers, within a day."""
        return max((peer.gaps.largest_ns(now_ns) for peer in self.peers.values()), default=0)
