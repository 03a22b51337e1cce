"""Two nodes lose each other and shoot, 200 times: with the real core and delays, exactly one survives."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest

from crm.fencing import core, race
from crm.fencing.devices import Device
from hacluster.vocabulary.agent import AgentName

MS = 1_000_000


@dataclass
class Side:
    name: str
    other: str
    fencer: core.Fencer
    device: Device
    was_dc: bool
    alive: bool = True


@dataclass
class Race:
    """Times in ms. A node dies when an agent that was begun against it ends, whoever lives by then."""

    rng: random.Random
    longest_ms: int
    option: str = "auto"
    delays: tuple[str, str] = ("", "")
    connected: tuple[int, int] = (0, 0)
    keepalive_ms: int = 100
    events: list[tuple[int, int, str, str]] = field(default_factory=list)
    count: int = 0

    def run(self) -> list[str]:
        sides = {}
        for name, other, was_dc, base in (("a", "b", True, 0), ("b", "a", False, 1)):
            parameters = {"pcmk_host_check": "none"}
            if self.delays[base]:
                parameters["pcmk_delay_base"] = self.delays[base]
            device = Device(id=f"power-{other}", agent=AgentName("stonith", "", "x"), parameters=parameters)
            fencer = core.Fencer(random.Random(self.rng.random()))
            sides[name] = Side(name, other, fencer, device, was_dc)
            self.push(self.rng.randrange(max(450, self.keepalive_ms + 200)), name, "lost")
        while self.events:
            at_ms, _, name, what = heapq.heappop(self.events)
            self.step(sides, sides[name], what, at_ms)
        return [name for name, side in sides.items() if side.alive]

    def push(self, at_ms: int, name: str, what: str) -> None:
        self.count += 1
        heapq.heappush(self.events, (at_ms, self.count, name, what))

    def step(self, sides: dict[str, Side], side: Side, what: str, at_ms: int) -> None:
        if what.startswith("shot"):
            sides[side.other].alive = False
        if not side.alive:
            return
        event: core.Event
        if what == "lost":
            own, peer = self.connected if side.was_dc else self.connected[::-1]
            delay = race.before_shot_ms(
                self.option,
                isolated_ms=race.isolated_ms("", own=own, peer=peer, deadtime_ms=500),
                worse=own < peer,
                was_dc=side.was_dc,
                decided=any(self.delays),
                longest_ms=self.longest_ms,
                keepalive_ms=self.keepalive_ms,
            )
            event = core.Wanted(
                target=side.other,
                how="reboot",
                levels=((side.device,),),
                executors=(side.name,),
                timeout_ms=60_000,
                extra_delay_ms=delay,
            )
        elif what == "timer":
            event = core.TimerFired(side.other)
        else:
            event = core.Ran(side.other, int(what.partition(" ")[2]), True)
        for effect in side.fencer.handle(event, at_ms * MS):
            match effect:
                case core.SetTimer(at_ns=at_ns):
                    self.push(at_ns // MS, side.name, "timer")
                case core.Run(attempt=attempt):
                    took_ms = self.rng.randrange(1, max(self.longest_ms, 1_000))
                    self.push(at_ms + took_ms, side.name, f"shot {attempt}")
                case _:
                    pass


@pytest.mark.parametrize("longest_ms", [0, 400, 2_000, 20_000], ids=lambda ms: f"measured {ms} ms")
@pytest.mark.parametrize("keepalive_ms", [100, 1_000, 2_000], ids=lambda ms: f"keepalive {ms} ms")
def test_exactly_one_survives(longest_ms: int, keepalive_ms: int) -> None:
    """What each heard last of the other was said at any time of its interval."""
    for seed in range(50):
        survivors = Race(random.Random(seed), longest_ms, keepalive_ms=keepalive_ms).run()
        assert survivors == ["a"], f"seed {seed}: {survivors}"


@pytest.mark.parametrize("longest_ms", [0, 400, 2_000, 20_000], ids=lambda ms: f"measured {ms} ms")
@pytest.mark.parametrize(
    ("connected", "survivor"), [((1, 2), "b"), ((2, 1), "a"), ((2, 2), "a"), ((0, 2), "a")]
)
def test_the_better_connected_survives(connected: tuple[int, int], survivor: str, longest_ms: int) -> None:
    """Whoever was DC (a), and also with deadtimes that are shorter than any delay of who was not."""
    for seed in range(50):
        survivors = Race(random.Random(seed), longest_ms, connected=connected).run()
        assert survivors == [survivor], f"seed {seed}: {survivors}"


def test_devices_delays_decide() -> None:
    for seed in range(50):
        assert Race(random.Random(seed), 400, delays=("6s", "")).run() == ["b"], seed


def test_without_a_delay_both_may_die() -> None:
    """What `two-node-delay=off` risks; and this test can fail."""
    outcomes = {tuple(Race(random.Random(seed), 2_000, option="off").run()) for seed in range(50)}
    assert () in outcomes


@pytest.mark.parametrize(
    ("option", "was_dc", "decided", "longest_ms", "expected"),
    [
        ("auto", True, False, 5_000, 0),
        ("auto", False, True, 5_000, 0),
        ("auto", False, False, 0, 2_000),
        ("auto", False, False, 100, 1_500),
        ("auto", False, False, 10_000, 12_500),
        ("7s", False, False, 10_000, 7_000),
        ("off", False, False, 10_000, 0),
        ("nonsense", False, False, 0, 2_000),
    ],
)
def test_the_delay(option: str, was_dc: bool, decided: bool, longest_ms: int, expected: int) -> None:
    found = race.delay_ms(option, was_dc=was_dc, decided=decided, longest_ms=longest_ms, keepalive_ms=250)
    assert found == expected


def test_the_delay_grows_with_the_interval() -> None:
    def delay(longest_ms: int) -> int:
        return race.delay_ms("auto", was_dc=False, decided=False, longest_ms=longest_ms, keepalive_ms=2_000)

    assert (delay(0), delay(100), delay(10_000)) == (3_750, 3_250, 14_250)


@pytest.mark.parametrize(
    ("option", "own", "peer", "expected"),
    [
        ("", 1, 3, 5_000),
        ("4s", 1, 3, 4_000),
        ("0", 1, 3, 0),
        ("nonsense", 1, 3, 5_000),
        ("", 3, 3, 0),
        ("", 3, 1, 5_000),
        ("", 0, 3, 0),
        ("", 3, 0, 0),
    ],
)
def test_what_the_worse_connected_waits(option: str, own: int, peer: int, expected: int) -> None:
    assert race.isolated_ms(option, own=own, peer=peer, deadtime_ms=2_500) == expected
