"""The membership core: heartbeats out, packets in, views and authority up (cluster-protocol.md, 4, 6, 7).

It joins three parts that decide one thing each: `Detector` (who is heard), `Agreement` (who is in the view)
and `AuthorityKeeper` (what we may do in it). `handle` gives an event to them and collects effects in this
order: what may happen at once, then each persist followed by what has to wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, assert_never

from hacluster.vocabulary.ids import ViewId
from messaging import log_events
from messaging.fragments import pieces_needed
from messaging.membership.agreement import Agreement
from messaging.membership.authority import AuthorityKeeper
from messaging.membership.detector import Detector, Peer
from messaging.membership.events import (
    Accept,
    BarRequested,
    Bars,
    BarStored,
    Config,
    ConfiguredNode,
    ConnectivityChanged,
    DaemonsChanged,
    Data,
    DataRequested,
    Duplicated,
    Effect,
    EndRun,
    Event,
    Install,
    Installed,
    KeysChanged,
    Leave,
    LeaveRequested,
    Message,
    Nack,
    NodesChanged,
    Note,
    OutdatedSender,
    Persisted,
    PersistFailed,
    Probe,
    ProbeAck,
    Propose,
    Publish,
    QuorumConfigured,
    QuorumStored,
    Received,
    Refuse,
    ReleaseWitness,
    Send,
    SetTimer,
    Start,
    Status,
    StrangerHeard,
    Suspended,
    Timer,
    WitnessAnswered,
    node_list,
)
from messaging.membership.layouts import Layouts, moved
from messaging.membership.rng import Rng
from messaging.membership.talk import Talk
from messaging.membership.waiting import MarkAllSeen, MarkMet, WaitingEnded
from messaging.packet import TO_ALL, Heartbeat, State, load_of

BEAT: Final = "beat"
CHECK: Final = "check"
LEAVE: Final = "leave"
TALK: Final = "talk"
BARS_COPIES: Final = 5  # of a new word; one in so many heartbeats while somebody is barred
LEAVE_COPIES: Final = 3
LEAVE_APART_NS: Final = 10_000_000
CRM_IS_BACK: Final = "this node has left, and another ha-crm has begun since: join again"
NEVER_NS: Final = 1 << 62
JITTER_PERCENT: Final = 5
LOOK_NS: Final = 500  # times n²: 4.5 µs for three nodes, 5 ms for a hundred


class MembershipCore:
    """One run of one node's ha-messaging."""

    def __init__(self, config: Config, start: Start, rng: Rng, now_ns: int) -> None:
        self._config, self._start, self._rng = config, start, rng
        layouts = Layouts(node_list(config.nodes), start.former_nodes)
        told_ns = start.durable.told_deadtime_ns
        self.detector = Detector(config, start.first_sequence, now_ns, layouts, told_ns)
        self.agreement = Agreement(config, start, rng, self.detector, self._send_to, now_ns)
        self.authority = AuthorityKeeper(config, start, self.detector, self.agreement)
        self.talk = Talk(config, start.incarnation, rng, self.detector, self._send_to)
        self._out: list[Effect] = []
        self._crm_instance = self._lrm_instance = 0
        self._last_crm = 0  # which was connected last, or said that the node leaves
        self._key_ids = config.key_ids
        self._leave: Leave | None = None
        self._leave_copies = 0
        self._last_ns = now_ns
        self._beat_at_ns = NEVER_NS
        self._last_beat_ns = now_ns - config.keepalive_ns
        self._check_at_ns = NEVER_NS
        self._talk_at_ns = NEVER_NS
        self._message_id = 0
        # Looking costs as the square of the nodes: while a large cluster gathers, everything changes all
        # the time, and one look answers many changes.
        self._looked_ns = now_ns - NEVER_NS
        self._look_apart_ns = LOOK_NS * len(config.nodes) ** 2
        self._probe_ack_ns: dict[int, int] = {}
        self._quorum_tokens: dict[int, int] = {}
        self._bar_tokens: dict[int, int] = {}
        self._bars = self.agreement.candidates.bars
        self._bars_due = 0
        self._kept_out = False  # REFUSING for no other reason than a bar
        self._beats = 0

    def begin(self, now_ns: int) -> list[Effect]:
        """The first effects: a heartbeat at once."""
        self._mind_own_bar(now_ns)
        self.detector.urgent = self.detector.changed = True
        return self._finish(now_ns)

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event; the effects are to be carried out in order."""
        assert not self._out
        last_ns, self._last_ns = self._last_ns, now_ns
        gap_ns = now_ns - last_ns
        if gap_ns > max(2 * self._config.keepalive_ns, self.detector.deadtime.ns // 2):
            self._pause(last_ns, now_ns)
        match event:
            case Received():
                self._received(event, now_ns)
            case Timer():
                self._timer(event, now_ns)
            case Duplicated(sender, link):
                trackers = self.detector.peers[sender].links
                if link < len(trackers):
                    trackers[link].duplicates += 1
            case OutdatedSender():
                self._outdated(event, now_ns)
            case StrangerHeard(sender):
                self.detector.stranger(sender, now_ns)
            case Persisted(token):
                self.agreement.persisted(token, now_ns)
                if (log_index := self._quorum_tokens.pop(token, None)) is not None:
                    self._out.append(QuorumStored(log_index))
                if (request := self._bar_tokens.pop(token, None)) is not None:
                    self._out.append(BarStored(request))
            case PersistFailed(_, errno):
                self.agreement.disk_failed(errno, now_ns)
                self._kept_out = False
            case Suspended():
                self._pause(last_ns, now_ns)
            case DaemonsChanged():
                if event.crm_instance:
                    if self._leave is not None and event.crm_instance != self._last_crm:
                        self._out.append(EndRun(CRM_IS_BACK))
                    self._last_crm = event.crm_instance
                self._crm_instance, self._lrm_instance = event.crm_instance, event.lrm_instance
                self.authority.own_daemons(event.crm_instance, event.lrm_instance)
                self.detector.urgent = self.detector.changed = True
            case QuorumConfigured(quorum):
                self._configure(quorum.log_index, self.agreement.set_quorum(quorum))
            case WaitingEnded(view):
                self._end_waiting(view)
            case BarRequested():
                self._say_bar(event.node, event.boot, now_ns)
                self.agreement.store()
                self._bar_tokens[self.agreement.last_token] = event.token
            case LeaveRequested(leave, by):
                self._last_crm = by or self._last_crm
                self._begin_leave(leave)
            case DataRequested():
                self.talk.request(event, now_ns)
            case WitnessAnswered():
                self.authority.witness.answered(event, now_ns)
                self.agreement.learn(event.runs)
                self.authority.stale = True
            case NodesChanged(nodes):
                self._reconfigure(nodes)
            case ConnectivityChanged(score):
                self.authority.connectivity = self.authority.witness.score = score
                self.authority.stale = self.detector.urgent = True
            case KeysChanged(key_ids):
                self._key_ids = key_ids
                self.detector.urgent = True
            case _:
                assert_never(event)
        return self._finish(now_ns)

    @property
    def nodes(self) -> tuple[ConfiguredNode, ...]:
        """The configured ones."""
        return self._config.nodes

    @property
    def payload_bytes(self) -> int:
        """What a datagram may hold."""
        return self._config.payload_bytes

    def status(self, now_ns: int) -> Status:
        """All that is published, as of now."""
        return self.authority.status(now_ns)

    def nodes_objection(self, nodes: Sequence[ConfiguredNode]) -> str:
        """Why these cannot be the nodes from now on; empty when they can."""
        names = {node.id: node.name for node in nodes}
        if self._config.node_id not in names:
            return "this node is not among them: stop it, do not remove it from below"
        for node in self._config.nodes:
            if names.get(node.id, node.name) != node.name:
                return f"node id {node.id} was {node.name}'s: ids are never used again"
        view = self.agreement.installed
        for node in self._config.nodes:
            in_view = view is not None and view.member(node.id) is not None
            if node.id not in names and in_view:
                return f"{node.name} is still in the view: stop it first"
        return ""

    # Events.

    def _reconfigure(self, nodes: tuple[ConfiguredNode, ...]) -> None:
        """Heartbeats go on in the former list, too, until everybody has the new one."""
        assert not self.nodes_objection(nodes)
        gone = {node.id for node in self._config.nodes} - {node.id for node in nodes}
        self._config = config = replace(self._config, nodes=nodes)
        self._look_apart_ns = LOOK_NS * len(nodes) ** 2
        self.detector.reconfigure(config)
        self.agreement.config = config
        self.agreement.candidates.reconfigure(config)
        self.authority.reconfigure(config)
        self.talk.forget({int(node) for node in gone})
        self._bars.forget(gone)
        self.agreement.runs.keep_only(node.id for node in nodes)
        names = " ".join(node.name for node in nodes)
        self._out.append(Note("info", log_events.NODES_CHANGED, (("nodes", names),)))

    def _pause(self, last_ns: int, now_ns: int) -> None:
        """We were stopped (4.7): no authority, and nobody is blamed for our own absence."""
        fields = (("gap_ms", (now_ns - last_ns) // 1_000_000),)
        self._out.append(Note("warning", log_events.PAUSED, fields))
        self.detector.pause(last_ns, now_ns)
        self.authority.void()

    def _received(self, event: Received, now_ns: int) -> None:
        header, message, arrived_ns = event
        detector, agreement = self.detector, self.agreement
        peer = detector.packet(header, arrived_ns)
        if isinstance(message, Heartbeat):
            self._heartbeat(peer, event, message, now_ns)
            return
        match message:
            case ProbeAck(heartbeat, highest, ack_incarnation, ack):
                self.talk.acknowledged(peer.id, ack_incarnation, ack)
                if not self._heartbeat(peer, event, heartbeat, now_ns) and highest >= self._start.incarnation:
                    agreement.forget(highest)
            case Probe():
                own = self._own_heartbeat(header.link, peer.former_layout)
                answer = ProbeAck(own, 0, *self.talk.ack_for(peer.id))
                self._send_to(peer.id, answer, link=header.link)
                agreement.probed(peer.id, message)
            case Leave():
                self._left(peer, message, now_ns)
            case Propose():
                agreement.proposed(peer.id, message, now_ns)
            case Accept():
                agreement.accepted(peer.id, message, now_ns)
            case Refuse():
                agreement.refused(peer.id, message, now_ns)
            case Install():
                agreement.install(peer.id, message, now_ns)
            case Installed():
                agreement.has_installed(peer.id, message)
            case Data():
                self.talk.data(peer, message, now_ns)
            case Nack():
                self.talk.nack(peer.id, message, now_ns)
            case Bars():
                news, knows_less = self._bars.take(message, [node.id for node in self._config.nodes])
                self._bars_due = max(self._bars_due, knows_less)
                for node in news:
                    self._bar_is_new(node, now_ns)
            case _:
                assert_never(message)

    def _heartbeat(self, peer: Peer, event: Received, heartbeat: Heartbeat, now_ns: int) -> bool:
        """Whether it is a sign of life: its sender hears this run of ours."""
        sent_ns = self.detector.heartbeat(peer, event.header, heartbeat, event.arrived_ns, now_ns)
        if sent_ns is not None:
            self.authority.support(peer, sent_ns)
            self.agreement.ask_for_install(peer, now_ns)
        return sent_ns is not None

    def _left(self, peer: Peer, leave: Leave, now_ns: int) -> None:
        if peer.leave is None:
            fields = (("peer", peer.name), ("clean", leave.clean))
            self._out.append(Note("info", log_events.NODE_LEFT, fields))
            peer.leave = leave
            if peer.left_cleanly and self.agreement.candidates.excluded(peer.id):
                self._say_bar(peer.id, b"", now_ns)
            self.detector.changed = True

    def _outdated(self, event: OutdatedSender, now_ns: int) -> None:
        """Its disk was lost: tell it what to exceed, once a second at most."""
        if now_ns - self._probe_ack_ns.get(event.sender, -NEVER_NS) < 1_000_000_000:
            return
        self._probe_ack_ns[event.sender] = now_ns
        fields = (("peer", self.detector.peers[event.sender].name), ("highest", event.highest_incarnation))
        self._out.append(Note("warning", log_events.INCARNATION_OLD, fields))
        for link in range(self._config.links):
            answer = ProbeAck(self._own_heartbeat(link), event.highest_incarnation)
            self._send_to(event.sender, answer, link=link)

    def _configure(self, log_index: int, adopted: bool) -> None:
        if not adopted:
            self._out.append(QuorumStored(log_index))
            return
        self._quorum_tokens[self.agreement.last_token] = log_index
        self.detector.changed = True

    def _begin_leave(self, leave: Leave) -> None:
        self._out.append(Note("info", log_events.LEAVING, (("clean", leave.clean),)))
        self._leave = leave
        self._leave_copies = LEAVE_COPIES
        if self.agreement.installed is not None and self.agreement.quorum.config.witness_votes:
            self._out.append(ReleaseWitness(self.agreement.installed.id))
        if leave.clean and self.agreement.candidates.excluded(self._config.node_id):
            self._say_bar(self._config.node_id, b"", self._last_ns)
        self.agreement.withdraw(State.LEAVING, self._last_ns)
        self._leave_copy(self._last_ns)

    def _say_bar(self, node: int, boot: bytes, now_ns: int) -> None:
        """A word of our own on a node; its clean leaving is one, too: nothing is active there."""
        if self._bars.say(node, boot):
            self._bar_is_new(node, now_ns)

    def _bar_is_new(self, node: int, now_ns: int) -> None:
        """The disk and the others have to know; if it is us we are in no view from now on."""
        name = next(one.name for one in self._config.nodes if one.id == node)
        barred = self.agreement.candidates.excluded(node)
        level, what = ("error", log_events.NODE_BARRED) if barred else ("info", log_events.NODE_LET_IN)
        self._out.append(Note(level, what, (("peer", name),)))
        self.agreement.store()
        self._send_to(TO_ALL, self._bars.words)
        self._bars_due = BARS_COPIES - 1
        self.detector.changed = self.detector.urgent = True
        self._mind_own_bar(now_ns)

    def _mind_own_bar(self, now_ns: int) -> None:
        """Who is said to be off must act on nothing, whatever the others have heard of it (6.5)."""
        barred = self.agreement.candidates.excluded(self._config.node_id)
        state = self.agreement.state
        if barred and state in (State.JOINING, State.MEMBER):
            self.agreement.withdraw(State.REFUSING, now_ns)
            self._kept_out = True
        elif self._kept_out and not barred and state is State.REFUSING:
            self.agreement.state, self._kept_out = State.JOINING, False

    def _tell_bars(self) -> None:
        """With heartbeats: a new word some times, and from time to time while somebody is barred."""
        self._beats += 1
        again = self._beats % BARS_COPIES == 0
        if self._bars_due or (again and any(map(self.agreement.candidates.excluded, self.detector.peers))):
            self._bars_due = max(0, self._bars_due - 1)
            self._send_to(TO_ALL, self._bars.words)

    def _leave_copy(self, now_ns: int) -> None:
        if self._leave is None or not self._leave_copies:
            return
        self._leave_copies -= 1
        self._send_to(TO_ALL, self._leave)
        if self._leave_copies:
            self._out.append(SetTimer(LEAVE, now_ns + LEAVE_APART_NS))

    def _timer(self, event: Timer, now_ns: int) -> None:
        match event.key:
            case "beat":
                if now_ns - event.planned_ns > self._config.keepalive_ns // 2:
                    self.detector.unwell(now_ns)
                self._beat_at_ns = NEVER_NS
                self.detector.recover(now_ns)
                self.detector.adapt(now_ns)
                self._beat(now_ns, urgent=False)
                self._tell_bars()
                self._judge_links(now_ns)
            case "check":
                self._check_at_ns = NEVER_NS
            case "leave":
                self._leave_copy(now_ns)
            case "talk":
                self._talk_at_ns = NEVER_NS
                self.talk.tick(now_ns)
            case _:
                raise AssertionError(f"no timer of ours: {event.key}")

    def _judge_links(self, now_ns: int) -> None:
        for peer in self.detector.peers.values():
            for number, link in enumerate(peer.links):
                if link.judge(now_ns):
                    level = "info" if link.state == "up" else "warning"
                    fields = (("peer", peer.name), ("link", number), ("state", link.state.value))
                    self._out.append(Note(level, log_events.LINK_STATE, fields))

    # Effects.

    def _finish(self, now_ns: int) -> list[Effect]:
        """Let the parts see what has changed, speak, and set the timers."""
        detector, agreement = self.detector, self.agreement
        # Nobody is called silent but by the timer, which the shell delivers when the sockets are empty.
        due = self._check_at_ns == NEVER_NS
        if detector.changed and not due and now_ns < self._looked_ns + self._look_apart_ns:
            self._check_by(self._looked_ns + self._look_apart_ns)
        elif due or detector.changed:
            self._looked_ns = now_ns
            for peer in detector.expire(now_ns) if due else ():
                self._send_to(peer.id, Probe())
            # An evaluation may change what the next would see; two or three always reach a rest.
            for _ in range(4):
                detector.changed = False
                agreement.evaluate(now_ns)
                if not detector.changed:
                    break
            self.authority.stale = True
            self.authority.stand(now_ns)
            if (question := self.authority.question(now_ns)) is not None:
                self._out.append(question)
            self._note_view()
            if self.authority.may_remember(now_ns):
                agreement.remember()
            self._arm_check(now_ns)
        if detector.deadtime.wants_storing():
            agreement.store()
        self.talk.view_is(agreement.installed, now_ns)
        self._arm_talk(now_ns)
        if detector.urgent:
            self._urgent_beat(now_ns)
        status = self.authority.news(now_ns)
        notes: list[Effect] = [*detector.notes, *agreement.notes, *self.authority.notes]
        detector.notes.clear()
        agreement.notes.clear()
        self.authority.notes.clear()
        if self._beat_at_ns == NEVER_NS:
            self._plan_beat(now_ns)
        held, agreement.effects = agreement.effects, []
        # News promise nothing to other nodes, so they do not wait for the disk: what the next step says
        # would overtake them, and an old status or message would come last.
        news: list[Effect] = [*([Publish(status)] if status is not None else []), *self.talk.out]
        self.talk.out.clear()
        out, self._out = [*notes, *self._out, *news, *held], []
        return out

    def _note_view(self) -> None:
        all_seen, met = self.authority.note_view()
        if all_seen:
            self._out.append(MarkAllSeen())
        if met:
            self._out.append(MarkMet(met))

    def _end_waiting(self, view: ViewId) -> None:
        """The word is of the DC of a view: of another one than ours it says nothing."""
        installed = self.agreement.installed
        if installed is None or installed.id != view or not self.authority.waiting:
            return
        met = self.authority.end_waiting()
        notes = (("view", str(view)), ("reason", "the DC of this view has nothing to wait for"))
        self._out += [Note("info", log_events.WAITING_ENDED, notes), MarkAllSeen(), MarkMet(met)]

    def _arm_check(self, now_ns: int) -> None:
        deadlines = (
            self.detector.next_deadline_ns(),
            self.agreement.wake_ns(),
            self.authority.next_deadline_ns(now_ns),
        )
        self._check_by(max(now_ns + 1, min((at for at in deadlines if at is not None), default=NEVER_NS)))

    def _check_by(self, at_ns: int) -> None:
        if at_ns < self._check_at_ns:
            self._check_at_ns = at_ns
            self._out.append(SetTimer(CHECK, at_ns))

    def _arm_talk(self, now_ns: int) -> None:
        at_ns = self.talk.wake_ns()
        if at_ns is not None and at_ns < self._talk_at_ns:
            self._talk_at_ns = max(now_ns + 1, at_ns)
            self._out.append(SetTimer(TALK, self._talk_at_ns))

    def _urgent_beat(self, now_ns: int) -> None:
        """Tell what has changed at once, at most every K/10."""
        at_ns = self._last_beat_ns + self._config.keepalive_ns // 10
        if now_ns >= at_ns:
            self._beat(now_ns, urgent=True)
        elif at_ns < self._beat_at_ns:
            self._beat_at_ns = at_ns
            self._out.append(SetTimer(BEAT, at_ns))

    def _beat(self, now_ns: int, *, urgent: bool) -> None:
        for layout in self.detector.layouts_in_use(now_ns):
            for link in range(self._config.links):
                self._put(link, TO_ALL, self._own_heartbeat(link, layout), now_ns, urgent=urgent)
        self.detector.urgent = False
        self._last_beat_ns = now_ns
        self._plan_beat(now_ns)

    def _plan_beat(self, now_ns: int) -> None:
        jitter_percent = 100 - JITTER_PERCENT + 2 * JITTER_PERCENT * self._rng.random()
        self._beat_at_ns = now_ns + int(self._config.keepalive_ns * jitter_percent) // 100
        self._out.append(SetTimer(BEAT, self._beat_at_ns))

    def _own_heartbeat(self, link: int, layout: bytes = b"") -> Heartbeat:
        """In the slots of `layout`, a list that we have or had; ours when it is empty."""
        layouts, peers = self.detector.layouts, self.detector.peers
        layout = layout or layouts.current
        ids = layouts.ids(layout) or ()
        echo = [peers[node].links[link].echo if node in peers else 0 for node in ids]
        hear = self.detector.heard_bits
        if layout != layouts.current:
            hear = moved(hear, [node.id for node in self._config.nodes], ids)
        tag = self.agreement.tag
        return Heartbeat(
            view_counter=tag.counter,
            view_coordinator=tag.coordinator,
            promised=self.agreement.promised,
            state=State.LEAVING if self._leave is not None else self._own_state(),
            load=load_of(self.detector.health, self.authority.connectivity),
            boot_token=bytes.fromhex(self._start.boot_token[:16]),
            crm_instance=self._crm_instance,
            lrm_instance=self._lrm_instance,
            key_ids=self._key_ids,
            config_hash=layout,
            hear=hear,
            echo=tuple(echo),
            told_ms=self.detector.deadtime.told_ms,
        )

    def _own_state(self) -> State:
        """Who does not know its own promises must not be waited for: only a view that exists may take it."""
        state = self.agreement.state
        lost = state is State.JOINING and not self._start.durable.trusted
        there_is_a_view = any(peer.heard and peer.established for peer in self.detector.peers.values())
        return State.REFUSING if lost and not there_is_a_view else state

    def _send_to(self, node: int, message: Message, *, link: int | None = None) -> None:
        """On every link at once, unless one is named."""
        pieces = pieces_needed(message, self._config.payload_bytes)
        self._message_id += pieces > 1
        for number in range(self._config.links) if link is None else (link,):
            if number < self._config.links:
                self._put(number, node, message, self._last_ns, pieces=pieces)

    def _put(
        self, link: int, node: int, message: Message, now_ns: int, *, urgent: bool = False, pieces: int = 1
    ) -> None:
        """After a persist of this step when there is one: persist before you speak."""
        sequence = self.detector.sent[link].take(now_ns, pieces)
        out = self.agreement.effects if self.agreement.effects else self._out
        out.append(Send(link, node, sequence, message, urgent, self._message_id if pieces > 1 else 0))
