"""A network that loses, delays, duplicates, reorders, cuts, records and replays, per directed edge and link.

Payloads are any objects; bytes as well as models. Nothing is delivered to a node's own sender. Streams (gRPC)
are `Calls`: request and answer over link 0..n-1, whichever is whole, failing when no path is.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.sim.engine import MS, World

Receiver = Callable[[str, int, object], None]
RECORD_KEEP = 256


@dataclass(slots=True)
class Path:
    """One direction of one link between two nodes."""

    cut: bool = False
    drop: float = 0.0
    duplicate: float = 0.0
    delay_ns: tuple[int, int] = (100_000, 400_000)
    tail: float = 0.0  # chance of a delay ten times as long
    mtu_bytes: int = 0  # what is longer vanishes and nobody is told; 0: no limit
    flip: float = 0.0  # chance that a datagram of bytes arrives with one bit changed


class Damaged(bytes):
    """A datagram that no receiver may take for genuine: changed on its way, or forged."""


class Network:
    """All paths between named nodes, `links` of them for each ordered pair."""

    def __init__(self, world: World, nodes: Iterable[str], links: int, *, beside: Iterable[str] = ()) -> None:
        """`beside`: machines that are no nodes of the cluster."""
        self.world = world
        self.nodes = tuple(nodes)
        self.beside = tuple(beside)
        everybody = (*self.nodes, *self.beside)
        self.links = links
        self.paths = {
            (src, dst, link): Path()
            for src in everybody
            for dst in everybody
            if src != dst
            for link in range(links)
        }
        self._names = {(src, dst, link): f"arrive {src}>{dst}/{link}" for src, dst, link in self.paths}
        self.recorded: deque[tuple[str, str, int, object]] = deque(maxlen=RECORD_KEEP)
        self.sent = self.delivered = self.lost = 0
        self._receivers: dict[str, Receiver] = {}
        self._rng = world.stream("network")

    def attach(self, node: str, receiver: Receiver) -> None:
        """`receiver(source, link, payload)` gets what arrives at `node`."""
        self._receivers[node] = receiver

    def send(self, src: str, dst: str, link: int, payload: object) -> None:
        """One datagram, fire and forget."""
        path = self.paths[src, dst, link]
        self.sent += 1
        if path.cut or (path.drop and self._rng.random() < path.drop):
            self.lost += 1
            return
        if path.mtu_bytes and isinstance(payload, bytes) and len(payload) > path.mtu_bytes:
            self.world.count("mtu_hole")
            self.lost += 1
            return
        if path.flip and isinstance(payload, bytes) and self._rng.random() < path.flip:
            self.world.count("bit_flipped")
            payload = _flipped(payload, self._rng)
        copies = 2 if path.duplicate and self._rng.random() < path.duplicate else 1
        for _ in range(copies):
            delay_ns = self._rng.randint(*path.delay_ns)
            if path.tail and self._rng.random() < path.tail:
                delay_ns *= 10
            self.inject(src, dst, link, payload, delay_ns)
        self.recorded.append((src, dst, link, payload))

    def inject(self, src: str, dst: str, link: int, payload: object, delay_ns: int = 0) -> None:
        """Let a datagram arrive that nobody has sent just now: a replay, a forgery."""

        def arrive() -> None:
            self.delivered += 1
            self._receivers[dst](src, link, payload)

        self.world.after(delay_ns, self._names[src, dst, link], arrive)

    # Faults. Each is idempotent; `heal` ends them all.

    def each(self, src: str | None = None, dst: str | None = None, link: int | None = None) -> list[Path]:
        """The paths that match; None matches all."""
        return [
            path
            for (a, b, number), path in self.paths.items()
            if src in (None, a) and dst in (None, b) and link in (None, number)
        ]

    def cut_one_way(self, src: str, dst: str, link: int | None = None) -> None:
        """Nothing from `src` reaches `dst`."""
        for path in self.each(src, dst, link):
            path.cut = True

    def cut_edge(self, one: str, other: str, link: int | None = None) -> None:
        """Neither hears the other."""
        self.cut_one_way(one, other, link)
        self.cut_one_way(other, one, link)

    def cut_link(self, link: int) -> None:
        """The whole link is dark."""
        for path in self.each(link=link):
            path.cut = True

    def partition(self, *groups: Iterable[str], shared: Iterable[str] = ()) -> None:
        """Only nodes of a group hear each other; who is in none is alone; all hear those shared."""
        group_of = {node: number for number, group in enumerate(groups) for node in group}
        free = set(shared)
        for (src, dst, _), path in self.paths.items():
            apart = group_of.get(src, src) != group_of.get(dst, dst)
            path.cut = apart and src not in free and dst not in free

    def noise(
        self, *, drop: float = 0.0, duplicate: float = 0.0, delay_ns: tuple[int, int], tail: float = 0.0
    ) -> None:
        """The same dials for every path."""
        for path in self.paths.values():
            path.drop, path.duplicate, path.delay_ns, path.tail = drop, duplicate, delay_ns, tail

    def uncut(self) -> None:
        """Mend all cuts; noise stays."""
        for path in self.paths.values():
            path.cut = False

    def heal(self) -> None:
        """No cut, no hole, no loss, no duplicate, no flip, short delays."""
        self.uncut()
        self.noise(delay_ns=(MS // 10, MS * 4 // 10))
        for path in self.paths.values():
            path.mtu_bytes, path.flip = 0, 0.0

    def connected(self, src: str, dst: str, size_bytes: int = 0) -> bool:
        """Whether any link carries anything (so long) from `src` to `dst`."""
        if src == dst:
            return True
        for link in range(self.links):
            path = self.paths[src, dst, link]
            if not path.cut and not (path.mtu_bytes and size_bytes > path.mtu_bytes):
                return True
        return False


def _flipped(payload: bytes, rng: random.Random) -> Damaged:
    changed = bytearray(payload)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return Damaged(changed)


class Calls:
    """Request and answer between processes, in order for each pair; what gRPC is to the cores.

    A call fails after `timeout_ns` at the latest; one cut off in flight may have been executed all the same.
    """

    def __init__(self, network: Network, *, slow: float = 0.0) -> None:
        """`slow`: the chance that something is on its way for seconds, longer perhaps than its call waits."""
        self.network = network
        self.world = network.world
        self.slow = slow
        self._rng = self.world.stream("calls")
        self._last_ns: dict[tuple[str, str], int] = {}

    def call(
        self,
        src: str,
        dst: str,
        execute: Callable[[Callable[[object], None]], None],
        answered: Callable[[object], None],
        failed: Callable[[str], None],
        *,
        timeout_ns: int,
        size_bytes: int = 0,
    ) -> None:
        """`execute(answer)` runs at `dst`; `answered(reply)` or `failed(why)` at `src`, exactly one, once."""
        done = False

        def finish(how: Callable[[], None]) -> None:
            nonlocal done
            if not done:
                done = True
                deadline.cancel()
                how()

        def answer(reply: object) -> None:
            self._carry(dst, src, lambda: finish(lambda: answered(reply)))

        deadline = self.world.after(
            timeout_ns, f"call {src}>{dst} timeout", lambda: finish(lambda: failed("timeout"))
        )
        self._carry(src, dst, lambda: execute(answer), size_bytes)

    def _carry(self, src: str, dst: str, arrive: Callable[[], None], size_bytes: int = 0) -> None:
        """TCP: in order, and late rather than lost; lost when no path is whole on arrival, or a request is
        too long for every path (its answer is short).
        """
        delay_ns = self._rng.randint(200_000, 1_000_000)
        if self.slow and self._rng.random() < self.slow:
            delay_ns = self._rng.randint(1, 4_000) * MS
        when_ns = max(self.world.now_ns + delay_ns, self._last_ns.get((src, dst), 0) + 1)
        self._last_ns[src, dst] = when_ns

        def land() -> None:
            if not (self.network.connected(src, dst) and self.network.connected(dst, src)):
                return
            if self.network.connected(src, dst, size_bytes):
                arrive()
            else:
                self.world.count("call_in_mtu_hole")

        if src == dst or self.network.connected(src, dst):
            self.world.at(when_ns, f"call {src}>{dst}", land)
