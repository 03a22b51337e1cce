"""The DC tells the witness who has everything: repeated until answered, refused with the witness's reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from hacluster.errors import InvalidRequest, Unavailable
from hacluster.vocabulary.ids import NO_VIEW, NodeId, ViewId
from messaging.membership.events import WitnessAnswered
from messaging.witness import wire
from messaging.witness.core import Answer, SyncChanged, WitnessCore, WitnessState
from messaging.witness.sync import TRIES, SyncCalls

VIEW = ViewId(5, NodeId(1))
STATE = WitnessState(last=VIEW, members=(1, 2), lease_ms=1_000, in_sync=(1, 2), term=(4, 1))


class Bench:
    """A witness that hears every `every`-th question, through real bytes."""

    def __init__(self, every: int = 1, state: WitnessState = STATE) -> None:
        self.core, self.every, self.asked = WitnessCore(state, 0), every, 0
        self.others: list[WitnessAnswered] = []
        self.calls = SyncCalls(1, self.ask, self.others.append, again_s=0.005)

    def ask(self, change: SyncChanged) -> None:
        self.asked += 1
        read = wire.ask_from(1, wire.ask_to(change, bytes(16)))
        assert read is not None
        assert read[1] == change
        if self.every and self.asked % self.every == 0:
            answer = self.core.handle(change, 0)[-1]
            assert isinstance(answer, Answer)
            told = wire.answer_from(wire.answer_to(answer, bytes(16)))
            assert told is not None
            self.calls.answered(told[1])


async def test_the_witness_has_it_before_the_answer() -> None:
    bench = Bench()
    await bench.calls.change(VIEW, (1,), (4, 1), 1)
    assert (bench.core.state.in_sync, bench.asked) == ((1,), 1)


async def test_a_lost_question_is_asked_again() -> None:
    bench = Bench(every=3)
    await bench.calls.change(VIEW, (1,), (5, 1), 1)
    assert (bench.core.state.in_sync, bench.core.state.term, bench.asked) == ((1,), (5, 1), 3)


@pytest.mark.parametrize(
    ("make", "view", "term", "error", "asked"),
    [
        (lambda: Bench(every=0), VIEW, (4, 1), Unavailable, TRIES),
        (Bench, ViewId(6, NodeId(1)), (4, 1), Unavailable, TRIES),
        (lambda: Bench(state=replace(STATE, serial=2)), VIEW, (4, 1), InvalidRequest, 1),
        (Bench, NO_VIEW, (4, 1), Unavailable, 0),
    ],
)
async def test_what_is_not_stored_is_an_error(
    make: Callable[[], Bench], view: ViewId, term: tuple[int, int], error: type[Exception], asked: int
) -> None:
    bench = make()
    with pytest.raises(error):
        await bench.calls.change(view, (1,), term, 1)
    assert (replace(bench.core.state, serial=0), bench.asked) == (STATE, asked)


async def test_a_later_term_is_named() -> None:
    bench = Bench()
    answer = await bench.calls.change(VIEW, (1,), (3, 9), 1)
    assert (answer.granted, answer.term, answer.in_sync) == (False, (4, 1), (1, 2))
    assert (bench.core.state, bench.asked) == (STATE, 1)


async def test_answers_of_a_view_are_handed_on() -> None:
    bench = Bench()
    answer = WitnessAnswered(nonce=7, view=VIEW, granted=True, lease_ms=5, reason="")
    bench.calls.answered(answer)
    bench.calls.answered(WitnessAnswered(nonce=(1 << 62) + 9, view=VIEW, granted=True, lease_ms=5, reason=""))
    assert bench.others == [answer]
