"""A random explorer of the log's rules while the voters change, before and beside their code.

`python -m tests.sim explore --log [--nodes N] [--seconds S] [--without RULE]`. Not the product's cores: the
protocol's rules written down a second time, as small as they can be (cluster-protocol.md 8, 9.3 to 9.6), with
no views at all: messages come in any order, late, twice or never; nodes restart, lose their disks (never so
many that a quorum of any set of voters has lost its memory), and are fenced. What is checked:

- a term has one DC;
- an entry that was committed never changes: it is in the log of every later commit.

`--without` leaves one rule out. SHOWN names those that some seconds find out; the others were kept where an
argument needs them, though no run has shown it yet.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.sim.explorer import Violation

RULES = {
    "joint": "the old and the new voters agree while a change is under way",
    "change-committed": "the next change begins when the one before is committed",
    "own-term": "entries of older terms are committed only under one of this term",
    "rank": "nobody votes for an older log than its own",
    "term": "who has promised a term takes nothing of an older one",
    "blank": "who has lost its memory neither votes nor counts as a store",
    "learner": "who has no vote may get one when an entry of the term is committed without it",
    "all-others": "a voter without a memory counts again when all others have an entry of this term",
    "since": "both of these are entries made after the DC has seen this run of the node",
    "run": "the leave to count again is for one run of a daemon",
    "right": "a survivor of two needs the solo right",
    "boot": "an append is for one boot of its receiver",
    "newer-boot": "a newer boot of the other voids what confirmed it off",
}

SHOWN = ("blank", "change-committed", "joint", "rank", "right", "term")

Term = tuple[int, int]
NO_TERM: Term = (0, 0)
Voters = frozenset[int]


@dataclass(frozen=True, slots=True)
class Entry:
    """`now` (and `next`) when it changes the voters."""

    term: Term
    value: int
    now: Voters | None = None
    next: Voters | None = None


@dataclass(slots=True)
class Known:
    """What a DC knows of another node's run."""

    run: int
    since: int  # so long was the DC's log when it saw this run
    stored: int = 0
    counts: bool = False


@dataclass(slots=True)
class Member:
    """One node. `promised`, `log` and `memory` are on its disk, `right` lasts until its next boot."""

    id: int
    log: list[Entry]
    up: bool = True
    boot: int = 1
    run: int = 1
    promised: Term = NO_TERM
    memory: bool = True
    right: int = 0  # the other's boot with which a commit was shared
    off: tuple[int, int] = (0, 0)  # who is confirmed off, in which boot
    boots: dict[int, int] = field(default_factory=dict)
    leads: bool = False
    ballot: Term = NO_TERM
    votes: set[int] = field(default_factory=set)
    blanks: set[int] = field(default_factory=set)  # granted without a memory
    known: dict[int, Known] = field(default_factory=dict)
    barrier: int = 0
    committed: int = 0

    def voters(self, length: int | None = None) -> tuple[Entry, int]:
        """The change in force after so many entries, and how many there are with it."""
        for at in range(len(self.log) if length is None else length, 0, -1):
            if self.log[at - 1].now is not None:
                return self.log[at - 1], at
        raise AssertionError("a log begins with its voters")

    def rank(self) -> tuple[Term, int]:
        return self.log[-1].term, len(self.log)

    def restart(self) -> None:
        self.run += 1
        self.leads, self.ballot, self.votes, self.known = False, NO_TERM, set(), {}
        self.barrier = self.committed = 0


def majority(voters: Voters, nodes: set[int]) -> bool:
    return 2 * len(voters & nodes) > len(voters)


class LogExplorer:
    """One run."""

    member: type[Member] = Member
    rules_known: Mapping[str, str] = RULES

    def __init__(self, seed: int, nodes: int, rules: set[str]) -> None:
        self.rng = random.Random(seed)
        self.rules = rules
        self.ids = list(range(1, nodes + 1))
        count = self.rng.randint(min(2, nodes), nodes)
        first = Entry((0, 1), 0, frozenset(self.rng.sample(self.ids, count)))
        assert first.now is not None
        self.nodes = {one: self.member(one, [first], memory=one in first.now) for one in self.ids}
        self.side = dict.fromkeys(self.ids, 0)
        self.pool: list[tuple[int, int, str, tuple[Any, ...]]] = []
        self.won: dict[Term, int] = {}
        self.final: list[Entry] = [first]
        self.counts: dict[str, int] = {}
        self.value = 0
        self.blank = not self.rng.randrange(2)  # whether this run loses disks (or fences)

    def acts(self) -> tuple[tuple[Callable[[Member], None], int], ...]:
        """What may happen next, and how often."""
        return (
            (self._deliver, 400),
            (self._replicate, 90),
            (self._campaign, 6),
            (self._write, 20),
            (self._change, 40),
            (self._crash, 3),
            (self._part, 3),
            (self._wipe if self.blank else self._fence, 2 if self.blank else 4),
            (self._meet, 10),
            (self._start, 10),
        )

    def run(self, steps: int) -> None:
        acts = self.acts()
        chosen, weights = [act for act, _ in acts], [weight for _, weight in acts]
        for act in self.rng.choices(chosen, weights, k=steps):
            act(self.nodes[self.rng.choice(self.ids)])
            del self.pool[:-80]

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # The world.

    def _send(self, source: Member, target: int, kind: str, *body: object) -> None:
        for _ in range(self.rng.choice((0, 1, 1, 1, 1, 1, 1, 2))):
            self.pool.append((source.id, target, kind, body))

    def _deliver(self, _: Member) -> None:
        if not self.pool:
            return
        source, target, kind, body = self.pool.pop(self.rng.randrange(len(self.pool)))
        if self.side[source] == self.side[target]:
            self._arrive(source, target, kind, body)

    def _arrive(self, source: int, target: int, kind: str, body: tuple[Any, ...]) -> None:
        node = self.nodes[target]
        if node.up:
            getattr(self, f"_on_{kind}")(node, source, *body)

    def _part(self, _: Member) -> None:
        split = self.rng.random() < 0.5
        self.side = {one: self.rng.randrange(2) if split else 0 for one in self.ids}

    def _crash(self, node: Member) -> None:
        """The daemon alone, or the machine."""
        if self.rng.random() < 0.5:
            node.restart()
        else:
            node.up = False

    def _start(self, node: Member) -> None:
        if not node.up:
            node.up = True
            node.boot += 1
            node.right, node.off = 0, (0, 0)
            node.restart()

    def _wipe(self, node: Member) -> None:
        """A disk is lost, unless too many were."""
        lost = {other.id for other in self.nodes.values() if not other.memory} | {node.id}
        for other in self.nodes.values():
            entry, _ = other.voters()
            for half in (entry.now, entry.next):
                if half is not None and self._are_too_many(half, lost):
                    return
        node.log, node.promised, node.memory = node.log[:1], NO_TERM, False
        self._count("wiped")
        if self.rng.random() < 0.5:
            node.restart()
        else:
            node.up = False

    def _are_too_many(self, half: Voters, lost: set[int]) -> bool:
        return len(half & lost) > max((len(half) - 1) // 2, len(half) == 2)

    def _meet(self, node: Member) -> None:
        """Who is on one side learns of the others' boots; a newer one voids a confirmation."""
        if not node.up:
            return
        for other in self.nodes.values():
            if other.up and other is not node and self.side[other.id] == self.side[node.id]:
                self._saw(node, other.id, other.boot)

    def _saw(self, node: Member, other: int, boot: int) -> None:
        node.boots[other] = max(boot, node.boots.get(other, 0))
        if "newer-boot" in self.rules and node.off[0] == other and node.off[1] < boot:
            node.off = (0, 0)

    # Two voters.

    def _other(self, node: Member) -> int:
        """With two voters of which this is one: the other."""
        now = node.voters()[0].now
        assert now is not None
        return next(iter(now - {node.id})) if len(now) == 2 and node.id in now else 0

    def _alone(self, node: Member) -> int:
        """The other of two, when this node may go on without it."""
        other = self._other(node)
        if not other or node.off[0] != other:
            return 0
        return other if node.right == node.off[1] or "right" not in self.rules else 0

    def _fence(self, node: Member) -> None:
        other = self._other(node)
        if not node.up or not other:
            return
        peer = self.nodes[other]
        if self.side[other] == self.side[node.id] and peer.up:
            return
        peer.up = False
        node.off = (other, peer.boot)
        self._count("fenced")

    # The election.

    def _campaign(self, node: Member) -> None:
        if not node.up or not node.memory:
            return
        node.promised = node.ballot = (node.promised[0] + 1, node.id)
        node.leads, node.votes, node.known = False, {node.id}, {}
        node.blanks = set()
        for other in self.ids:
            if other != node.id:
                self._send(node, other, "ask", node.ballot, node.rank(), node.boots.get(other, 1))
        self._try_win(node)

    def _on_ask(self, node: Member, source: int, term: Term, rank: tuple[Term, int], boot: int) -> None:
        if boot != node.boot and "boot" in self.rules:
            return
        if term > node.promised and (rank >= node.rank() or "rank" not in self.rules):
            node.promised, node.leads, node.ballot = term, False, NO_TERM
            self._send(node, source, "vote", term, node.memory or "blank" not in self.rules, node.boot)

    def _on_vote(self, node: Member, source: int, term: Term, counts: bool, boot: int) -> None:
        self._saw(node, source, boot)
        if node.ballot == term == node.promised:
            (node.votes if counts else node.blanks).add(source)
            self._try_win(node)

    def _halves(self, entry: Entry) -> list[Voters]:
        assert entry.now is not None
        if entry.next is None:
            return [entry.now]
        return [entry.now, entry.next] if "joint" in self.rules else [entry.next]

    def _agreed(self, node: Member, entry: Entry, counted: set[int], blanks: set[int]) -> bool:
        """Half by half; of two voters a blank one is counted, and one that is off is not needed."""
        for half in self._halves(entry):
            two = len(half) == 2 and node.id in half
            alone = self._alone(node) if two and half == entry.now else 0
            got = counted | (blanks if two else set()) | ({alone} if alone in half else set())
            if not majority(half, got):
                return False
        return True

    def _try_win(self, node: Member) -> None:
        if node.leads or not self._agreed(node, node.voters()[0], node.votes, node.blanks):
            return
        if self.won.setdefault(node.ballot, node.id) != node.id:
            raise Violation(f"I4: {self.won[node.ballot]} and {node.id} are DC of {node.ballot}")
        node.leads = True
        node.committed = 0
        self._append(node)
        node.barrier = len(node.log)
        self._count("won")

    # The log.

    def _append(self, node: Member, now: Voters | None = None, change: Voters | None = None) -> None:
        self.value += 1
        node.log = [*node.log, Entry(node.ballot, self.value, now, change)]
        self._advance(node)

    def _write(self, node: Member) -> None:
        if node.up and node.leads:
            self._append(node)

    def _change(self, node: Member) -> None:
        """Begin a change of voters, or end one."""
        if not node.up or not node.leads:
            return
        entry, at = node.voters()
        assert entry.now is not None
        if node.committed < at and "change-committed" in self.rules:
            return
        if entry.next is not None:
            self._append(node, entry.next)
            self._count("changed")
        elif node.committed >= node.barrier:
            here = [one for one, known in node.known.items() if known.counts] + [node.id]
            new = frozenset(one for one in self.ids if one in entry.now and self.rng.random() < 0.7)
            new |= frozenset(one for one in sorted(here) if self.rng.random() < 0.4)
            if new and new != entry.now:
                self._append(node, entry.now, new)

    def _replicate(self, node: Member) -> None:
        if not node.up or not node.leads:
            return
        for other in self.ids:
            if other != node.id:
                known = node.known.get(other)
                again = known is not None and self._counts_again(node, other, known)
                self._send(
                    node,
                    other,
                    "append",
                    node.ballot,
                    tuple(node.log),
                    node.committed,
                    (node.boots.get(other, 1), known.run if known is not None and again else 0, node.boot),
                )

    def _counts_again(self, node: Member, other: int, known: Known) -> bool:
        """Whether a node without a memory may be counted from now on."""
        entry, _ = node.voters()
        assert entry.now is not None
        after = max(node.barrier, known.since + 1 if "since" in self.rules else 0)
        if other not in entry.now | (entry.next or frozenset()):
            held = node.committed >= after and entry.next is None
            return known.stored >= after and (held or "learner" not in self.rules)
        others = (entry.now | (entry.next or frozenset())) - {other, node.id}
        stored = {one for one in node.known if node.known[one].stored >= after}
        return other in stored and (others <= stored or "all-others" not in self.rules)

    def _on_append(
        self,
        node: Member,
        source: int,
        term: Term,
        log: tuple[Entry, ...],
        committed: int,
        whom: tuple[int, int, int],
    ) -> None:
        boot, run, sender_boot = whom
        if boot != node.boot and "boot" in self.rules:
            self._send(node, source, "boot", node.boot)
            return
        if term < node.promised and "term" in self.rules:
            return
        node.promised, node.leads, node.ballot = max(term, node.promised), False, NO_TERM
        self._saw(node, source, sender_boot)
        same = 0
        while same < min(len(log), len(node.log)) and log[same] == node.log[same]:
            same += 1
        if same < len(log):
            node.log = list(log)
        if run == node.run or (run and "run" not in self.rules):
            node.memory = True
        if committed and committed <= len(log) and log[committed - 1].term == term:
            entry, at = node.voters(committed)
            if entry.next is None and at <= committed and len(node.voters()[0].now or ()) == 2:
                node.right = sender_boot if self._other(node) == source else node.right
        self._send(node, source, "stored", term, len(log), (node.run, node.boot), node.memory)

    def _on_boot(self, node: Member, source: int, boot: int) -> None:
        self._saw(node, source, boot)

    def _on_stored(
        self, node: Member, source: int, term: Term, length: int, run: tuple[int, int], counts: bool
    ) -> None:
        self._saw(node, source, run[1])
        if not node.leads or node.ballot != term:
            return
        known = node.known.get(source)
        if known is None or known.run < run[0]:
            known = node.known[source] = Known(run[0], len(node.log))
        if known.run == run[0]:
            known.stored = max(known.stored, length)
            known.counts = known.counts or counts or "blank" not in self.rules
        self._advance(node)

    def _stores(self, node: Member, length: int) -> tuple[set[int], set[int]]:
        here = {one: known for one, known in node.known.items() if known.stored >= length}
        stores = {node.id, *(one for one, known in here.items() if known.counts)}
        return stores, {one for one, known in here.items() if not known.counts}

    def _advance(self, node: Member) -> None:
        for length in range(len(node.log), node.committed, -1):
            if node.log[length - 1].term != node.ballot and "own-term" in self.rules:
                return
            entry, _ = node.voters(length)
            stores, blanks = self._stores(node, length)
            if self._agreed(node, entry, stores, blanks):
                self._commit(node, length, entry, stores)
                return

    def _commit(self, node: Member, length: int, entry: Entry, stores: set[int]) -> None:
        node.committed = length
        common = min(length, len(self.final))
        if node.log[:common] != self.final[:common]:
            raise Violation(f"I7: {node.id} commits {length} entries that are others in term {node.ballot}")
        if length > len(self.final):
            self.final = node.log[:length]
            self._count("commits")
        other = self._other(node)
        if other and entry.next is None and other in stores:
            node.right = node.boots.get(other, 1)
        if entry.now == frozenset({node.id}):
            self._count("alone")


def explore(
    nodes: int,
    seconds: float,
    without: str = "",
    *,
    first: int = 1,
    steps: int = 1_200,
    kind: type[LogExplorer] = LogExplorer,
) -> str:
    """Runs until the time is over. Raises Violation with the seed in front."""
    rules = set(kind.rules_known) - {without}
    began, seed, totals = time.process_time(), first, {}  # type: tuple[float, int, dict[str, int]]
    while time.process_time() - began < seconds:
        world = kind(seed, nodes, rules)
        try:
            world.run(steps)
        except Violation as violation:
            raise Violation(f"seed {seed}: {violation}") from None
        for what, count in world.counts.items():
            totals[what] = totals.get(what, 0) + count
        seed += 1
    return f"{nodes} nodes: {seed - first} runs of {steps} steps, {dict(sorted(totals.items()))}"
