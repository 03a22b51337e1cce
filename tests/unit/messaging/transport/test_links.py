"""Link statistics: losses, gaps, states with hysteresis."""

from __future__ import annotations

from messaging.transport.links import GapHistory, LinkTracker, advised_deadtime_ns

MS = 1_000_000
HOUR = 3_600_000 * MS
START = 10_000 * MS


def a_link() -> LinkTracker:
    return LinkTracker(keepalive_ns=100 * MS, warntime_ns=250 * MS, deadtime_ns=500 * MS)


def heartbeats(link: LinkTracker, count: int, *, first: int = 1, start_ns: int = START) -> int:
    for number in range(count):
        link.heard(first + number, start_ns + number * 100 * MS)
        link.judge(start_ns + number * 100 * MS)
    return start_ns + (count - 1) * 100 * MS


def state(link: LinkTracker) -> str:
    return link.state.value


def test_a_good_link_is_up_after_three_keepalives() -> None:
    link = a_link()
    heartbeats(link, 3)
    assert state(link) == "down"
    heartbeats(link, 2, first=4, start_ns=START + 300 * MS)
    assert state(link) == "up"
    assert (link.received, link.lost, link.expected) == (5, 0, 5)


def test_losses_are_gaps_in_the_sequence_as_far_as_heartbeats_were_due() -> None:
    link = a_link()
    link.heard(1, START)
    link.heard(5, START + 400 * MS)
    assert link.lost == 3
    link.heard(40, START + 500 * MS)  # the peer spoke to others meanwhile: nothing is missing
    assert link.lost == 3
    link.heard(39, START + 501 * MS)
    assert (link.out_of_order, link.received) == (1, 4)


def test_loss_above_ten_percent_degrades_and_silence_downs() -> None:
    link = a_link()
    now = heartbeats(link, 20)
    for number in range(8):
        now += 200 * MS
        link.heard(100 + 2 * number, now)
        link.judge(now)
    assert state(link) == "degraded"
    link.judge(now + 501 * MS)
    assert state(link) == "down"


def test_old_losses_are_forgotten_after_a_minute() -> None:
    link = a_link()
    now = heartbeats(link, 10)
    link.heard(20, now + 1_000 * MS)
    now = heartbeats(link, 700, first=21, start_ns=now + 1_100 * MS)
    assert link.lost == 9
    assert state(link) == "up"


def test_late_is_degraded_after_a_while() -> None:
    link = a_link()
    now = heartbeats(link, 10)
    for extra in range(260, 500, 20):
        link.judge(now + extra * MS)
    assert state(link) == "up", "worse news than DOWN wait for 3 K"


def test_round_trips_keep_the_least() -> None:
    link = a_link()
    for rtt in (900, 300, 700):
        link.round_trip(rtt)
    assert link.rtt_min_ns == 300


def test_a_new_run_starts_its_sequence_anew() -> None:
    link = a_link()
    link.heard(2**33 + 7, START)
    assert link.echo == 7, "32 bits are echoed"
    link.begin_run()
    assert link.echo == 0
    link.heard(3, START + 100 * MS)
    assert (link.echo, link.lost) == (3, 0)


def test_the_largest_gap_of_a_day_advises_a_deadtime() -> None:
    gaps = GapHistory()
    assert gaps.largest_ns(0) == 0
    gaps.add(50 * MS, 0)
    gaps.add(400 * MS, 1)
    gaps.add(70 * MS, 5 * HOUR)
    assert gaps.largest_ns(6 * HOUR) == 400 * MS
    assert gaps.largest_ns(25 * HOUR) == 70 * MS
    assert advised_deadtime_ns(400 * MS, 100 * MS) == 800 * MS
    assert advised_deadtime_ns(70 * MS, 100 * MS) == 400 * MS
