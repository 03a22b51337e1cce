"""The clique: complete, the same for all, and the one that 6.3 names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from messaging.membership.choice import choose


def matrix(nodes: int, missing: list[tuple[int, int]]) -> list[int]:
    rows = [(1 << nodes) - 1] * nodes
    for one, other in missing:
        rows[one] &= ~(1 << other)
    return rows


def chosen(
    nodes: int,
    missing: list[tuple[int, int]],
    *,
    installed: int | None = None,
    votes: list[int] | None = None,
) -> list[int]:
    everyone = (1 << nodes) - 1
    bits = choose(
        candidates=everyone,
        hear=matrix(nodes, missing),
        cut=[0] * nodes,
        installed=everyone if installed is None else installed,
        votes=votes or [1] * nodes,
    )
    return [slot for slot in range(nodes) if bits >> slot & 1]


def test_all_when_all_hear_each_other() -> None:
    assert chosen(4, []) == [0, 1, 2, 3]


def test_a_bridge_loses_its_higher_end() -> None:
    assert chosen(3, [(0, 2)]) == [0, 1]
    assert chosen(3, [(2, 0)]) == [0, 1], "one direction is enough to lack the edge"


def test_the_node_with_most_missing_edges_goes_first() -> None:
    assert chosen(4, [(0, 1), (0, 2)]) == [1, 2, 3]


def test_then_one_that_is_not_in_the_view() -> None:
    assert chosen(3, [(0, 2)], installed=0b110) == [1, 2]


def test_then_fewer_votes() -> None:
    assert chosen(3, [(0, 2)], votes=[1, 1, 2]) == [1, 2]


def test_a_cut_counts_as_missing() -> None:
    bits = choose(candidates=0b111, hear=matrix(3, []), cut=[0, 0b100, 0], installed=0b111, votes=[1, 1, 1])
    assert bits == 0b011


@given(st.integers(2, 9).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(
    st.integers(0, n - 1), st.integers(0, n - 1)), max_size=20), st.integers(0, 2**n - 1))))  # fmt: skip
def test_the_result_is_always_a_clique_that_lost_no_one_in_vain(
    case: tuple[int, list[tuple[int, int]], int],
) -> None:
    nodes, pairs, installed = case
    missing = [(one, other) for one, other in pairs if one != other]
    kept = chosen(nodes, missing, installed=installed)
    assert kept, "somebody is always left"
    gone = {frozenset(pair) for pair in missing}
    assert not any(frozenset((a, b)) in gone for a in kept for b in kept if a < b)
    lonely = {slot for pair in gone for slot in pair}
    assert set(range(nodes)) - lonely <= set(kept), "who lacks no edge stays"
