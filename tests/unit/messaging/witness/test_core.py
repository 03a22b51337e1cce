"""The witness: one view at a time, by memory and leases; halves, order, in-sync sets, and what is stale."""

from __future__ import annotations

from dataclasses import replace

from hacluster.vocabulary.ids import NodeId, ViewId
from messaging.membership.runs import Run
from messaging.witness.core import (
    GATHER_NS,
    Answer,
    Asked,
    Persist,
    Released,
    SyncChanged,
    WitnessCore,
    WitnessState,
)

MS = 1_000_000
LEASE_MS = 5_000
ALL = (1, 2, 3, 4)


def view(counter: int, coordinator: int = 1) -> ViewId:
    return ViewId(counter, NodeId(coordinator))


def ask(node: int, counter: int, members: tuple[int, ...], **changes: int) -> Asked:
    return Asked(
        node=node,
        nonce=7,
        view=view(counter, members[0]),
        members=members,
        voters=ALL,
        config_index=changes.get("config_index", 0),
        lease_ms=LEASE_MS,
        score=changes.get("score", 0),
    )


def answer(core: WitnessCore, asked: Asked | SyncChanged, now_ns: int) -> Answer:
    last = core.handle(asked, now_ns)[-1]
    assert isinstance(last, Answer)
    return last


def a_core() -> WitnessCore:
    """All four were in view 5."""
    core = WitnessCore(WitnessState(), 0)
    for node in ALL:
        assert answer(core, ask(node, 5, ALL), 0).granted
    return core


def granted_half(core: WitnessCore) -> int:
    """Nodes 1 and 2 have view 6; returns when."""
    at_ns = LEASE_MS * MS
    assert "another half" in answer(core, ask(1, 6, (1, 2)), at_ns).reason
    at_ns += GATHER_NS
    assert answer(core, ask(1, 6, (1, 2)), at_ns).granted
    return at_ns


def test_it_is_on_disk_before_it_is_said() -> None:
    core = WitnessCore(WitnessState(), 0)
    first, second = core.handle(ask(1, 5, ALL), 0)
    assert isinstance(first, Persist)
    assert first.state.last == view(5)
    assert first.state.in_sync == (), "no DC has said it: it may be a new disk"
    assert isinstance(second, Answer)
    assert [type(effect) for effect in core.handle(ask(2, 5, ALL), 1)] == [Answer]


def test_who_is_left_out_is_waited_for() -> None:
    core = a_core()
    assert "count on it for 5000 ms" in answer(core, ask(1, 6, (1, 2)), 0).reason
    granted_half(core)


def test_the_other_half_waits_for_the_first_as_long_as_that_asks() -> None:
    core = a_core()
    at_ns = granted_half(core)
    assert "count on it" in answer(core, ask(3, 7, (3, 4)), at_ns + 1).reason
    assert answer(core, ask(2, 6, (1, 2)), at_ns + 4_000 * MS).granted
    late_ns = at_ns + 4_000 * MS + LEASE_MS * MS
    assert "count on it" in answer(core, ask(4, 4, ALL), late_ns - 1).reason, "2 has gone on from there"
    assert "count on it" in answer(core, ask(3, 7, (3, 4)), late_ns - 1).reason
    assert "another half" in answer(core, ask(3, 7, (3, 4)), late_ns).reason
    assert answer(core, ask(3, 7, (3, 4)), late_ns + GATHER_NS).granted
    assert "count on it" in answer(core, ask(1, 6, (1, 2)), late_ns + GATHER_NS).reason


def test_an_older_view_may_have_it_when_nobody_rests_on_it_in_the_later_one() -> None:
    core = a_core()
    at_ns = granted_half(core) + LEASE_MS * MS
    asked = ask(3, 4, (3, 4))
    assert "count on it" in answer(core, asked, at_ns - 1).reason
    answer(core, asked, at_ns)
    assert answer(core, asked, at_ns + GATHER_NS).granted


def test_who_releases_is_not_waited_for() -> None:
    core = a_core()
    for node in (3, 4):
        assert core.handle(Released(node=node, view=view(5)), 0) == []
    assert "another half" in answer(core, ask(1, 6, (1, 2)), 0).reason
    core.handle(Released(node=1, view=view(4)), 0)  # of another view: nothing


def test_the_larger_half_wins_then_the_better_connected_then_the_lowest() -> None:
    for mine, others, wins in (
        (ask(4, 6, (4,)), ask(1, 6, (1, 2, 3)), False),
        (ask(3, 6, (3, 4), score=2), ask(1, 6, (1, 2), score=1), True),
        (ask(3, 6, (3, 4)), ask(1, 6, (1, 2)), False),
    ):
        core = a_core()
        at_ns = LEASE_MS * MS
        answer(core, mine, at_ns)
        answer(core, others, at_ns)
        assert answer(core, mine, at_ns + GATHER_NS).granted is wins


def test_after_a_start_the_members_of_the_last_view_may_still_count_on_it() -> None:
    state = a_core().state
    again = WitnessCore(state, 1_000)
    assert "count on it" in answer(again, ask(1, 6, (1, 2)), 1_001).reason
    assert answer(again, ask(3, 5, ALL), 1_001).granted
    assert "count on it" in answer(again, ask(3, 4, ALL), 1_001).reason


def test_only_with_a_node_that_has_everything() -> None:
    core = a_core()
    granted_half(core)
    half = view(6)
    stale = SyncChanged(node=1, nonce=1, view=view(5), in_sync=(1,), term=(4, 1))
    assert "not the granted one" in answer(core, stale, 0).reason
    change = SyncChanged(node=1, nonce=1, view=half, in_sync=(1, 2), term=(4, 1))
    assert answer(core, change, 0).granted
    older = SyncChanged(node=2, nonce=1, view=half, in_sync=(2,), term=(3, 2))
    refused = answer(core, older, 0)
    assert ("later term" in refused.reason, refused.term) == (True, (4, 1))
    assert core.state.in_sync == (1, 2)
    far_ns = 100 * LEASE_MS * MS
    assert "everything that was committed" in answer(core, ask(3, 9, (3, 4)), far_ns).reason
    assert "another half" in answer(core, ask(2, 9, (2, 3)), far_ns).reason


def test_a_candidate_is_told_who_is_in_sync_and_no_older_dc_is_heard_after_it() -> None:
    core = a_core()
    said = SyncChanged(node=1, nonce=1, view=view(5), in_sync=(1, 2), term=(4, 1), serial=2)
    assert answer(core, said, 0).granted
    earlier = SyncChanged(node=1, nonce=2, view=view(5), in_sync=(1,), term=(4, 1), serial=1)
    assert "later was said" in answer(core, earlier, 0).reason
    stands = answer(core, SyncChanged(node=2, nonce=1, view=view(5), in_sync=(), term=(5, 2)), 0)
    assert (stands.granted, stands.in_sync, stands.term) == (True, (1, 2), (5, 2))
    more = SyncChanged(node=1, nonce=3, view=view(5), in_sync=(1,), term=(4, 1), serial=3)
    assert "later term" in answer(core, more, 0).reason
    assert core.state.in_sync == (1, 2)


def test_old_configurations_and_strange_questions() -> None:
    core = WitnessCore(WitnessState(), 0)
    assert answer(core, ask(1, 5, ALL, config_index=8), 0).granted
    assert "voters have changed" in answer(core, ask(1, 6, ALL, config_index=7), 0).reason
    assert "not in the view" in answer(core, ask(3, 6, (1, 2)), 0).reason
    assert "other members" in answer(core, ask(1, 5, (1, 2)), 0).reason


def test_it_keeps_and_says_which_runs_were_in_the_views_that_it_has_granted() -> None:
    core = a_core()
    runs = (Run(1, 4), Run(2, 9), Run(3, 1), Run(4, 1))
    first, said = core.handle(replace(ask(1, 5, ALL), runs=runs), 0)
    assert isinstance(first, Persist)
    assert isinstance(said, Answer)
    assert first.state.runs == said.runs == runs
    assert [type(effect) for effect in core.handle(replace(ask(2, 5, ALL), runs=runs), 0)] == [Answer]
    at_ns = granted_half(core)
    later = replace(ask(2, 6, (1, 2)), runs=(Run(1, 3), Run(2, 10)))
    assert answer(core, later, at_ns).runs == (Run(1, 4), Run(2, 10), Run(3, 1), Run(4, 1))
    refused = answer(core, replace(ask(3, 7, (3, 4)), runs=(Run(3, 8), Run(4, 8))), at_ns)
    assert not refused.granted
    assert refused.runs == core.state.runs, "what it has not granted is no view"
    assert core.state.runs[2:] == (Run(3, 1), Run(4, 1))
