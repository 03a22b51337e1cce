"""`python -m tests.fuzz.packets [--packets 1000000] [--seed 1]`: whatever comes in, only counters move (I22).

Three shells form a view over wires in memory; what they said is recorded. Then one of them, its clock
stopped, gets packets that must change nothing: random bytes, recorded packets with bits flipped, cut short,
made longer, spliced, with other header fields, replays of this run and of a former one, packets under another
key or of another cluster. The state behind it is compared as a whole before and after. Packets with a good
tag and a random body have to be survived, too; they go to another shell: what decodes may have its effect.
"""

from __future__ import annotations

import argparse
import asyncio
import enum
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog

from hacluster.clock import SystemClock
from messaging.fragments import Assembler
from messaging.membership.shell import MembershipShell
from messaging.packet import HEADER, Gate, Kind, Sealer
from tests.unit.messaging.lab import CLUSTER, a_keyring
from tests.unit.messaging.membership.test_shell import a_shell

COMPARE_EVERY: Final = 20_000
COUNTERS: Final = frozenset(
    {
        "duplicates",
        "given_up",
        "dropped",
        "figures",
        "_drop_logged",
        "_probe_ack_ns",
        "sent",
        "_sent",
        "_sent_ns",
    }
)
"""What may move: counters, when something was logged last, and the sequences used up by answers."""


class StoppedClock:
    """Nothing becomes due while we look."""

    def __init__(self) -> None:
        self.at_ns = SystemClock().now_ns()

    def now_ns(self) -> int:
        return self.at_ns

    def wall_s(self) -> int:
        return 0


def state_of(thing: Any, seen: dict[int, int] | None = None) -> Any:
    """Everything that can be reached from `thing` but counters, as plain values that compare."""
    seen = {} if seen is None else seen
    if thing is None or isinstance(thing, int | str | bytes | float | enum.Enum):
        return thing
    if id(thing) in seen:
        return f"<{seen[id(thing)]}>"
    seen[id(thing)] = len(seen)
    if isinstance(thing, dict):
        return [(state_of(key, seen), state_of(value, seen)) for key, value in thing.items()]
    if isinstance(thing, list | tuple | set | frozenset) or type(thing).__name__ == "deque":
        items = sorted(thing, key=repr) if isinstance(thing, set | frozenset) else thing
        return [state_of(item, seen) for item in items]
    module = type(thing).__module__
    if not module.startswith(("messaging", "hacluster.vocabulary")):
        return type(thing).__name__
    names = list(getattr(thing, "__dict__", {}))
    for base in type(thing).__mro__:
        names += [name for name in getattr(base, "__slots__", ()) if hasattr(thing, name)]
    fields = [(name, state_of(getattr(thing, name), seen)) for name in names if name not in COUNTERS]
    return [type(thing).__name__, fields]


class Bench:
    """A shell in a view, and what the other two have said."""

    def __init__(self, target: MembershipShell, said: list[bytes], rng: random.Random) -> None:
        self.target, self.said, self.rng = target, said, rng
        self.other_key = a_keyring(secret=b"x" * 32)
        self.kinds: dict[str, Callable[[], bytes]] = {
            "random bytes": lambda: rng.randbytes(rng.randrange(1_500)),
            "random after a good header": self._random_tail,
            "bits flipped": self._flipped,
            "cut short": lambda: (d := self._any())[: rng.randrange(len(d))],
            "made longer": lambda: self._any() + rng.randbytes(rng.randint(1, 64)),
            "spliced": self._spliced,
            "other header": self._other_header,
            "replayed": self._any,
            "replayed from a former run": self._former_run,
            "another key": lambda: self._sealed(self.other_key, CLUSTER),
            "another cluster": lambda: self._sealed(a_keyring(), bytes(16)),
        }

    def _any(self) -> bytes:
        return self.rng.choice(self.said)

    def _random_tail(self) -> bytes:
        datagram = self._any()
        return datagram[: HEADER.size] + self.rng.randbytes(len(datagram) - HEADER.size)

    def _flipped(self) -> bytes:
        raw = bytearray(self._any())
        for bit in self.rng.sample(range(8 * len(raw)), self.rng.randint(1, 8)):
            raw[bit // 8] ^= 1 << bit % 8
        return bytes(raw)

    def _spliced(self) -> bytes:
        one, other = self._any(), self._any()
        at = self.rng.randrange(1, min(len(one), len(other)))
        spliced = one[:at] + other[at:]
        return spliced if spliced not in (one, other) else one[:at]

    def _other_header(self) -> bytes:
        raw = bytearray(self._any())
        at = self.rng.choice([2, 3, 4, 5, 7, 9, 11, 15, 20, 39, 47, 49])
        raw[at] = (raw[at] + self.rng.randint(1, 255)) & 0xFF
        return bytes(raw)

    def _sealed(self, keyring: Any, cluster: bytes, incarnation: int = 1) -> bytes:
        rng = self.rng
        sealer = Sealer(
            cluster_id=cluster,
            node_id=rng.choice([2, 3]),
            session=rng.randbytes(16),
            incarnation=incarnation,
            keyring=keyring,
        )
        return sealer.seal(
            rng.randint(0, 15), rng.randbytes(rng.randrange(400)), link=0, sequence=rng.getrandbits(40)
        )

    def _former_run(self) -> bytes:
        return self._sealed(a_keyring(), CLUSTER, incarnation=0)

    def run(self, packets: int) -> Counter[str]:
        """Raises AssertionError when anything but counters has moved."""
        names, before, sent = list(self.kinds), state_of(self._state()), Counter[str]()
        for number in range(1, packets + 1):
            kind = self.rng.choice(names)
            self.target.taken(0, self.kinds[kind](), self.target.core._last_ns, f"source {number % 7}")
            sent[kind] += 1
            if number % COMPARE_EVERY == 0 or number == packets:
                assert state_of(self._state()) == before, f"state has changed after {number} packets"
        return sent

    def _state(self) -> list[Any]:
        shell = self.target
        return [shell.core, shell._gate, shell._assembler, shell._answers, len(shell._timers)]


def garbage(shell: MembershipShell, packets: int, rng: random.Random) -> int:
    """Random bodies under a good tag: none raises. Returns how many decoded and had their effect."""
    sealer = Sealer(cluster_id=CLUSTER, node_id=3, session=b"g" * 16, incarnation=9, keyring=a_keyring())
    before = shell.figures.dropped["bad_body"]
    kinds = [kind for kind in Kind if kind not in (Kind.WITNESS_ASK, Kind.WITNESS_ANSWER)]
    for sequence in range(packets):
        body = rng.randbytes(rng.choice([0, 1, 2, 5, 20, 100, 500]))
        datagram = sealer.seal(rng.choice([*kinds, 0, 99]), body, link=0, sequence=sequence)
        shell.taken(0, datagram, shell.core._last_ns, "garbage")
        if sequence % 1_000 == 0:
            shell._assembler = Assembler()
    return packets - (shell.figures.dropped["bad_body"] - before)


async def in_a_view() -> tuple[MembershipShell, MembershipShell, list[bytes]]:
    """Two shells that were in one view of three, and what the third and the second have said to the first."""
    built = [a_shell(number, 3) for number in (1, 2, 3)]
    shells, wires = [shell for shell, _, _ in built], [wire for _, _, wire in built]
    for number, wire in enumerate(wires):
        wire.others = [shell for other, shell in enumerate(shells) if other != number]
    writers = [asyncio.create_task(shell.write()) for shell in shells]
    for shell in shells:
        shell.begin()
    async with asyncio.timeout(60):
        while not all(s.core.status(SystemClock().now_ns()).authority.quorate for s in shells):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await shells[1].say(topic="t", payload=bytes(4_000), destination=0, any_view=False)
        await asyncio.sleep(0.5)
    for wire in wires:
        wire.others = []
    for shell in shells:
        for _, handle in shell._timers.values():
            handle.cancel()
        shell._set_timer = lambda key, at_ns: None  # type: ignore[method-assign]
        stopped = StoppedClock()
        stopped.at_ns = shell.core._last_ns
        shell._clock = stopped
    for writer in writers:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    return shells[0], shells[1], list(_accepted(shells[0]._gate, wires[1].sent + wires[2].sent))


def _accepted(gate: Gate, datagrams: list[bytes]) -> Iterator[bytes]:
    """What the gate has had already: replays."""
    for datagram in datagrams:
        gate.open(datagram)
        yield datagram


async def fuzz(packets: int, seed: int) -> tuple[Counter[str], dict[str, int], int]:
    """What was sent by kind, what was dropped by reason, and how much garbage decoded."""
    rng = random.Random(seed)
    target, survivor, said = await in_a_view()
    sent = Bench(target, said, rng).run(packets)
    return sent, target.figures.dropped, garbage(survivor, packets // 10, rng)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.packets")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = time.process_time()
    sent, dropped, decoded = asyncio.run(fuzz(options.packets, options.seed))
    took = time.process_time() - began
    for kind, count in sorted(sent.items()):
        print(f"{count:10,}  {kind}")
    print("dropped:", ", ".join(f"{name} {count:,}" for name, count in sorted(dropped.items()) if count))
    print(f"nothing but counters has moved after {options.packets:,} packets ({took:.1f} s of CPU);")
    print(f"{options.packets // 10:,} random bodies under a good tag survived, of which {decoded:,} decoded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
