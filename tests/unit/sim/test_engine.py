"""The simulator's own promises: same seed same trace, timers never early, unsynced writes can be lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.sim.engine import MS, SECOND, START_NS, Disk, Node, PersistRequest, Process, World
from tests.sim.network import Calls, Network


@dataclass(frozen=True)
class Say:
    what: str


@dataclass(frozen=True)
class Keep:
    what: str


class Echo(Process[str, Say | Keep]):
    """Says what it hears, and keeps it first when it begins with "keep"."""

    def __init__(self, node: Node) -> None:
        self.said: list[tuple[int, str]] = []
        super().__init__(node, "echo")

    def begin(self) -> Sequence[Say | Keep]:
        self.set_timer("t", self.node.clock.now_ns() + SECOND, "tick")
        return []

    def handle(self, event: str, now_ns: int) -> Sequence[Say | Keep]:
        return [Keep(event), Say(event)] if event.startswith("keep") else [Say(event)]

    def apply(self, effect: Say | Keep) -> None:
        self.said.append((self.node.clock.now_ns(), effect.what))
        self.world.note(self.name, effect.what)

    def persist_of(self, effect: Say | Keep) -> PersistRequest[str] | None:
        if isinstance(effect, Keep):
            return PersistRequest(file="f", data=effect.what.encode(), done="done", failed="failed")
        return None


def a_world(seed: int = 1, rate_ppm: int = 0) -> tuple[World, Echo]:
    world = World(seed)
    node = Node(world, "n1", rate_ppm=rate_ppm)
    echo = Echo(node)
    node.boot()
    return world, echo


def test_a_timer_is_never_early_by_the_nodes_own_clock() -> None:
    for rate_ppm in (-50_000, -3, 0, 7, 50_000):
        world, echo = a_world(rate_ppm=rate_ppm)
        world.run_until(START_NS + 2 * SECOND)
        assert [what for _, what in echo.said] == ["tick"]
        assert START_NS + SECOND <= echo.said[0][0] <= START_NS + SECOND + 2


def test_what_follows_a_persist_waits_for_the_disk() -> None:
    world, echo = a_world()
    echo.deliver("keep me")
    assert echo.said == []
    assert echo.node.disk.durable == {}
    world.run_until(START_NS + 10 * MS)
    assert [what for _, what in echo.said] == ["keep me", "done"]
    assert echo.node.disk.durable == {"f": b"keep me"}


def test_a_crash_forgets_timers_and_what_was_held() -> None:
    world, echo = a_world()
    echo.deliver("keep me")
    echo.crash()
    echo.start()
    world.run_until(START_NS + 3 * SECOND)
    assert [what for _, what in echo.said] == ["tick"]


def test_a_broken_disk_is_reported() -> None:
    world, echo = a_world()
    echo.node.disk.broken = True
    echo.deliver("keep me")
    world.run_until(START_NS + 10 * MS)
    assert [what for _, what in echo.said] == ["failed"]


def test_a_paused_process_reads_its_sockets_before_its_timers() -> None:
    world, echo = a_world()
    echo.pause(3 * SECOND)
    world.at(START_NS + 2 * SECOND, "late packet", lambda: echo.deliver("packet"))
    world.run_until(START_NS + 4 * SECOND)
    assert [what for _, what in echo.said] == ["packet", "tick"]


def test_a_crash_between_two_effects_leaves_the_rest_undone() -> None:
    world, echo = a_world()
    echo.crash_after = 1
    echo.deliver("keep me")
    world.run_until(START_NS + 10 * MS)
    assert not echo.alive
    assert echo.said == []
    assert echo.node.disk.durable == {"f": b"keep me"}


def test_a_power_cut_loses_keeps_or_tears_what_was_not_synced() -> None:
    seen = set()
    for seed in range(60):
        disk = Disk()
        disk.write("f", b"old")
        disk.sync("f")
        disk.write("f", b"new")
        disk.power_cut(World(seed).stream("cut"))
        seen.add(disk.read("f"))
    assert {b"old", b"new", b"nld"} <= seen


def noisy(seed: int) -> tuple[str, list[tuple[int, object]]]:
    world = World(seed)
    network = Network(world, ["a", "b"], links=2)
    network.noise(drop=0.3, duplicate=0.2, delay_ns=(0, 5 * MS))
    got: list[tuple[int, object]] = []
    network.attach("b", lambda src, link, payload: got.append((link, payload)))
    network.attach("a", lambda src, link, payload: None)
    for number in range(200):
        network.send("a", "b", number % 2, number)
    world.run_until(START_NS + SECOND)
    return world.trace_hash, got


def test_same_seed_same_trace_and_another_seed_another() -> None:
    assert noisy(5) == noisy(5)
    assert noisy(5)[0] != noisy(6)[0]


def test_noise_loses_duplicates_and_reorders() -> None:
    _, got = noisy(5)
    numbers = [payload for _, payload in got]
    assert len(set(numbers)) < 190
    assert len(numbers) > len(set(numbers))
    assert numbers != sorted(numbers, key=repr)


def test_partition_and_heal() -> None:
    world = World(1)
    network = Network(world, ["a", "b", "c"], links=1)
    network.partition(["a", "b"])
    assert network.connected("a", "b")
    assert not network.connected("a", "c")
    network.heal()
    assert network.connected("a", "c")


def test_a_call_is_answered_or_fails_exactly_once() -> None:
    world = World(1)
    network = Network(world, ["a", "b"], links=1)
    calls, news = Calls(network), list[str]()

    def ask(timeout_ns: int) -> None:
        calls.call(
            "a",
            "b",
            lambda answer: answer("yes"),
            lambda r: news.append(str(r)),
            news.append,
            timeout_ns=timeout_ns,
        )

    ask(SECOND)
    world.run_until(START_NS + 2 * SECOND)
    network.partition(["a"], ["b"])
    ask(SECOND)
    world.run_until(START_NS + 4 * SECOND)
    assert news == ["yes", "timeout"]


def test_a_clock_that_stood_still_fires_no_timer_early() -> None:
    world, echo = a_world()
    echo.node.pause(3 * SECOND, clock_stands=True)
    world.run_until(START_NS + 3 * SECOND)
    assert echo.said == []
    world.run_until(START_NS + 5 * SECOND)
    assert [at for at, _ in echo.said] == [START_NS + SECOND]
