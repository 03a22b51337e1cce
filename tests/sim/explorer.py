"""A random explorer of the rules of views, leases, health and the witness, before and beside their code.

`python -m tests.sim explore [--nodes N] [--seconds S] [--without RULE]`. Not the product's cores: the
protocol's rules written down a second time, as small as they can be (cluster-protocol.md 4.7, 6.4, 7.4, 7.5)
under loss, delay, partitions, crashes and stalls. Time goes in ticks. What is checked after every tick:

- views: ids grow at each node; one id, one set of members;
- authority: nobody acts in a view while another acts in a later one that leaves it out (I14);
- the witness: what was committed is in the log of whoever may commit later (I7).

`--without` leaves one rule out; each must be found out.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

DEADTIME = 20
LEASE = 18
WITNESS_LEASE = 40
WITNESS_SUPPORT = 36
BEAT = 3
STALL_SEEN = 8

RULES = {
    "hold": "a new view acts only when what those left out may believe has run out",
    "persist": "a promise is on disk before it is spoken of",
    "echo": "a lease counts from the moment of sending, not of arrival",
    "no-stretch": "bad health stretches our suspicion of others, never our own authority",
    "witness-wait": "the witness waits until nobody can rest on it in another view",
    "witness-memory": "the witness remembers over its restart",
    "witness-view": "who has gone on to a later view may rest on it there",
    "in-sync": "the witness supports nobody who is without a node of the in-sync set",
    "store-all": "a commit that counts the witness is stored by all of the in-sync set",
}

View = tuple[int, int]
Entry = tuple[View, int]
NONE: View = (0, 0)


class Violation(AssertionError):
    """A rule is not enough."""


@dataclass(slots=True)
class Member:
    """One node. `promised` and `log` are on disk."""

    id: int
    up: bool = True
    promised: int = 0
    spoken: int = 0
    stalled_until: int = 0
    view: View = NONE
    members: frozenset[int] = frozenset()
    pending: View = NONE
    hold_until: int = 0
    heard: dict[int, int] = field(default_factory=dict)
    sent_by: dict[int, int] = field(default_factory=dict)
    support: dict[int, int] = field(default_factory=dict)
    owed: dict[int, int] = field(default_factory=dict)
    highest: int = 0
    proposal: tuple[View, frozenset[int]] | None = None
    accepts: dict[int, int] = field(default_factory=dict)
    proposed_at: int = 0
    last_run: int = 0
    health: int = 0
    witness_until: int = 0
    log: list[Entry] = field(default_factory=list)
    stored: dict[int, int] = field(default_factory=dict)

    def forget(self, now: int, rules: set[str]) -> None:
        """A restart: memory is gone."""
        promised = self.promised if "persist" in rules else 0
        log = self.log
        self.__init__(self.id)  # type: ignore[misc]
        self.promised, self.log, self.last_run = promised, log, now
        self.hold_until = now + LEASE + 2  # what a former run gave may still count

    def rank(self) -> tuple[View, int]:
        return (self.log[-1][0] if self.log else NONE, len(self.log))


@dataclass(slots=True)
class Witness:
    """The third machine: which view it supports, who may rest on that since when, and who has everything."""

    last: View = NONE
    renewed: dict[int, tuple[View, int]] = field(default_factory=dict)
    in_sync: frozenset[int] = frozenset()


class Explorer:
    """One run."""

    def __init__(self, seed: int, nodes: int, rules: set[str], *, witness: bool) -> None:
        self.rng = random.Random(seed)
        self.now, self.rules, self.nodes = 0, rules, [Member(n) for n in range(1, nodes + 1)]
        self.ids = frozenset(range(1, nodes + 1))
        self.group = dict.fromkeys((*self.ids, 0), 0)
        self.witness = Witness(in_sync=self.ids) if witness else None
        self.total = nodes + witness
        self.pool: list[tuple[int, int, int, str, tuple[object, ...]]] = []
        self.views: dict[View, frozenset[int]] = {}
        self.last_view: dict[int, View] = {}
        self.committed: list[Entry] = []
        self.counts: dict[str, int] = {}
        self.value = 0

    # The world.

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now += 1
            self._faults()
            self._arrivals()
            for node in self.nodes:
                if node.up and self.now >= node.stalled_until:
                    self._node(node)
            self._check()

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _faults(self) -> None:
        rng = self.rng
        if rng.random() < 0.012:
            split = rng.random() < 0.6
            self.group = {node: rng.randrange(2) if split else 0 for node in self.group}
        node = rng.choice(self.nodes)
        if rng.random() < 0.004 and node.up:
            node.up = False
            self._count("crashes")
        if rng.random() < 0.02 and not node.up:
            node.forget(self.now, self.rules)
        if rng.random() < 0.006:
            node.stalled_until = self.now + rng.choice([5, 15, 30, 60])
        if rng.random() < 0.003 and self.witness is not None and "witness-memory" not in self.rules:
            self.witness.last, self.witness.renewed = NONE, {}

    def _send(self, source: int, target: int, kind: str, *body: object) -> None:
        if self.rng.random() < 0.9:
            delay = self.rng.randint(0, 2) if self.rng.random() < 0.9 else self.rng.randint(3, 30)
            self.pool.append((self.now + delay, source, target, kind, body))

    def _arrivals(self) -> None:
        due = [entry for entry in self.pool if entry[0] <= self.now]
        self.pool = [entry for entry in self.pool if entry[0] > self.now]
        self.rng.shuffle(due)
        for _, source, target, kind, body in due:
            if self.group[source] != self.group[target]:
                continue
            if target == 0:
                self._at_witness(source, kind, body)
                continue
            node = self.nodes[target - 1]
            if node.up and self.now < node.stalled_until:
                self.pool.append((node.stalled_until, source, target, kind, body))
            elif node.up:
                self._stall_seen(node)
                getattr(self, f"_on_{kind}")(node, source, *body)

    # A node.

    def _stall_seen(self, node: Member) -> None:
        gap, node.last_run = self.now - node.last_run, self.now
        if gap > STALL_SEEN:
            node.health = min(8, node.health + 1)
            node.support.clear()
            node.witness_until = 0
            for peer in node.heard:
                node.heard[peer] = self.now

    def _node(self, node: Member) -> None:
        self._stall_seen(node)
        if self.now % BEAT == node.id % BEAT:
            node.health = max(0, node.health - (self.rng.random() < 0.2))
            tag = node.view if node.pending == NONE else NONE
            for peer in self.ids - {node.id}:
                self._send(node.id, peer, "beat", self.now, tag, node.sent_by.get(peer, -1), node.highest)
        self._propose(node)
        self._ask_witness(node)
        self._lead(node)

    def _alive(self, node: Member) -> frozenset[int]:
        patience = DEADTIME * (3 + min(node.health, 3)) // 3
        return frozenset(p for p, at in node.heard.items() if self.now - at <= patience) | {node.id}

    def _on_beat(self, node: Member, peer: int, sent: int, tag: View, echo: int, highest: int) -> None:
        node.highest = max(node.highest, highest)
        node.sent_by[peer] = max(sent, node.sent_by.get(peer, -1))
        node.owed[peer] = self.now  # our echo of it is support, whether it hears us or not
        if echo < 0 or self.now - echo > DEADTIME:
            return
        node.heard[peer] = self.now
        if node.view != NONE and tag == node.view and peer in node.members:
            since = echo if "echo" in self.rules else self.now + DEADTIME
            node.support[peer] = max(node.support.get(peer, 0), since + LEASE)

    # Views.

    def _propose(self, node: Member) -> None:
        if node.proposal is not None and self.now - node.proposed_at > 6:
            node.proposal = None
            node.proposed_at = self.now + self.rng.randint(0, 4)
        alive = self._alive(node)
        stale = node.pending != NONE and self.now - node.proposed_at > 12
        if node.proposal is not None or self.now < node.proposed_at or min(alive) != node.id:
            return
        if alive == node.members and not stale:
            return
        node.highest = max(node.highest, node.promised) + 1
        view = (node.highest, node.id)
        node.proposal, node.proposed_at = (view, alive), self.now
        node.accepts = {node.id: self._promise(node, view, alive)}
        for peer in alive - {node.id}:
            self._send(node.id, peer, "propose", view, alive)
        self._try_install(node)

    def _promise(self, node: Member, view: View, members: frozenset[int]) -> int:
        """Returns how long those left out may still rest on us."""
        node.promised, node.pending = view[0], view
        node.highest = max(node.highest, view[0])
        node.spoken = max(node.spoken, view[0])
        owed = [at + LEASE - self.now for peer, at in node.owed.items() if peer not in members]
        return max([0, node.hold_until - self.now, *owed])

    def _on_propose(self, node: Member, source: int, view: View, members: frozenset[int]) -> None:
        node.highest = max(node.highest, view[0])
        if view[0] > node.promised and node.id in members and members <= self._alive(node):
            node.proposal = None
            node.proposed_at = self.now
            self._send(node.id, source, "accept", view, self._promise(node, view, members))

    def _on_accept(self, node: Member, source: int, view: View, rest: int) -> None:
        if node.proposal is not None and node.proposal[0] == view:
            node.accepts[source] = rest
            self._try_install(node)

    def _try_install(self, node: Member) -> None:
        assert node.proposal is not None
        view, members = node.proposal
        if set(node.accepts) >= members and node.promised == view[0]:
            rest = max(node.accepts.values()) if "hold" in self.rules else 0
            for peer in members - {node.id}:
                self._send(node.id, peer, "install", view, members, rest)
            node.proposal = None
            self._on_install(node, node.id, view, members, rest)

    def _on_install(self, node: Member, _source: int, view: View, members: frozenset[int], rest: int) -> None:
        if node.pending != view:
            return
        if view <= self.last_view.get(node.id, NONE):
            raise Violation(f"V1: node {node.id} went from {self.last_view[node.id]} to {view}")
        if self.views.setdefault(view, members) != members:
            raise Violation(f"V2: {view} is {sorted(members)} and {sorted(self.views[view])}")
        self.last_view[node.id] = view
        self._count("views")
        node.view, node.members, node.pending = view, members, NONE
        node.hold_until = self.now + rest
        node.support, node.witness_until, node.stored = {}, 0, {}

    # Authority.

    def _votes(self, node: Member) -> tuple[int, bool]:
        """Votes that are certain at this moment, and whether the witness's is among them."""
        stretch = 0 if "no-stretch" in self.rules else LEASE * min(node.health, 3) // 3
        own = 1 + sum(until + stretch > self.now for until in node.support.values())
        witness = self.witness is not None and node.witness_until > self.now
        return own, witness

    def _quorate(self, node: Member) -> bool:
        if not node.up or node.view == NONE or self.now < node.hold_until or self.now < node.stalled_until:
            return False
        if self.now - node.last_run > STALL_SEEN:
            return False  # it will see that it was stopped before it does anything
        own, witness = self._votes(node)
        return 2 * (own + witness) > self.total

    def _check(self) -> None:
        acting = [node for node in self.nodes if self._quorate(node)]
        for one in acting:
            for other in acting:
                if one.view < other.view and one.id not in other.members:
                    raise Violation(
                        f"I14: {one.id} acts in {one.view}, {other.id} in {other.view} without it"
                    )

    # The witness.

    def _ask_witness(self, node: Member) -> None:
        if self.witness is None or node.view == NONE or node.pending != NONE:
            return
        if self.now % BEAT == node.id % BEAT and self.now >= node.hold_until:
            self._send(node.id, 0, "ask", node.view, node.members, self.now)

    def _at_witness(self, source: int, kind: str, body: tuple[object, ...]) -> None:
        state = self.witness
        assert state is not None
        if kind == "sync":
            view, smaller = body
            if view == state.last:
                state.in_sync = smaller  # type: ignore[assignment]
                self._send(0, source, "synced", view, smaller)
            return
        view, members, sent = body
        assert isinstance(view, tuple)
        assert isinstance(members, frozenset)
        for n, (other, at) in state.renewed.items():
            gone_on = n in members and (other < view or "witness-view" not in self.rules)
            resting = other != view and not gone_on and self.now - at < WITNESS_LEASE
            if resting and "witness-wait" in self.rules:
                return
        if view != state.last:
            if "in-sync" in self.rules and not members & state.in_sync:
                return
            state.last = view
            self._count("grants")
        state.renewed[source] = (view, self.now)
        self._send(0, source, "granted", view, sent)

    def _on_granted(self, node: Member, _source: int, view: View, sent: int) -> None:
        if view == node.view and node.pending == NONE:
            node.witness_until = max(node.witness_until, sent + WITNESS_SUPPORT)

    # The log: who may commit has everything that was committed.

    def _lead(self, node: Member) -> None:
        """The member with the best log leads, elected by all of its view in one step."""
        if not self._quorate(node) or self.rng.random() > 0.1:
            return
        members = [self.nodes[n - 1] for n in sorted(node.members)]
        if not all(m.up and m.view == node.view and self.now >= m.stalled_until for m in members):
            return
        if any(self.group[m.id] != self.group[node.id] for m in members):
            return
        if max(members, key=lambda m: (m.rank(), -m.id)) is not node:
            return
        if not all(entry in node.log for entry in self.committed):
            raise Violation(
                f"I7: {node.id} leads {node.view} without {len(self.committed)} committed entries"
            )
        self.value += 1
        node.log.append((node.view, self.value))
        self._count("entries")
        node.stored = {node.id: len(node.log)}
        for peer in members:
            if peer is not node and self.rng.random() < 0.7:
                peer.log = list(node.log)
                node.stored[peer.id] = len(node.log)
        self._commit(node)

    def _commit(self, node: Member) -> None:
        stores = frozenset(n for n, length in node.stored.items() if length == len(node.log))
        own, witness = len(stores), self._votes(node)[1]
        if 2 * own <= self.total and witness and self.witness is not None:
            known = self.witness.in_sync
            if "store-all" in self.rules and not known <= stores:
                self._send(node.id, 0, "sync", node.view, stores)
                return
            own += 1
        if 2 * own > self.total:
            self.committed = list(node.log)
            self._count("commits")

    def _on_synced(self, node: Member, _source: int, view: View, smaller: frozenset[int]) -> None:
        if view == node.view and self._quorate(node) and node.log:
            stores = frozenset(n for n, length in node.stored.items() if length == len(node.log))
            if smaller <= stores:
                self._commit(node)


def explore(nodes: int, seconds: float, without: str = "", *, first: int = 1, ticks: int = 1_500) -> str:
    """Runs until the time is over. Raises Violation with the seed in front."""
    rules = set(RULES) - {without}
    began, seed, totals = time.process_time(), first, {}  # type: tuple[float, int, dict[str, int]]
    while time.process_time() - began < seconds:
        world = Explorer(
            seed, nodes, rules, witness=bool(seed % 2) or without.startswith(("wit", "in", "sto"))
        )
        try:
            world.run(ticks)
        except Violation as violation:
            raise Violation(f"seed {seed}: {violation}") from None
        for what, count in world.counts.items():
            totals[what] = totals.get(what, 0) + count
        seed += 1
    return f"{nodes} nodes: {seed - first} runs of {ticks} ticks, {dict(sorted(totals.items()))}"
