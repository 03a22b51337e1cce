"""The supervisor's rules, on a clock of our own."""

from __future__ import annotations

import signal

from hacluster import supervising, supervision
from hacluster.supervising import (
    Answered,
    Check,
    Effect,
    Event,
    Exited,
    Finish,
    Limits,
    Note,
    Signal,
    Spawn,
    StopRequested,
    Supervisor,
    Tick,
)

NAMES = ("lrm", "messaging", "crm")
LIMITS = Limits(stop_within_ms={"crm": 90_000, "messaging": 5_000, "lrm": 10_000})


class Node:
    """Feeds the core and keeps what it ordered, with the time in ms."""

    def __init__(self) -> None:
        self.core = Supervisor(start=NAMES, stop=("crm", "messaging", "lrm"), limits=LIMITS)
        self.now_ms = 1_000_000
        self.mute: set[str] = set()
        self.asked: set[str] = set()
        self.done: list[tuple[int, Effect]] = []
        self.feed(Tick())
        self.run(600)

    def feed(self, event: Event) -> list[Effect]:
        effects = self.core.handle(event, self.now_ms * 1_000_000)
        self.done += [(self.now_ms, effect) for effect in effects]
        self.asked |= {effect.service for effect in effects if isinstance(effect, Check)}
        return effects

    def run(self, for_ms: int) -> None:
        """Time goes on by 10 ms steps; who is not mute answers at once, who was mute as soon as it can."""
        for _ in range(for_ms // 10):
            self.now_ms += 10
            if self.now_ms * 1_000_000 >= self.core.due_ns():
                self.feed(Tick())
            for name in sorted(self.asked - self.mute):
                self.asked.discard(name)
                self.feed(Answered(name))

    def ordered(self, kind: type[Effect]) -> list[tuple[int, Effect]]:
        return [(at - 1_000_000, effect) for at, effect in self.done if isinstance(effect, kind)]


def spawned(effects: list[Effect]) -> list[str]:
    return [effect.service for effect in effects if isinstance(effect, Spawn)]


def test_starts_all_at_once_and_checks_each_second() -> None:
    node = Node()
    assert [effect for _, effect in node.ordered(Spawn)] == [Spawn(name) for name in NAMES]
    node.done.clear()
    node.run(10_000)
    assert len(node.ordered(Check)) == 30
    assert node.ordered(Signal) == []


def test_three_restarts_at_once_then_back_off_to_a_bound() -> None:
    node = Node()
    delays = []
    for _ in range(10):
        died_ms = node.now_ms
        effects = node.feed(Exited("crm", -9))
        while "crm" not in spawned(effects):
            node.run(10)
            effects = [effect for at, effect in node.done if at > died_ms]
        delays.append(node.now_ms - died_ms)
    assert delays == [0, 0, 0, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]


def test_a_daemon_that_ran_for_a_minute_starts_afresh() -> None:
    node = Node()
    for _ in range(3):
        node.feed(Exited("crm", 1))
    node.run(61_000)
    assert spawned(node.feed(Exited("crm", 1))) == ["crm"]
    assert spawned(node.feed(Exited("crm", 1))) == ["crm"]


def test_configuration_error_is_final_and_the_last_one_ends_the_node() -> None:
    node = Node()
    effects = node.feed(Exited("crm", supervising.EXIT_CONFIG))
    assert [e.event for e in effects if isinstance(e, Note)] == ["supervisor.service_refuses_configuration"]
    node.run(60_000)
    assert all(effect != Spawn("crm") for at, effect in node.ordered(Spawn) if at > 0)
    node.feed(Exited("lrm", supervising.EXIT_CONFIG))
    assert Finish(6) in node.feed(Exited("messaging", supervising.EXIT_CONFIG))


def test_exit_code_is_the_daemons() -> None:
    assert supervising.EXIT_CONFIG == supervision.EXIT_CONFIG
    assert supervising.EXIT_FENCED == supervision.EXIT_FENCED


def test_who_was_fenced_and_lives_is_not_started_again() -> None:
    node = Node()
    effects = node.feed(Exited("crm", supervising.EXIT_FENCED))
    assert [e.event for e in effects if isinstance(e, Note)] == ["supervisor.service_stays_out"]
    node.run(60_000)
    assert all(effect != Spawn("crm") for at, effect in node.ordered(Spawn) if at > 0)


def test_hung_daemon_is_killed_within_five_seconds_of_its_last_answer() -> None:
    node = Node()
    node.run(2_000)
    node.mute.add("crm")
    stopped_ms = node.now_ms - 1_000_000
    node.run(4_990)
    killed = node.ordered(Signal)
    assert [effect for _, effect in killed] == [Signal("crm", signal.SIGKILL)]
    assert 4_000 <= killed[0][0] - stopped_ms <= 5_000
    node.run(3_000)
    assert len(node.ordered(Signal)) == 1  # once is enough
    assert spawned(node.feed(Exited("crm", -9))) == ["crm"]


def test_a_short_hang_is_let_pass() -> None:
    node = Node()
    node.mute.add("crm")
    node.run(3_900)
    node.mute.clear()
    node.run(10_000)
    assert node.ordered(Signal) == []


def test_slow_start_has_thirty_seconds() -> None:
    node = Node()
    node.mute.add("crm")
    node.feed(Exited("crm", -9))
    node.asked.discard("crm")
    node.run(29_000)
    assert node.ordered(Signal) == []
    node.run(2_000)
    assert [effect for _, effect in node.ordered(Signal)] == [Signal("crm", signal.SIGKILL)]


def test_pause_of_the_whole_node_is_nobodys_fault() -> None:
    node = Node()
    node.run(2_000)
    node.now_ms += 60_000  # nothing ran, the supervisor neither
    node.run(3_000)
    assert node.ordered(Signal) == []


def test_stops_in_order_and_ends_with_zero() -> None:
    node = Node()
    assert Signal("crm", signal.SIGTERM) in node.feed(StopRequested())
    node.run(10_000)  # its time is the agents'
    assert node.feed(Exited("crm", 0)) == [Signal("messaging", signal.SIGTERM)]
    assert node.feed(Exited("messaging", -9)) == [Signal("lrm", signal.SIGTERM)]  # no restart now
    assert Finish(0) in node.feed(Exited("lrm", 0))


def test_stop_that_takes_too_long_is_ended() -> None:
    node = Node()
    node.feed(StopRequested())
    node.feed(Exited("crm", 0))
    node.run(5_100)
    assert node.ordered(Signal)[-1][1] == Signal("messaging", signal.SIGKILL)


def test_second_request_to_stop_is_at_once() -> None:
    node = Node()
    node.feed(StopRequested())
    assert Finish(1) in node.feed(StopRequested())


def test_stop_skips_what_does_not_run() -> None:
    node = Node()
    node.feed(Exited("crm", supervising.EXIT_CONFIG))
    assert Signal("messaging", signal.SIGTERM) in node.feed(StopRequested())
