"""What this node may do in its view: supporters, quorum, lease, waiting for all (cluster-protocol.md, 7).

Quorum is counted over those whose support has not run out, so a quorate node always holds a lease, and by
`hold` no two disjoint sets of nodes are quorate at once (I14).
"""

from __future__ import annotations

from collections.abc import Mapping

from hacluster.vocabulary.ids import NO_VIEW, BootToken
from hacluster.vocabulary.membership import Authority, Member, MembershipView, NodeState, QuorumConfig
from messaging import log_events
from messaging.membership.agreement import Agreement
from messaging.membership.deadtime import lease_ns
from messaging.membership.detector import Detector, Peer
from messaging.membership.events import (
    AskWitness,
    Config,
    ConfiguredNode,
    Note,
    PeerStatus,
    Start,
    Status,
    ViewMember,
)
from messaging.membership.quorum import WITNESS, all_voters_in, by_votes, is_quorate, lease_end_ns
from messaging.membership.standing import LastManStanding
from messaging.membership.witness import WitnessSide
from messaging.packet import State, connectivity_of


class AuthorityKeeper:
    """Counts support for the installed view and says what follows."""

    def __init__(self, config: Config, start: Start, detector: Detector, agreement: Agreement) -> None:
        self._config, self._start, self._detector, self._agreement = config, start, detector, agreement
        self._support_until_ns: dict[int, int] = {}
        self._support_view = NO_VIEW
        self._support_runs: dict[int, int] = {}  # that view's members with their incarnations
        self._all_seen, self._met = start.all_seen, start.met
        self._own_daemons = (0, 0)
        self._was_member: set[int] = set()
        self._published: tuple[object, ...] | None = None
        self._published_lease_ns = 0
        self._looked_ns = self._looked_closely_ns = 0
        self._standing = LastManStanding(config)
        self.witness = WitnessSide(config)
        self.connectivity: int | None = None
        self.stale = True  # `news` has to look closely
        self.notes: list[Note] = []

    def reconfigure(self, config: Config) -> None:
        """Other nodes."""
        self._config = config
        self._standing = LastManStanding(config)
        self.stale = True

    def own_daemons(self, crm_instance: int, lrm_instance: int) -> None:
        """Which instances of ha-crm and ha-lrm are connected here."""
        self._own_daemons = (crm_instance, lrm_instance)

    def support(self, peer: Peer, sent_ns: int) -> None:
        """`peer` has echoed in a live packet what we sent at `sent_ns`."""
        view = self._agreement.installed
        if view is None:
            return
        if self._support_view != view.id:
            self._support_view = view.id
            self._support_runs = {member.id: member.incarnation for member in view.members}
            self._support_until_ns.clear()
        if self._support_runs.get(peer.id) != peer.incarnation or peer.tag not in (view.id, NO_VIEW):
            self._support_until_ns.pop(peer.id, None)
        elif peer.tag == view.id and sent_ns >= self._detector.grace_from_ns:
            told_ms = peer.heartbeat.told_ms if peer.heartbeat is not None else 0
            until_ns = sent_ns + lease_ns(self._detector.deadtime.granted_by(told_ms))
            before_ns = self._support_until_ns.get(peer.id, 0)
            self.stale = self.stale or before_ns < self._looked_ns
            self._support_until_ns[peer.id] = max(until_ns, before_ns)

    def void(self) -> None:
        """After a pause: whatever support we had, we cannot know how long ago that was."""
        self._support_until_ns.clear()
        self.witness.void()
        self.stale = True

    def note_view(self) -> tuple[bool, frozenset[int]]:
        """Look at the installed view, and say what is new since boot and to be remembered.

        Whether all voters are together for the first time; whom we have met by now, when somebody is new.
        """
        here = self._here
        self._was_member |= here
        first = not self._all_seen and all_voters_in(self._agreement.quorum.config, here)
        self._all_seen = self._all_seen or first
        if here <= self._met:
            return first, frozenset()
        self._met |= here
        return first, self._met

    @property
    def _here(self) -> frozenset[int]:
        view = self._agreement.installed
        return frozenset(member.id for member in view.members) if view is not None else frozenset()

    @property
    def waiting(self) -> bool:
        """wait_for_all holds us: since boot, the voters have not been in one view together.

        They may be so by a change of the voters that came just now to those who are here: that holds nobody
        up. One of two must have met the other, whatever voters there were when it had last seen all of them.
        """
        config = self._agreement.quorum.config
        if not config.wait_for_all:
            return False
        if config.two_node:
            return not all_voters_in(config, self._met | self._here)
        return not self._all_seen and not all_voters_in(config, self._here)

    def end_waiting(self) -> frozenset[int]:
        """By the word of our DC the voters of now count as seen; returns whom we have met by that.

        It ends the waiting alone: for quorum the votes (or `two_node`) still count as they did.
        """
        voters = self._agreement.quorum.config.voters
        self._all_seen, self._met = True, self._met | {int(node) for node, _ in voters}
        self.stale = True
        return self._met

    def lease_end_ns(self, now_ns: int) -> int:
        """Until when we may act in the installed view; 0 when we may not."""
        return self._lease_end_ns(self._agreement.quorum.config, now_ns)

    def _lease_end_ns(self, config: QuorumConfig, now_ns: int) -> int:
        view = self._agreement.installed
        if view is None or self.waiting or now_ns < self._agreement.authority_from_ns:
            return 0
        supports = self._support_until_ns if self._support_view == view.id else {}
        live = {node: until for node, until in supports.items() if until > now_ns}
        if (until := self.witness.support_until_ns(view)) > now_ns:
            live[WITNESS] = until
        own_until_ns = now_ns + lease_ns(self._detector.deadtime.ns)
        return lease_end_ns(config, self._config.node_id, live, own_until_ns=own_until_ns)

    def _by_votes(self, now_ns: int, lease: int) -> bool:
        """Whether the view, in which we have this lease, is quorate without the leave of `two_node`."""
        config = self._agreement.quorum.config
        return (self._lease_end_ns(by_votes(config), now_ns) if config.two_node else lease) > now_ns

    def next_deadline_ns(self, now_ns: int) -> int | None:
        """When authority begins, or the support that we have now runs out."""
        if self._agreement.installed is None:
            return None
        if now_ns < self._agreement.authority_from_ns:
            return self._agreement.authority_from_ns
        asks_ns = self.witness.wake_ns(self._agreement.quorum) if self._agreement.pending is None else None
        times = (self.lease_end_ns(now_ns) or None, self._standing.wake_ns, asks_ns)
        return min((at for at in times if at is not None), default=None)

    def stand(self, now_ns: int) -> None:
        """Look whether the voters should be others (last_man_standing)."""
        quorate = self.lease_end_ns(now_ns) > now_ns
        self._standing.look(self._agreement.installed, self._agreement.quorum, now_ns, quorate=quorate)

    def question(self, now_ns: int) -> AskWitness | None:
        """To the witness, when one is due: only of a view that we act in, and of no other any more."""
        view = self._agreement.installed
        if view is None or self._agreement.pending is not None or now_ns < self._agreement.authority_from_ns:
            return None
        return self.witness.ask(view, self._agreement.quorum, now_ns)

    def _has_witness(self, now_ns: int) -> bool:
        """Whether the witness supports the view that we act in."""
        view = self._agreement.installed
        if view is None or now_ns < self._agreement.authority_from_ns:
            return False
        return self.witness.support_until_ns(view) > now_ns

    def _told(self, now_ns: int) -> bool:
        """Whether those in the view who know which runs there were are quorate, the witness included."""
        forgetful = set(self._agreement.forgetful)
        if self._agreement.runs.forgetful:
            forgetful.add(self._config.node_id)
        told = [*sorted(self._here - forgetful), *([WITNESS] if self._has_witness(now_ns) else [])]
        return is_quorate(self._agreement.quorum.config, told)

    def may_remember(self, now_ns: int) -> bool:
        """Whether this node's disk was lost, and the others of the view have told it what they know."""
        forgetful = self._agreement.runs.forgetful
        return forgetful and self.lease_end_ns(now_ns) > now_ns and self._told(now_ns)

    def _left_cleanly(self, now_ns: int, *, quorate: bool) -> frozenset[int]:
        """Where nothing is active, as LEAVE says: as far as we know without quorum, for certain with it."""
        if quorate and not self._told(now_ns):
            return frozenset()
        self._agreement.runs.learn(self._detector.left())
        return frozenset(peer.id for peer in self._detector.peers.values() if self._has_left(peer))

    def _has_left(self, peer: Peer) -> bool:
        return self._agreement.runs.has_left(peer.id, peer.incarnation)

    def status(self, now_ns: int) -> Status:
        """The whole picture, as of now."""
        view = self._agreement.installed
        lease_ns_ = self.lease_end_ns(now_ns)
        clean = self._left_cleanly(now_ns, quorate=lease_ns_ > now_ns)
        nodes = {int(node.id): node for node in self._config.nodes}
        votes = dict[int, int](self._agreement.quorum.config.voters)
        there = {member.id: member for member in view.members} if view is not None else {}
        authority = Authority(
            view=MembershipView(
                id=view.id if view is not None else NO_VIEW,
                members=tuple(self._member(one, nodes[one.id], votes) for one in there.values()),
            ),
            quorate=lease_ns_ > now_ns,
            waiting=self.waiting,
            lease_end_ns=lease_ns_,
            witness=self._has_witness(now_ns),
            by_votes=self._by_votes(now_ns, lease_ns_),
        )
        return Status(
            authority=authority,
            nodes=tuple(
                self._node(node, there.get(node.id), now_ns, clean=node.id in clean)
                for node in self._config.nodes
            ),
            suggested=self._standing.suggested,
        )

    def news(self, now_ns: int) -> Status | None:
        """The picture, if it differs from the one given last, or the lease moved by a keepalive.

        While nothing of note happens the lease is looked at four times a keepalive, the rest once.
        """
        keepalive_ns = self._config.keepalive_ns
        if not self.stale and now_ns - self._looked_ns < keepalive_ns // 4:
            return None
        lease = self.lease_end_ns(now_ns)
        if not self.stale and now_ns - self._looked_closely_ns < keepalive_ns:
            self._looked_ns = now_ns
            moved_ns = abs(lease - self._published_lease_ns)
            if moved_ns < keepalive_ns and (lease > now_ns) == (self._published_lease_ns > now_ns):
                return None
        self.stale, self._looked_ns, self._looked_closely_ns = False, now_ns, now_ns
        view = self._agreement.installed
        key = (
            view.id if view is not None else NO_VIEW,
            lease > now_ns,
            self.waiting,
            self._has_witness(now_ns),
            self._by_votes(now_ns, lease),
            self._standing.suggested,
            self._own_daemons,
            self.connectivity,
            self._agreement.candidates.bars.words,
            self._left_cleanly(now_ns, quorate=lease > now_ns),
            self._agreement.runs.all,
            tuple((p.heard, p.late, p.state, p.incarnation, p.leave) for p in self._detector.peers.values()),
            [now_ns < self._detector.estranged_until_ns(peer) for peer in self._detector.peers.values()],
            tuple(
                (p.heartbeat.crm_instance, p.heartbeat.lrm_instance, p.heartbeat.load >> 4)
                if p.heartbeat is not None
                else None
                for p in self._detector.peers.values()
            ),
        )
        moved_ns = abs(lease - self._published_lease_ns)
        if key == self._published and moved_ns < keepalive_ns:
            return None
        if self._published is None or key[:3] != self._published[:3]:
            fields = (("view", str(key[0])), ("quorate", key[1]), ("waiting", key[2]))
            self.notes.append(Note("info", log_events.QUORUM, fields))
        self._published, self._published_lease_ns = key, lease
        return self.status(now_ns)

    def _member(self, member: ViewMember, node: ConfiguredNode, votes: Mapping[int, int]) -> Member:
        crm, lrm = self._own_daemons
        if member.id != self._config.node_id:
            heartbeat = self._detector.peers[member.id].heartbeat
            crm = heartbeat.crm_instance if heartbeat is not None else 0
            lrm = heartbeat.lrm_instance if heartbeat is not None else 0
        return Member(
            id=node.id,
            name=node.name,
            incarnation=member.incarnation,
            boot_token=member.boot_token,
            votes=votes.get(node.id, 0),
            crm_instance=crm,
            lrm_instance=lrm,
        )

    def _node(
        self, node: ConfiguredNode, member: ViewMember | None, now_ns: int, *, clean: bool
    ) -> PeerStatus:
        if node.id == self._config.node_id:
            own = self._agreement.state
            state = NodeState.MEMBER if member is not None else NodeState.JOINING
            state = NodeState.BARRED if self._agreement.candidates.excluded(node.id) else state
            return PeerStatus(
                id=node.id,
                name=node.name,
                state=NodeState.LEFT if own is State.LEAVING else state,
                incarnation=self._start.incarnation,
                boot_token=self._start.boot_token,
                connectivity=self.connectivity,
            )
        peer = self._detector.peers[node.id]
        known = next((m.boot_token for m in (member,) if m is not None), BootToken(peer.boot_token.hex()))
        return PeerStatus(
            id=node.id,
            name=node.name,
            state=self._state(peer, now_ns, in_view=member is not None),
            incarnation=peer.incarnation,
            boot_token=known,
            clean_leave=clean,
            last_run=self._agreement.runs.of(node.id).incarnation,
            silent_ms=(now_ns - peer.last_rx_ns) // 1_000_000 if peer.last_rx_ns else 0,
            key_ids=peer.heartbeat.key_ids if peer.heartbeat is not None else 0,
            signs_with=peer.signs_with,
            connectivity=connectivity_of(peer.heartbeat.load) if peer.heartbeat is not None else None,
        )

    def _state(self, peer: Peer, now_ns: int, *, in_view: bool) -> NodeState:
        if peer.leave is not None or self._has_left(peer):
            return NodeState.LEFT
        if now_ns < self._detector.estranged_until_ns(peer):
            return NodeState.ESTRANGED
        if in_view:
            return NodeState.LATE if peer.late or not peer.heard else NodeState.MEMBER
        if peer.heard:
            return NodeState.BARRED if self._agreement.candidates.excluded(peer.id) else NodeState.JOINING
        return NodeState.LOST if peer.id in self._was_member else NodeState.UNKNOWN
