"""Deliberately broken cores: each must be caught by the checkers, or a fault or a checker is missing."""

from __future__ import annotations

import time

from tests.sim.all_classes import REGISTRY
from tests.sim.cib_mutants import MUTANTS as OF_THE_CIB
from tests.sim.mutants.membership import MUTANTS as OF_VIEWS
from tests.sim.mutants.one import Mutant
from tests.sim.mutants.talk import MUTANTS as OF_DATA
from tests.sim.mutants.whole import MUTANTS as OF_LRMS

ALL: tuple[Mutant, ...] = (*OF_VIEWS, *OF_DATA, *OF_THE_CIB, *OF_LRMS)


def kill(mutant: Mutant, seeds: int, seconds: float) -> tuple[int, str]:
    """The first seed that shows the mutant (0: none within so many seconds of CPU), and what it broke."""
    until = time.process_time() + seconds
    with mutant.entered():
        for seed in range(1, seeds + 1):
            try:
                REGISTRY[mutant.scenario](seed).play()
            except AssertionError as error:
                return seed, str(error)
            if time.process_time() >= until:
                break
    return 0, ""
