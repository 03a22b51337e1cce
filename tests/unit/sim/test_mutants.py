"""Every mutant is caught, or a fault or a checker is missing."""

from __future__ import annotations

import pytest

from tests.sim.mutants import ALL, kill, shown_by
from tests.sim.mutants.one import Mutant

SEEDS = 2_000
SECONDS = 60.0  # of CPU
AT_ONCE = (
    "a promise is spoken of before the disk has it",
    "OK before the commit",
    "one store is enough to commit",
)


def test_there_are_enough_of_them() -> None:
    assert len({mutant.what for mutant in ALL}) == len(ALL)
    assert len(ALL) >= 30


def test_the_seeds_that_are_tried_first_are_those_of_mutants() -> None:
    known = shown_by()
    assert set(known) <= {mutant.what for mutant in ALL}
    assert all(seed > 0 for seed in known.values())


@pytest.mark.parametrize(
    "mutant", [one for one in ALL if one.what in AT_ONCE], ids=lambda mutant: mutant.what
)
def test_a_mutant_is_caught_at_once(mutant: Mutant) -> None:
    assert kill(mutant, 60, SECONDS)[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.what)
def test_every_mutant_is_caught(mutant: Mutant) -> None:
    first = shown_by().get(mutant.what, 0)
    assert kill(mutant, SEEDS, SECONDS, first=first)[0], f"{mutant.scenario} does not show it: {mutant.what}"
