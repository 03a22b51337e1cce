"""The base of the simulator: virtual time, processes around pure cores, disks that lose what was not synced.

A `World` owns one event heap ordered by (time, tie, serial), the tie drawn from the seed, so that
simultaneous events are permuted between seeds and never within one. A `Process` wraps one core: it keeps its
timers, its clock with a rate error, holds what follows a persist until the disk has it, and can be crashed
(also between any two effects), restarted and paused. What a core's effects mean a subclass says (`apply`).
Same seed, same `trace_hash`.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from mypy_extensions import mypyc_attr

MS = 1_000_000
SECOND = 1_000 * MS
START_NS = 1_000 * SECOND
TRACE_KEEP = 400
EVENTS_A_MS_MAX = 20_000
SYNC_NS = (50_000, 1_500_000)

Event = TypeVar("Event")
Effect = TypeVar("Effect")


@mypyc_attr(native_class=False)
class InvariantBroken(AssertionError):
    """A checker's verdict. `invariant` is its number in the protocol ("I14")."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


class Checker(Protocol):
    """One invariant, or a few that share their bookkeeping."""

    def after_event(self, world: World) -> None:
        """Called after every event; raises InvariantBroken."""
        ...

    def settled(self, world: World) -> None:
        """Called once, when faults have ended and the world had time to settle."""
        ...


@dataclass(eq=False, slots=True)
class Scheduled:
    """An entry of the heap; `cancel` makes it nothing."""

    what: str
    action: Callable[[], None] | None

    def cancel(self) -> None:
        self.action = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceLine:
    """One line of what happened, kept for the report of a failure."""

    at_ns: int
    who: str
    what: str


class World:
    """Virtual time and everything that hangs on it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now_ns = START_NS
        self.events = 0
        self.checkers: list[Checker] = []
        self.trace: deque[TraceLine] = deque(maxlen=TRACE_KEEP)
        self.keep_all_trace: list[TraceLine] | None = None
        self.counters: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._ties = self.stream("ties")
        self._serial = 0
        self._ms = self._events_a_ms = 0
        self._heap: list[tuple[int, float, int, Scheduled]] = []
        self._hash = hashlib.blake2b(digest_size=16)

    def stream(self, name: str) -> random.Random:
        """A random stream of its own for each user, so that one more draw here changes nothing there."""
        return random.Random(f"{self.seed}/{name}")

    def at(self, when_ns: int, what: str, action: Callable[[], None]) -> Scheduled:
        """Run `action` at `when_ns` of world time (at once, if that is past)."""
        scheduled = Scheduled(what, action)
        self._serial += 1
        heapq.heappush(self._heap, (max(when_ns, self.now_ns), self._ties.random(), self._serial, scheduled))
        return scheduled

    def after(self, delay_ns: int, what: str, action: Callable[[], None]) -> Scheduled:
        """Run `action` in `delay_ns`."""
        return self.at(self.now_ns + delay_ns, what, action)

    def run_until(self, until_ns: int) -> None:
        """Run every event up to and including `until_ns`; checkers look after each."""
        heap, pop, update = self._heap, heapq.heappop, self._hash.update
        looking = [checker.after_event for checker in self.checkers]
        while heap and heap[0][0] <= until_ns:
            when_ns, _, _, scheduled = pop(heap)
            action = scheduled.action
            if action is None:
                continue
            if when_ns // MS == self._ms:
                self._no_spinning()
            else:
                self._ms, self._events_a_ms = when_ns // MS, 0
            self.now_ns = when_ns
            self.events += 1
            update(b"%d %s\n" % (when_ns, scheduled.what.encode()))
            action()
            for look in looking:
                look(self)
        self.now_ns = max(self.now_ns, until_ns)

    def _no_spinning(self) -> None:
        """A core that sets timers for the next instant again and again does nothing else for ever (I25)."""
        self._events_a_ms += 1
        if self._events_a_ms > EVENTS_A_MS_MAX:
            what = f"more than {EVENTS_A_MS_MAX} events in one millisecond, the next is {self._heap[:1]}"
            raise InvariantBroken("I25", what)

    def settle(self) -> None:
        """Ask the checkers for their verdict on a world at rest."""
        for checker in self.checkers:
            checker.settled(self)

    def note(self, who: str, what: str) -> None:
        """A line of the trace; part of the trace hash."""
        line = TraceLine(at_ns=self.now_ns, who=who, what=what)
        self.trace.append(line)
        if self.keep_all_trace is not None:
            self.keep_all_trace.append(line)
        self._hash.update(b"%s %s\n" % (who.encode(), what.encode()))
        told = what.partition(" ")[0] if who != "fault" else f"fault {what.partition(' ')[0]}"
        self._told[told] = self._told.get(told, 0) + 1

    @property
    def seen(self) -> dict[str, int]:
        """How often each rare state was there: what was counted, and the first words of what was noted."""
        return {**self._told, **self.counters}

    def count(self, name: str) -> None:
        """Count something rare ("sometimes" counters)."""
        self.counters[name] = self.counters.get(name, 0) + 1

    @property
    def trace_hash(self) -> str:
        """Hexadecimal digest of everything that happened so far."""
        return self._hash.hexdigest()


@dataclass(slots=True)
class Disk:
    """One node's files. A written file is what readers see; only a synced one survives a power cut whole."""

    visible: dict[str, bytes] = field(default_factory=dict)
    durable: dict[str, bytes] = field(default_factory=dict)
    broken: bool = False  # every write fails with EIO
    room_bytes: int | None = None  # what is left: appends stop in the middle, then all fail with ENOSPC
    lies: bool = False  # fsync returns, and has done nothing
    unreliable: bool = False  # has lied, or was wiped: what it was told to keep may be gone
    sync_ns: tuple[int, int] = SYNC_NS
    whole: set[str] = field(default_factory=set)  # files that are replaced by a rename: never torn

    def read(self, name: str) -> bytes | None:
        """The file as a process sees it, or None."""
        return self.visible.get(name)

    def write(self, name: str, data: bytes) -> None:
        """Replace the content; not durable before `sync`."""
        if self.broken:
            raise OSError(errno.EIO, "Input/output error", name)
        if self.room_bytes is not None:
            if len(data) > self.room_bytes:  # the old content is there until the new one is whole
                raise OSError(errno.ENOSPC, "No space left on device", name)
            self.room_bytes -= len(data) - len(self.visible.get(name, b""))
        self.visible[name] = data

    def replace(self, name: str, data: bytes) -> None:
        """By a temporary file and a rename: after a power cut the old content or the new one."""
        self.write(name, data)
        self.whole.add(name)

    def append(self, name: str, data: bytes) -> None:
        """Add to the end; not durable before `sync`. On a full disk as much of it as there is room for."""
        if self.broken:
            raise OSError(errno.EIO, "Input/output error", name)
        fits = len(data) if self.room_bytes is None else min(len(data), self.room_bytes)
        self.visible[name] = self.visible.get(name, b"") + data[:fits]
        if self.room_bytes is not None:
            self.room_bytes -= fits
        if fits < len(data):
            raise OSError(errno.ENOSPC, "No space left on device", name)

    def truncate(self, name: str, size: int) -> None:
        """Cut the end off, which needs no room; not durable before `sync`."""
        if self.broken:
            raise OSError(errno.EIO, "Input/output error", name)
        self.visible[name] = self.visible.get(name, b"")[:size]

    def rename(self, old: str, new: str) -> None:
        """Atomic and, with the directory synced by the caller's `sync(new)`, durable."""
        self.write(new, self.visible.pop(old))

    def remove(self, name: str) -> None:
        """Forget a file at once and for good."""
        self.visible.pop(name, None)
        self.durable.pop(name, None)

    def sync(self, name: str) -> None:
        """fsync: what is visible now survives."""
        if self.broken:
            raise OSError(errno.EIO, "Input/output error", name)
        if name in self.visible and not self.lies:
            self.durable[name] = self.visible[name]

    def power_cut(self, rng: random.Random) -> list[str]:
        """Each unsynced file keeps its old content, its new one, or a torn mixture; which of these."""
        fates = []
        for name in sorted(set(self.visible) | set(self.durable)):
            old, new = self.durable.get(name), self.visible.get(name)
            if old == new:
                continue
            match rng.randrange(3):
                case 0 if old is None:
                    self.visible.pop(name, None)
                    fates.append("lost")
                case 0:
                    self.visible[name] = old or b""
                    fates.append("lost")
                case 1 if new is not None and name not in self.whole:
                    keep = rng.randrange(len(new) + 1)
                    self.visible[name] = new[:keep] + (old or b"")[keep:]
                    fates.append("torn")
                case _:
                    fates.append("kept")
        self.durable = dict(self.visible)
        return fates

    def damage(self, name: str, rng: random.Random) -> None:
        """Flip one bit of a file, on the platter and for readers."""
        data = bytearray(self.visible.get(name, b""))
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            self.visible[name] = self.durable[name] = bytes(data)

    def wipe(self) -> None:
        """A new, empty disk."""
        self.unreliable = True
        self.visible.clear()
        self.durable.clear()


@dataclass(slots=True)
class NodeClock:
    """CLOCK_BOOTTIME of one node: its rate is off by `rate_ppm`, and it can stand still during a pause."""

    world: World
    rate_ppm: int = 0
    _base_world_ns: int = START_NS
    _base_local_ns: int = START_NS

    def now_ns(self) -> int:
        """The node's time."""
        return (
            self._base_local_ns
            + (self.world.now_ns - self._base_world_ns) * (1_000_000 + self.rate_ppm) // 1_000_000
        )

    def world_ns(self, local_ns: int) -> int:
        """When the node's clock will show `local_ns`, rounded up: a timer is never early."""
        ahead = local_ns - self._base_local_ns
        return self._base_world_ns - (-ahead * 1_000_000 // (1_000_000 + self.rate_ppm))

    def stand_still(self, for_ns: int) -> None:
        """Lose `for_ns`: what a paused virtual machine's clock does."""
        self._base_local_ns -= for_ns


class Node:
    """A machine: a disk, a clock, a boot, and processes."""

    def __init__(self, world: World, name: str, *, rate_ppm: int = 0) -> None:
        self.world = world
        self.name = name
        self.disk = Disk()
        self.run = Disk()  # /run: gone at boot
        self.clock = NodeClock(world, rate_ppm)
        self.wall_ahead_s = 0  # of the true time
        self.boots = 0
        self.up = False
        self.absent = False  # never boots: what a shrinker takes out of a run
        self.processes: list[Process[object, object]] = []

    @property
    def boot_token(self) -> str:
        """Names this boot, 64 hexadecimal digits."""
        return hashlib.sha256(f"{self.world.seed}/{self.name}/{self.boots}".encode()).hexdigest()

    def wall_s(self) -> int:
        """What its wall clock shows, whole seconds; it knows no time before 1970."""
        return max(0, self.world.now_ns // SECOND + self.wall_ahead_s)

    def boot(self) -> None:
        """Power on and start every process."""
        assert not self.up, f"{self.name} is up already"
        if self.absent:
            return
        self.boots += 1
        self.run.wipe()
        self.up = True
        self.world.note(self.name, f"boot {self.boots}")
        for process in self.processes:
            process.start()

    def power_cut(self, rng: random.Random) -> None:
        """Everything stops; unsynced writes are lost, kept or torn."""
        if self.up:
            self.world.note(self.name, "power cut")
            self.up = False
            for process in self.processes:
                process.crash()
            for fate in self.disk.power_cut(rng):
                self.world.count(f"unsynced_{fate}")
                if self.disk.lies:
                    self.world.count(f"synced_{fate}")
            self.disk.lies = False

    def pause(self, for_ns: int, *, clock_stands: bool = False) -> None:
        """Stop the whole machine for a while."""
        for process in self.processes:
            process.pause(for_ns)
        if clock_stands:
            self.clock.stand_still(for_ns)


class PersistRequest(Generic[Event]):
    """Replace `file` by `data`, fsync, then hand `done` or `failed` to the core, if they are anything."""

    # No dataclass: mypyc makes none of what is generic.
    def __init__(self, *, file: str, data: bytes, done: Event | None, failed: Event | None) -> None:
        self.file = file
        self.data = data
        self.done = done
        self.failed = failed


@mypyc_attr(allow_interpreted_subclasses=True)
class Process(ABC, Generic[Event, Effect]):
    """One daemon: a core, its timers, its life and death."""

    def __init__(self, node: Node, name: str) -> None:
        self.node = node
        self.world = node.world
        self.name = f"{node.name}/{name}"
        self.alive = False
        self.generation = 0
        self.crash_after: int | None = None  # effects until a crash between two of them
        self.power_cut_for_ns = 0  # power fails while the next write is not yet synced, for so long
        self._paused_until_ns = 0
        self._timers: dict[object, Scheduled] = {}
        self._backlog: list[Event] = []
        self._disk_rng = self.world.stream(f"disk/{self.name}")
        self._syncing: deque[Callable[[], None]] = deque()
        node.processes.append(self)  # type: ignore[arg-type]

    # What a kind of daemon must say of itself.

    @abstractmethod
    def begin(self) -> Sequence[Effect]:
        """Build a new core from disk and return its first effects."""

    @abstractmethod
    def handle(self, event: Event, now_ns: int) -> Sequence[Effect]:
        """Give one event to the core."""

    @abstractmethod
    def apply(self, effect: Effect) -> None:
        """Carry out one effect that does not persist."""

    def persist_of(self, effect: Effect) -> PersistRequest[Event] | None:
        """The disk's part of an effect, for those that have one."""
        return None

    @property
    def disk(self) -> Disk:
        """Where it keeps what has to survive."""
        return self.node.disk

    # Life.

    def start(self) -> None:
        """A new run of the daemon; nothing when it lives, or when the node is off.

        One that cannot write what it has to write at first ends, and its supervisor tries again.
        """
        if self.alive or not self.node.up:
            return
        self.alive = True
        self.generation += 1
        self._paused_until_ns = 0
        self._syncing.clear()
        self.world.note(self.name, f"start {self.generation}")
        try:
            effects = list(self.begin())
        except OSError as error:
            self.world.count("start_failed_by_disk")
            self.world.note(self.name, f"does not start: {error}")
            self.crash()
            self.world.after(SECOND, f"restart {self.name}", self.start)
            return
        self._carry_out(effects)

    def crash(self) -> None:
        """SIGKILL: memory and timers are gone, what was written (synced or not) stays."""
        if self.alive:
            self.alive = False
            self.generation += 1
            self.crash_after = None
            for scheduled in self._timers.values():
                scheduled.cancel()
            self._timers.clear()
            self._backlog.clear()
            self.world.note(self.name, "crash")

    def pause(self, for_ns: int) -> None:
        """SIGSTOP for a while; what arrives meanwhile waits."""
        if self.alive:
            self._paused_until_ns = max(self._paused_until_ns, self.world.now_ns + for_ns)
            self.world.note(self.name, f"pause {for_ns // MS} ms")
            self.world.at(self._paused_until_ns, f"resume {self.name}", self._guarded(self._resume))

    @property
    def paused(self) -> bool:
        """Stopped at the moment."""
        return self.world.now_ns < self._paused_until_ns

    def _resume(self) -> None:
        if self.paused:
            return
        backlog, self._backlog = self._backlog, []
        for event in backlog:
            self.deliver(event)

    # Events.

    def deliver(self, event: Event) -> None:
        """Hand an event to the core; kept for later while paused, dropped when dead."""
        if not self.alive:
            return
        if self.paused:
            self._backlog.append(event)
            return
        self._carry_out(list(self.handle(event, self.node.clock.now_ns())))

    def set_timer(self, key: object, at_local_ns: int, event: Event) -> None:
        """One timer a key; setting replaces."""
        self.cancel_timer(key)

        def fire() -> None:
            # A paused process, or a clock that stood still meanwhile: not before its time, nor before the
            # datagrams that waited (last-look rule).
            if self.paused:
                plan(self._paused_until_ns + 1)
            elif self.node.clock.now_ns() < at_local_ns:
                plan(self.node.clock.world_ns(at_local_ns))
            else:
                self._timers.pop(key, None)
                self.deliver(event)

        def plan(when_ns: int) -> None:
            self._timers[key] = self.world.at(when_ns, f"timer {self.name} {key}", self._guarded(fire))

        plan(self.node.clock.world_ns(at_local_ns))

    def cancel_timer(self, key: object) -> None:
        """Nothing when it is not set."""
        scheduled = self._timers.pop(key, None)
        if scheduled is not None:
            scheduled.cancel()

    # Effects.

    def _carry_out(self, effects: list[Effect]) -> None:
        """In order; all that follows a persist in the same list waits for the disk."""
        for index, effect in enumerate(effects):
            if not self.alive:
                return
            if self.crash_after is not None:
                self.crash_after -= 1
                if self.crash_after < 0:
                    self.world.count("crash_between_effects")
                    self.crash()
                    return
            request = self.persist_of(effect)
            if request is not None:
                self._persist(request, effects[index + 1 :])
                return
            self.apply(effect)

    def _persisted(self, event: Event | None) -> None:
        if event is not None:
            self.deliver(event)

    def _persist(self, request: PersistRequest[Event], rest: list[Effect]) -> None:
        """Write at once; sync after a while, one at a time; then the rest of the list and the news."""

        def synced() -> None:
            self._syncing.popleft()
            if self._syncing:
                self._begin_sync()
            try:
                self.disk.sync(request.file)
            except OSError:
                self._persisted(request.failed)
                return
            self._carry_out(rest)
            self._persisted(request.done)

        try:
            self.disk.replace(request.file, request.data)
        except OSError:
            self.world.after(0, f"disk {self.name}", self._guarded(lambda: self._persisted(request.failed)))
            return
        self._syncing.append(synced)
        if len(self._syncing) == 1:
            self._begin_sync()

    def _begin_sync(self) -> None:
        """How long it takes is up to the disk as it is now, not as it was when the write was ordered."""
        in_ns = self._disk_rng.randint(*self.node.disk.sync_ns)
        self.world.after(in_ns, f"disk {self.name}", self._guarded(self._syncing[0]))
        if self.power_cut_for_ns:
            self._lose_power(in_ns // 2)

    def _lose_power(self, in_ns: int) -> None:
        node, for_ns, self.power_cut_for_ns = self.node, self.power_cut_for_ns, 0

        def cut() -> None:
            node.power_cut(self._disk_rng)
            self.world.after(for_ns, f"boot {node.name}", lambda: None if node.up else node.boot())

        self.world.after(in_ns, f"power cut {node.name}", self._guarded(cut))

    def _guarded(self, action: Callable[[], None]) -> Callable[[], None]:
        """Nothing planned for one run of the daemon happens in the next."""
        generation = self.generation

        def run() -> None:
            if self.generation == generation and self.alive:
                action()

        return run


def render_trace(lines: Iterable[TraceLine], last: int = 50) -> str:
    """The last lines as a time line, milliseconds since the start first."""
    kept = list(lines)[-last:]
    return "\n".join(f"{(line.at_ns - START_NS) / MS:12.3f} ms  {line.who:<14} {line.what}" for line in kept)
