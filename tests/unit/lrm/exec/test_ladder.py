"""The kill ladder, step by step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lrm.exec.ladder import UNKILLABLE_AFTER_NS, Deed, Ladder, Rung
from lrm.exec.protocol import How

S = 1_000_000_000


def test_an_agent_that_ends_in_time() -> None:
    ladder = Ladder(deadline_ns=10 * S, grace_ns=2 * S)
    assert ladder.tick(9 * S) == []
    assert ladder.exited() == [Deed.FINISH]
    assert ladder.how is How.EXITED
    assert ladder.wake_at() is None


def test_terminate_then_kill_then_give_up() -> None:
    ladder = Ladder(deadline_ns=10 * S, grace_ns=2 * S)
    assert ladder.tick(10 * S) == [Deed.TERMINATE_GROUP]
    assert ladder.tick(11 * S) == []
    assert ladder.tick(12 * S) == [Deed.KILL_ALL]
    assert ladder.wake_at() == 12 * S + UNKILLABLE_AFTER_NS
    assert ladder.tick(17 * S) == [Deed.REPORT_UNKILLABLE]
    assert ladder.exited() == [Deed.KILL_ALL, Deed.REPORT_VANISHED]
    assert ladder.how is How.TIMEOUT


def test_what_a_terminated_agent_leaves_in_its_group_is_killed() -> None:
    ladder = Ladder(deadline_ns=10 * S, grace_ns=2 * S)
    ladder.tick(10 * S)
    assert ladder.exited() == [Deed.KILL_ALL, Deed.FINISH]


def test_no_grace_for_monitors() -> None:
    ladder = Ladder(deadline_ns=10 * S, grace_ns=0)
    assert ladder.tick(10 * S) == [Deed.KILL_ALL]


def test_the_first_reason_counts() -> None:
    ladder = Ladder(deadline_ns=10 * S, grace_ns=2 * S)
    assert ladder.kill(How.KILLED, 9 * S) == [Deed.TERMINATE_GROUP]
    assert ladder.kill(How.TIMEOUT, 10 * S) == []
    assert ladder.how is How.KILLED


def test_no_deadline_no_timeout() -> None:
    ladder = Ladder(deadline_ns=0, grace_ns=0)
    assert ladder.wake_at() is None
    assert ladder.tick(10**18) == []


@given(st.lists(st.sampled_from(["tick", "kill", "exit"]), max_size=12), st.integers(0, 3))
def test_it_finishes_exactly_once(events: list[str], grace_s: int) -> None:
    ladder, now_ns, deeds = Ladder(deadline_ns=3 * S, grace_ns=grace_s * S), 0, list[Deed]()
    for event in [*events, "exit"]:
        now_ns += 2 * S
        match event:
            case "tick":
                deeds += ladder.tick(now_ns)
            case "kill":
                deeds += ladder.kill(How.KILLED, now_ns)
            case _:
                deeds += ladder.exited()
    assert deeds.count(Deed.FINISH) + deeds.count(Deed.REPORT_UNKILLABLE) == 1
    assert ladder.rung is Rung.GONE
