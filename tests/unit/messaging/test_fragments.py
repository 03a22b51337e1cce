"""Fragments: whatever order they come in, the whole comes out; bombs stay bounded."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.fragments import (
    COUNT_MAX,
    DONE_KEPT,
    INCOMPLETE_MAX,
    KEEP_NS,
    Assembler,
    body_room,
    cut,
    data_bytes_max,
    pieces_needed,
)
from messaging.membership.events import Data
from messaging.packet import Kind

SESSION = b"s" * 16


@given(st.binary(min_size=1_400, max_size=20_000), st.randoms(use_true_random=False))
def test_any_order_and_twice(body: bytes, rng: random.Random) -> None:
    parts = cut(Kind.DATA, body, 7, 1_400)
    assert all(len(part) <= body_room(1_400) for part in parts)
    shuffled = [*parts, *parts]
    rng.shuffle(shuffled)
    assembler = Assembler()
    results = [assembler.take(1, SESSION, part, 0) for part in shuffled]
    assert [result for result in results if not isinstance(result, bool)] == [(Kind.DATA, body)]
    assert all(result is not False for result in results)


def test_there_are_never_more_pieces_than_expected() -> None:
    for size in range(1, 60_000, 997):
        data = Data(payload=bytes(size))
        expected = pieces_needed(data, 1_400)
        if size + 200 > body_room(1_400):
            assert len(cut(Kind.DATA, bytes(size + 150), 1, 1_400)) <= expected


def test_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="fragments"):
        cut(Kind.DATA, bytes(COUNT_MAX * 1_400), 1, 1_400)
    assert len(cut(Kind.DATA, bytes(data_bytes_max(548) + 448), 1, 548)) == COUNT_MAX


@pytest.mark.parametrize(
    "fragment",
    [
        b"",
        bytes(7),
        bytes([0, 0, 0, 1, 0, 255, Kind.DATA]) + b"x",  # too many
        bytes([0, 0, 0, 1, 2, 2, Kind.DATA]) + b"x",  # beyond the last
        bytes([0, 0, 0, 1, 0, 1, Kind.DATA]) + b"x",  # one alone is no fragment
        bytes([0, 0, 0, 1, 0, 2, Kind.HEARTBEAT]) + b"x",  # never cut
        bytes([0, 0, 0, 1, 0, 2, Kind.FRAGMENT]) + b"x",
    ],
)
def test_bad_fragments(fragment: bytes) -> None:
    assembler = Assembler()
    assert assembler.take(1, SESSION, fragment, 0) is False
    assert not assembler._senders


def test_bombs_are_bounded_and_counted() -> None:
    assembler = Assembler()
    for number in range(1_000):
        assert assembler.take(1, SESSION, cut(Kind.DATA, bytes(90_000 // 2), number, 1_400)[0], number)
    assert len(assembler._senders[1].incomplete) == INCOMPLETE_MAX
    assert assembler.given_up == 1_000 - INCOMPLETE_MAX
    assembler.take(1, SESSION, cut(Kind.DATA, bytes(3_000), 5_000, 1_400)[0], KEEP_NS + 1_001)
    assert len(assembler._senders[1].incomplete) == 1
    assert len(assembler._senders[1].done) <= DONE_KEPT


def test_contradictions_and_other_runs() -> None:
    assembler = Assembler()
    first, second, _ = cut(Kind.DATA, bytes(3_000), 1, 1_400)
    assert assembler.take(1, SESSION, first, 0) is True
    assert assembler.take(1, SESSION, cut(Kind.DATA, bytes(5_000), 1, 1_400)[1], 0) is False
    assert assembler.take(1, SESSION, cut(Kind.INSTALL, bytes(3_000), 1, 1_400)[1], 0) is False
    assert assembler.take(1, b"t" * 16, second, 0) is True  # of another session: the first is forgotten
    assert assembler._senders[1].incomplete[1].missing == 2
