"""Node lists: former ones are understood, bits move to the slots of the same nodes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from messaging.membership.layouts import FORMER_MAX, Layouts, moved
from messaging.packet import config_hash

THREE = ((1, "a"), (3, "c"), (5, "e"))
FOUR = ((1, "a"), (2, "b"), (3, "c"), (5, "e"))


def test_former_lists_are_understood_and_bounded() -> None:
    layouts = Layouts(THREE)
    layouts.use(FOUR)
    assert layouts.ids(config_hash(THREE)) == (1, 3, 5)
    assert layouts.ids(layouts.current) == (1, 2, 3, 5)
    assert layouts.before == config_hash(THREE)
    for number in range(10, 10 + FORMER_MAX):
        layouts.use(((number, "x"),))
    assert layouts.ids(config_hash(THREE)) is None
    assert layouts.ids(config_hash(FOUR)) == (1, 2, 3, 5)


def test_back_to_a_former_list() -> None:
    layouts = Layouts(THREE, (FOUR,))
    assert layouts.current == config_hash(THREE)
    layouts.use(FOUR)
    layouts.use(THREE)
    assert (layouts.current, layouts.before) == (config_hash(THREE), config_hash(FOUR))


def test_bits_follow_their_nodes() -> None:
    assert moved(0b101, (1, 3, 5), (1, 2, 3, 5)) == 0b1001
    assert moved(0b1111, (1, 2, 3, 5), (1, 3, 5)) == 0b111


@given(st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)), st.integers(0, 2**40))
def test_there_and_back(one: set[int], other: set[int], bits: int) -> None:
    old, new = sorted(one), sorted(other)
    bits &= (1 << len(old)) - 1
    kept = {node for slot, node in enumerate(old) if bits >> slot & 1 and node in other}
    there = moved(bits, old, new)
    assert {node for slot, node in enumerate(new) if there >> slot & 1} == kept
