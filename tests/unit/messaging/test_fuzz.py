"""The packet fuzzer in small: packets move nothing but counters (a million: tests/fuzz/packets.py)."""

from __future__ import annotations

from tests.fuzz.packets import fuzz, in_a_view, state_of


async def test_nothing_but_counters_moves() -> None:
    sent, dropped, _ = await fuzz(20_000, 7)
    assert len(sent) == 11
    assert dropped["bad_tag"]
    assert dropped["replayed"]
    assert dropped["wrong_cluster"]


async def test_the_comparison_sees_a_packet_that_counts() -> None:
    target, _, _ = await in_a_view()
    before = state_of([target.core])
    target.core.detector.peers[2].links[0].heard(10**6, 10**18)
    assert state_of([target.core]) != before
