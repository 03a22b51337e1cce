"""The witness on a shared disk, explored: the real core, records that are written and read copy by copy.

`python -m tests.sim explore [--seconds S] [--without RULE]`. Two to four nodes; views split and merge; a
node's disk is slow, out of reach, or tears the write during which its node dies; nodes stall and start anew.
At no time may two nodes count on the witness in different views; once faults end all get its vote soon.
`--without` leaves a rule out; each must be found out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace

from hacluster.vocabulary.ids import NO_VIEW, NodeId, ViewId
from messaging.witness import ballot as product
from messaging.witness.ballot import DiskWitness, Exchange, Exchanged, ExchangeFailed
from messaging.witness.blocks import Block
from messaging.witness.core import SUPPORT_PERCENT, Answer, Asked, Released, SyncChanged

TICK_NS = 1_000_000
LEASE_MS = 40
BEAT = 4
GATHERS_NS = (1, 8 * TICK_NS)

RULES = {
    "read-after-ballot": "whether a view may be granted is judged again on what was read after the ballot",
    "overtaken": "a state does not count when a higher ballot is seen after it was written",
    "blocking": "nobody rests on a state that somebody has begun to change",
    "two-copies": "a record is written twice",
    "wait": "a rest that stands still is waited for",
}


class Violation(AssertionError):
    """A rule is not enough."""


class Mutant(DiskWitness):
    """The real one, without a rule."""

    rule = ""

    def _overtaken(self) -> bool:
        return False if self.rule == "overtaken" else super()._overtaken()

    def _say(self, event: Asked | SyncChanged, now_ns: int) -> list[product.Effect]:
        if self.rule == "read-after-ballot" and isinstance(event, Asked):
            return self._said_blindly(event, now_ns)
        return super()._say(event, now_ns)

    def _said_blindly(self, event: Asked, now_ns: int) -> list[product.Effect]:
        kept, self._rests = self._rests, {}
        try:
            return super()._say(event, now_ns)
        finally:
            self._rests = kept

    def _renewed(self, asked: Asked, now_ns: int) -> list[product.Effect]:
        if self.rule == "blocking":
            self._blocks = {
                node: replace(block, ballot=block.accepted) for node, block in self._blocks.items()
            }
        return super()._renewed(asked, now_ns)

    def _observe(self, now_ns: int) -> None:
        super()._observe(now_ns)
        if self.rule == "wait":
            self._rests.clear()


class Disk:
    """Two copies of each node's record; None: torn."""

    def __init__(self, nodes: list[int]) -> None:
        self.copies: dict[int, list[Block | None]] = {node: [Block(), Block()] for node in nodes}

    def newest(self, node: int) -> Block | None:
        whole = [copy for copy in self.copies[node] if copy is not None]
        return max(whole, key=lambda block: block.serial) if whole else None


class Machine:
    """One node: its view by the world's will, its core, its exchange under way."""

    def __init__(self, world: World, node: int) -> None:
        self.world, self.node = world, node
        self.view, self.members = NO_VIEW, ()  # type: tuple[ViewId, tuple[int, ...]]
        self.up, self.reach, self.stalled_until, self.asked_at = True, True, 0, 0
        self.until, self.counts_in = 0, NO_VIEW
        self.core = self._fresh()
        self.steps: Iterator[None] | None = None
        self.inbox: list[Exchanged | ExchangeFailed] = []

    def _fresh(self) -> DiskWitness:
        core = Mutant(self.node, cluster=b"c" * 16, boot=bytes(32), gather_ns=self.world.gather_ns)
        core.rule = self.world.rule
        return core

    def die(self) -> None:
        self.up, self.steps, self.inbox = False, None, []
        self.until, self.counts_in, self.view = 0, NO_VIEW, NO_VIEW
        if self.world.writing.pop(self.node, None) is not None:
            self.world.tear(self.node)

    def boot(self) -> None:
        self.up, self.core = True, self._fresh()

    def run(self) -> None:
        """One step of whatever it is at."""
        now = self.world.now
        if now < self.stalled_until:
            return
        if self.steps is not None:
            if next(self.steps, "over") == "over":
                self.steps = None
        elif self.inbox:
            self._act(self.core.handle(self.inbox.pop(0), now * TICK_NS))
        elif self.view != NO_VIEW and now % BEAT == self.node % BEAT and self.core.idle:
            self.asked_at = now
            ask = Asked(
                node=self.node,
                nonce=now,
                view=self.view,
                members=self.members,
                voters=self.members if self.world.eager else tuple(self.world.ids),
                config_index=0,
                lease_ms=LEASE_MS,
            )
            self._act(self.core.handle(ask, now * TICK_NS))

    def installed(self, view: ViewId, members: tuple[int, ...]) -> None:
        self.view, self.members = view, members
        self.until, self.counts_in = 0, NO_VIEW

    def leave(self) -> None:
        """In order: says that it does not count on it any more."""
        if self.core.idle and self.steps is None and not self.inbox:
            self.until, view = 0, self.view
            self.view, self.counts_in = NO_VIEW, NO_VIEW
            self._act(self.core.handle(Released(node=self.node, view=view), self.world.now * TICK_NS))

    def _act(self, effects: list[product.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Exchange):
                self.steps = self._exchange(effect.write)
            elif isinstance(effect, Answer):
                self._answered(effect)

    def _answered(self, answer: Answer) -> None:
        self.world.count("granted" if answer.granted else "refused")
        if answer.granted and answer.view == self.view and answer.nonce == self.asked_at:
            self.counts_in = self.view
            self.until = max(self.until, self.asked_at + LEASE_MS * SUPPORT_PERCENT // 100)

    def _exchange(self, block: Block | None) -> Iterator[None]:
        """The disk's own pace; between any two steps others do theirs."""
        world = self.world
        for copy in range(2 if block is not None else 0):
            yield from self._delay()
            if not self.reach:
                self.inbox.append(ExchangeFailed(reason="EIO"))
                return
            if world.rule == "two-copies":
                world.disk.copies[self.node] = [block, block]
                copy = 0
            world.writing[self.node] = copy
            yield
            world.writing.pop(self.node, None)
            world.disk.copies[self.node][copy] = block
        found: dict[int, Block | None] = {}
        for node in world.rng.sample(world.ids, len(world.ids)):
            yield from self._delay()
            if not self.reach:
                self.inbox.append(ExchangeFailed(reason="EIO"))
                return
            found[node] = world.disk.newest(node)
        yield from self._delay()
        self.inbox.append(Exchanged(blocks=found))

    def _delay(self) -> Iterator[None]:
        rng = self.world.rng
        slow = not self.world.calm and rng.random() < 0.05
        pace = 3 if self.world.calm else self.world.pace
        for _ in range(60 if slow else rng.randint(1, pace) if rng.random() < 0.4 else 0):
            yield


class World:
    """One run."""

    def __init__(self, seed: int, rule: str) -> None:
        self.rng, self.rule, self.now = random.Random(seed), rule, 0
        self.ids = list(range(1, self.rng.choice([2, 2, 3, 4]) + 1))
        self.gather_ns, self.pace = self.rng.choice(GATHERS_NS), self.rng.choice([3, 3, 20])
        self.eager = self.rng.random() < 0.5  # nobody waits whether another half asks: ballots alone decide
        self.disk, self.writing = Disk(self.ids), {}  # type: Disk, dict[int, int]
        self.counts: dict[str, int] = {}
        self.machines = {node: Machine(self, node) for node in self.ids}
        self.counter, self.calm = 0, False
        self.installs: list[tuple[int, int, ViewId, tuple[int, ...]]] = []

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def tear(self, node: int) -> None:
        self.count("torn")
        copies = self.disk.copies[node]
        copies[self.rng.randrange(2) if self.rule == "two-copies" else self._torn(node)] = None
        if self.rule == "two-copies":
            self.disk.copies[node] = [None, None]

    def _torn(self, node: int) -> int:
        """The copy that was being written: the older one."""
        first, second = (copy.serial if copy is not None else -1 for copy in self.disk.copies[node])
        return 0 if first <= second else 1

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now += 1
            self._faults()
            for _, node, view, members in [one for one in self.installs if one[0] <= self.now]:
                machine = self.machines[node]
                if machine.up and view > machine.view:
                    machine.installed(view, members)
            self.installs = [one for one in self.installs if one[0] > self.now]
            for node in self.rng.sample(self.ids, len(self.ids)):
                if self.machines[node].up and self.rng.random() < 0.9:
                    self.machines[node].run()
                self._check()
        self._settle()

    def _faults(self) -> None:
        rng = self.rng
        if rng.random() < 0.02:
            self._views()
        machine = self.machines[rng.choice(self.ids)]
        if rng.random() < 0.004 and machine.up:
            machine.die()
            self.count("deaths")
        if rng.random() < 0.02 and not machine.up:
            machine.boot()
        if rng.random() < 0.004:
            machine.reach = not machine.reach
        if rng.random() < 0.03:
            machine.reach = True
        if rng.random() < 0.004:
            machine.stalled_until = self.now + rng.choice([5, 20, 50, 90])
        if rng.random() < 0.002 and machine.up:
            machine.leave()

    def _views(self) -> None:
        """Some nodes agree on a new view: who accepts gives its old one up at that moment."""
        up = [node for node in self.ids if self.machines[node].up]
        groups: list[list[int]] = [[], []]
        for node in up:
            groups[self.rng.randrange(2)].append(node)
        for group in groups:
            if group and self.rng.random() < 0.7:
                self.counter += 1
                view, members = ViewId(self.counter, NodeId(group[0])), tuple(group)
                for node in group:
                    self.machines[node].installed(NO_VIEW, ())
                    self.machines[node].view = NO_VIEW
                    self.installs.append((self.now + self.rng.randint(1, 6), node, view, members))

    def _check(self) -> None:
        counting = {m.counts_in for m in self.machines.values() if m.up and m.until > self.now}
        counting.discard(NO_VIEW)
        if len(counting) > 1:
            raise Violation(f"the witness counts in {' and '.join(map(str, sorted(counting, key=str)))}")

    def _settle(self) -> None:
        """Faults end: the nodes in one view have the vote soon."""
        self.calm = True
        self.installs.clear()
        for machine in self.machines.values():
            machine.reach, machine.stalled_until = True, 0
            if not machine.up:
                machine.boot()
        self.counter += 1
        view = ViewId(self.counter, NodeId(1))
        for machine in self.machines.values():
            machine.installed(view, tuple(self.ids))
        for _ in range(8 * LEASE_MS + 200):
            self.now += 1
            for node in self.rng.sample(self.ids, len(self.ids)):
                self.machines[node].run()
            self._check()
            if all(m.until > self.now for m in self.machines.values()):
                self.count("settled")
                return
        if self.rule != "two-copies":
            raise Violation("whole again, and the witness's vote is not given")
        raise Violation("a torn record is in everybody's way")


def explore(seconds: float, without: str = "", *, first: int = 1, ticks: int = 1_200) -> str:
    """Runs until the time is over. Raises Violation with the seed in front."""
    began, seed, totals = time.process_time(), first, {}  # type: tuple[float, int, dict[str, int]]
    while time.process_time() - began < seconds:
        world = World(seed, without)
        try:
            world.run(ticks)
        except Violation as violation:
            raise Violation(f"seed {seed}: {violation}") from None
        for what, count in world.counts.items():
            totals[what] = totals.get(what, 0) + count
        seed += 1
    return f"the disk: {seed - first} runs of {ticks} ticks, {dict(sorted(totals.items()))}"
