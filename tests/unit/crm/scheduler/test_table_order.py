"""The order of GLib's hash tables and list sort, where results depend on it."""

from __future__ import annotations

import random

from crm.scheduler.table_order import merge_sorted, table_order


def test_few_node_ids_lie_by_the_remainder_of_their_hash() -> None:
    # 11 times the byte, modulo 7: 1 3 5 7 2 4 6 at 0 1 2 3 4 5 6
    assert table_order(tuple("1234567")) == tuple("1357246")


def test_the_table_grows_when_it_is_full() -> None:
    # the eighth key doubles it: now modulo 13
    assert table_order(tuple("12345678")) == tuple("43281765")


def test_keys_that_collide_move_on_by_growing_steps() -> None:
    assert table_order(("1", "8", "?")) == ("1", "8", "?")  # all at 0: then 1, then 1 + 2
    assert table_order(("?", "8", "1")) == ("?", "8", "1")


def test_an_order_is_sorted_stably() -> None:
    rng = random.Random(5)
    for count in range(20):
        items = [(rng.randint(0, 4), index) for index in range(count)]
        assert merge_sorted(items, lambda a, b: a[0] - b[0]) == sorted(items, key=lambda one: one[0])


def test_what_is_no_order_is_settled_by_halves() -> None:
    beats = {("rock", "scissors"), ("scissors", "paper"), ("paper", "rock")}

    def compare(left: str, right: str) -> int:
        return -1 if (left, right) in beats else 1

    # scissors and paper are compared first, then rock with scissors
    assert merge_sorted(["rock", "paper", "scissors"], compare) == ["rock", "scissors", "paper"]
    assert merge_sorted(["paper", "scissors", "rock"], compare) == ["paper", "rock", "scissors"]
