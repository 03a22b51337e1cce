"""Who could be in the next view: the clique, who is ready, who waits (cluster-protocol.md, 6.3, 6.4, 6.6).

Every node reckons this for itself, from the same matrix to the same result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from messaging.membership.bars import BarTable
from messaging.membership.choice import choose
from messaging.membership.detector import Detector, Peer
from messaging.membership.events import CommittedQuorum, Config, InstalledView, Propose, Start, ViewMember
from messaging.packet import State

MS: Final = 1_000_000
REMOVAL_MEMORY_NS: Final = 600_000 * MS
REJOIN_DOUBLINGS_MAX: Final = 5  # 2·D … 64·D


@dataclass(slots=True)
class Removal:
    """When a node was put out of views of ours, as which run, and until when it has to wait."""

    times_ns: list[int] = field(default_factory=list)
    incarnation: int = 0
    until_ns: int = 0


class Candidates:
    """Judges nodes by what the detector knows and by the view that we are in."""

    def __init__(self, config: Config, start: Start, detector: Detector, quorum: CommittedQuorum) -> None:
        self.config, self.start, self._detector = config, start, detector
        self.view: InstalledView | None = None
        self.quorum = quorum
        self.bars = BarTable(start.durable.bars)
        self.wake_ns: int | None = None  # when a judgement changes by itself
        self._diskless = frozenset(node.id for node in config.nodes if node.diskless)
        self._cut_until: dict[tuple[int, int], int] = {}
        self._chosen_since: dict[int, tuple[int, int]] = {}  # node: (incarnation, since)
        self._removals: dict[int, Removal] = {}

    def reconfigure(self, config: Config) -> None:
        """Other nodes, other slots: edges that failed a proposal get another chance."""
        self.config = config
        self._diskless = frozenset(node.id for node in config.nodes if node.diskless)
        self._cut_until.clear()

    def begin_look(self, now_ns: int) -> None:
        """Forget what is over, and when to wake; the look that follows says that anew."""
        self.wake_ns = None
        self._cut_until = {edge: until for edge, until in self._cut_until.items() if until > now_ns}
        for until in self._cut_until.values():
            self.wake_at(until)

    def chosen(self, now_ns: int) -> tuple[int, ...]:
        """The ids of the clique that should form the view, in order."""
        detector = self._detector
        candidates = 1 << detector.own_slot
        for peer in detector.peers.values():
            if self.has_edge(peer) and self._admissible(peer, now_ns):
                candidates |= 1 << peer.slot
        cut = [0] * len(self.config.nodes)
        for one, other in self._cut_until:
            cut[one] |= 1 << other
        slots = {node.id: slot for slot, node in enumerate(self.config.nodes)}
        installed = self.view.members if self.view is not None else ()
        votes = dict(self.quorum.config.voters)
        bits = choose(
            candidates=candidates,
            hear=detector.hear_matrix(),
            cut=cut,
            installed=sum(1 << slots[member.id] for member in installed if member.id in slots),
            votes=[votes.get(node.id, 0) for node in self.config.nodes],
        )
        chosen = tuple(node.id for slot, node in enumerate(self.config.nodes) if bits >> slot & 1)
        self._chosen_since = {
            node: since
            if (since := self._chosen_since.get(node)) and since[0] == self.incarnation(node)
            else (self.incarnation(node), now_ns)
            for node in chosen
        }
        return chosen

    def _would_part(self, chosen: tuple[int, ...], now_ns: int) -> bool:
        """Whether a view is out of the question, for it might make two nodes act alone, each on its own.

        One that `two_node` (or a file with one node only) lets act alone must not take a peer for lost that
        lives, and only has another cluster.toml. By a majority there is no such danger, nor with both of two.
        """
        alone = len(self.config.nodes) == 1
        if not alone and (not self.quorum.config.two_node or len(chosen) == len(self.config.nodes)):
            return False
        until_ns = 0 if self.view is not None else max(self._detector.strangers.values(), default=0)
        until_ns += self._detector.suspicion_ns if until_ns else 0
        for peer in self._detector.peers.values():
            member = self.view.member(peer.id) if self.view is not None else None
            same_boot = member is not None and bytes.fromhex(member.boot_token[:16]) == peer.boot_token
            if self.view is None or same_boot:
                until_ns = max(until_ns, self._detector.estranged_until_ns(peer))
        if until_ns <= now_ns:
            return False
        self.wake_at(until_ns)
        return True

    def _admissible(self, peer: Peer, now_ns: int) -> bool:
        if peer.leave is not None or peer.state in (State.LEAVING, State.REFUSING):
            return False
        removal = self._removals.get(peer.id)
        in_view = self.view is not None and self.view.member(peer.id) is not None
        if removal is None or in_view or removal.incarnation != peer.incarnation:
            return True
        if now_ns < removal.until_ns:
            self.wake_at(removal.until_ns)
            return False
        return True

    def has_edge(self, peer: Peer) -> bool:
        """We hear each other, and it is not barred."""
        return self._detector.bidirectional(peer) and not self.excluded(peer.id)

    def agrees_with_edge(self, peer: Peer, propose: Propose) -> bool:
        """Whether we and it hear each other, in the run that is proposed if it is."""
        member = next((m for m in propose.members if m.id == peer.id), None)
        same_run = member is None or member.incarnation == peer.incarnation
        return self.has_edge(peer) and same_run

    def untagged_since(self, target: tuple[int, ...], installed_ns: int) -> list[int]:
        """Since when those in `target` who are not in the view that we are in are so."""
        assert self.view is not None
        return [
            max(peer.tag_since_ns, installed_ns)
            for node in target
            if (peer := self._detector.peers.get(node)) is not None and peer.tag != self.view.id
        ]

    def left_behind(self, installed: InstalledView) -> bool:
        """Whether those of our view whom we hear are all in later ones."""
        heard = [
            peer.tag
            for member in installed.members
            if (peer := self._detector.peers.get(member.id)) is not None and peer.heard
        ]
        return bool(heard) and all(tag > installed.id for tag in heard)

    def excluded(self, node: int) -> bool:
        """Whether it is barred in the boot in which we know it."""
        if node == self.config.node_id:
            return self.bars.holds(node, bytes.fromhex(self.start.boot_token[:16]))
        peer = self._detector.peers.get(node)
        return peer is not None and self.bars.holds(node, peer.boot_token)

    def incarnation(self, node: int) -> int:
        """The run of the node that we know of."""
        if node == self.config.node_id:
            return self.start.incarnation
        return self._detector.peers[node].incarnation

    def members(self, target: tuple[int, ...]) -> tuple[ViewMember, ...]:
        """These, in order of id, in the runs that we know of."""
        ids = (node.id for node in self.config.nodes if node.id in target)
        return tuple(ViewMember(id=node, incarnation=self.incarnation(node)) for node in ids)

    def established(self, node: int) -> bool:
        """Whether it is in a view, as far as we know."""
        if node == self.config.node_id:
            return self.view is not None
        return self._detector.peers[node].established

    def rank(self, node: int) -> tuple[bool, bool, int]:
        """The least of a set is its coordinator: members of a view first, then by id, no diskless ones."""
        return (node in self._diskless, not self.established(node), node)

    def barred(self, chosen: tuple[int, ...], now_ns: int) -> bool:
        """Whether this node may not propose: without a disk one id could come to name two views."""
        return self.config.node_id in self._diskless or self._would_part(chosen, now_ns)

    def is_ready(self, node: int, now_ns: int) -> bool:
        """Whether a chosen node may be in the next view already (6.4, addition)."""
        if node == self.config.node_id:
            return True
        peer = self._detector.peers[node]
        member = self.view.member(node) if self.view is not None else None
        if member is not None and (
            member.incarnation == peer.incarnation or bytes.fromhex(member.boot_token[:16]) == peer.boot_token
        ):
            return True
        ready_ns = self._chosen_since[node][1] + self.merge_hold_ns()
        if now_ns < ready_ns:
            self.wake_at(ready_ns)
        return now_ns >= ready_ns

    def must_wait(self, removed: tuple[int, ...], now_ns: int) -> bool:
        """Whether a removal for missing edges alone is too early.

        A member's daemon that has just come back does not hear one that is away for a moment too, and would
        have it put out although both are back within deadtime.
        """
        peers = self._detector.peers
        if any(not peers[n].heard or self._has_gone(peers[n]) or self._is_cut(peers[n]) for n in removed):
            return False
        returned = [
            peers[member.id].run_since_ns + self._detector.deadtime.ns
            for member in (self.view.members if self.view is not None else ())
            if member.id in peers and peers[member.id].incarnation != member.incarnation
        ]
        coming = [at_ns for at_ns in returned if at_ns > now_ns]
        for at_ns in coming:
            self.wake_at(at_ns)
        return bool(coming)

    def all_agree(self, target: tuple[int, ...], removed: tuple[int, ...]) -> bool:
        """Whether everybody who stays says that those who go are silent, and that the others are not."""
        peers = self._detector.peers
        stay = [peers[node] for node in target if node in peers]
        gone = [peers[node] for node in removed if node in peers and not self._has_gone(peers[node])]
        if any(peer.heard and not self._is_cut(peer) for peer in gone):
            return False
        stay_bits = sum(1 << peer.slot for peer in stay)
        gone_bits = sum(1 << peer.slot for peer in gone if peer.heard is False)
        return all(
            peer.heartbeat is not None
            and not stay_bits & ~(1 << peer.slot) & ~peer.heartbeat.hear
            and not gone_bits & peer.heartbeat.hear
            for peer in stay
        )

    def _has_gone(self, peer: Peer) -> bool:
        """It said so itself, or its next boot did: nobody has to confirm that."""
        member = self.view.member(peer.id) if self.view is not None else None
        rebooted = member is not None and bytes.fromhex(member.boot_token[:16]) != peer.boot_token
        return peer.leave is not None or rebooted or peer.state in (State.LEAVING, State.REFUSING)

    def _is_cut(self, peer: Peer) -> bool:
        return (self._detector.own_slot, peer.slot) in self._cut_until

    def cut(self, one: int, other: int, now_ns: int, doublings: int = 0) -> None:
        """Count the edge as missing for a while: a proposal failed on it."""
        slots: dict[int, int] = {node.id: slot for slot, node in enumerate(self.config.nodes)}
        until_ns = now_ns + (max(self.settle_ns(), 2 * self._detector.propose_timeout_ns()) << doublings)
        self._cut_until[slots[one], slots[other]] = until_ns
        self._detector.changed = True

    def record_removals(self, old: InstalledView, stay: tuple[int, ...], now_ns: int) -> None:
        """A node that comes back as the same run was alive when it was put out: it waits (rejoin_hold)."""
        for member in old.members:
            peer = self._detector.peers.get(member.id)
            if peer is None or member.id in stay or peer.leave is not None:
                continue
            removal = self._removals.setdefault(member.id, Removal())
            removal.times_ns = [at for at in removal.times_ns if now_ns - at < REMOVAL_MEMORY_NS] + [now_ns]
            removal.incarnation = member.incarnation
            doublings = min(len(removal.times_ns) - 1, REJOIN_DOUBLINGS_MAX)
            removal.until_ns = now_ns + (2 * self._detector.deadtime.ns << doublings)

    def settle_ns(self) -> int:
        """How long a removal waits for the others to see the same."""
        return max(self.config.keepalive_ns // 2, 50 * MS)

    def merge_hold_ns(self) -> int:
        """How long a newcomer has to be well connected."""
        return max(2 * self.config.keepalive_ns, 500 * MS)

    def wake_at(self, at_ns: int) -> None:
        """Something changes by itself then."""
        self.wake_ns = at_ns if self.wake_ns is None else min(self.wake_ns, at_ns)
