"""deadtime = "auto": up at once, down slowly, and nobody's lease outlives what we act on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hacluster.vocabulary.ids import NodeId, NodeName
from hacluster.vocabulary.membership import QuorumConfig
from messaging.membership.deadtime import (
    CEILING_NS,
    EASE_EVERY_NS,
    FLOOR_NS,
    Deadtime,
    lease_bound_ns,
    lease_ns,
)
from messaging.membership.events import Config, ConfiguredNode

MS = 1_000_000


def a_config(*, auto: bool = True, keepalive_ms: int = 100) -> Config:
    return Config(
        node_id=NodeId(1),
        nodes=(ConfiguredNode(id=NodeId(1), name=NodeName("n1")),),
        links=1,
        keepalive_ns=keepalive_ms * MS,
        warntime_ns=1_250 * MS,
        deadtime_ns=2_500 * MS,
        initdead_ns=30_000 * MS,
        deadtime_auto=auto,
        quorum=QuorumConfig(voters=((NodeId(1), 1),)),
    )


def test_a_fixed_one_stays() -> None:
    fixed = Deadtime(a_config(auto=False), 9_000 * MS, 0)
    assert not fixed.observe(9_000 * MS, 0)
    assert (fixed.ns, fixed.warntime_ns, fixed.told_ms) == (2_500 * MS, 1_250 * MS, 0)
    assert fixed.granted_by(7_000) == 2_500 * MS
    assert fixed.bound_ns(0) == lease_bound_ns(2_500 * MS)
    assert not fixed.wants_storing()


def test_up_at_once_to_twice_the_gap_and_never_beyond_the_ceiling() -> None:
    auto = Deadtime(a_config(), 0, 0)
    assert auto.observe(3_000 * MS, 0)
    assert auto.ns == 6_000 * MS
    assert auto.warntime_ns == 3_000 * MS
    assert auto.observe(60_000 * MS, 0)
    assert auto.ns == CEILING_NS


def test_down_by_a_twentieth_each_ten_seconds_to_the_floor() -> None:
    auto = Deadtime(a_config(), 0, 0)
    assert not auto.observe(10 * MS, EASE_EVERY_NS - 1)
    assert auto.observe(10 * MS, EASE_EVERY_NS)
    assert auto.ns == 2_375 * MS
    for step in range(2, 100):
        auto.observe(10 * MS, step * EASE_EVERY_NS)
    assert auto.ns == FLOOR_NS
    slow = Deadtime(a_config(keepalive_ms=400), 0, 0)
    for step in range(1, 100):
        slow.observe(10 * MS, step * EASE_EVERY_NS)
    assert slow.ns == 1_600 * MS  # four keepalives


def test_a_higher_one_is_told_when_the_disk_has_it() -> None:
    auto = Deadtime(a_config(), 0, 0)
    auto.observe(3_000 * MS, 0)
    assert auto.told_ms == 2_500
    assert auto.wants_storing()
    assert auto.storing(7) == 6_000 * MS
    assert not auto.wants_storing()
    auto.stored(6)
    assert auto.told_ms == 2_500
    auto.stored(7)
    assert auto.told_ms == 6_000


def test_a_former_run_may_have_told_more() -> None:
    assert Deadtime(a_config(), 9_000 * MS, 0).former_ns == 9_000 * MS
    assert Deadtime(a_config(), 0, 0).former_ns == 2_500 * MS


def test_a_peer_that_says_nothing_gives_the_least() -> None:
    auto = Deadtime(a_config(), 0, 0)
    assert auto.granted_by(0) == FLOOR_NS
    assert auto.granted_by(4_000) == 4_000 * MS
    assert auto.granted_by(59_000) == CEILING_NS


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 15_000)), max_size=60))
def test_whoever_counted_on_a_packet_is_waited_for(steps: list[tuple[int, int]]) -> None:
    """At each moment the bound covers every lease that a packet of ours, told before, may still give."""
    auto = Deadtime(a_config(), 0, 0)
    now_ns, told = 0, [(0, auto.told_ns)]
    for token, (gap_ms, later_ms) in enumerate(steps):
        now_ns += later_ms * MS
        auto.observe(gap_ms * MS, now_ns)
        if auto.wants_storing():
            auto.storing(token)
        auto.stored(token)
        told.append((now_ns, auto.told_ns))
        bound_ns = auto.bound_ns(now_ns)
        for at_ns, deadtime_ns in told:
            if at_ns + lease_ns(deadtime_ns) > now_ns:
                assert at_ns + bound_ns >= at_ns + lease_ns(deadtime_ns)
