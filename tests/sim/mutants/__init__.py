"""Deliberately broken cores: each must be caught by the checkers, or a fault or a checker is missing."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.sim.all_classes import REGISTRY
from tests.sim.cib_mutants import MUTANTS as OF_THE_CIB
from tests.sim.mutants.fences import MUTANTS as OF_FENCES
from tests.sim.mutants.membership import MUTANTS as OF_VIEWS
from tests.sim.mutants.one import Mutant
from tests.sim.mutants.stop import MUTANTS as OF_STOPS
from tests.sim.mutants.talk import MUTANTS as OF_DATA
from tests.sim.mutants.waits import MUTANTS as OF_WAITING
from tests.sim.mutants.whole import MUTANTS as OF_LRMS

ALL: tuple[Mutant, ...] = (*OF_VIEWS, *OF_DATA, *OF_THE_CIB, *OF_LRMS, *OF_STOPS, *OF_FENCES, *OF_WAITING)


SHOWN_BY: Final = Path(__file__).with_name("shown_by.toml")
"""Seeds that are tried first: those that a search found last. Written by `mutants --write`."""


def shown_by() -> dict[str, int]:
    """Mutant's text -> the seed that showed it when one was looked for last."""
    return {what: int(seed) for what, seed in tomllib.loads(SHOWN_BY.read_text())["seeds"].items()}


def write_shown_by(seeds: Mapping[str, int]) -> None:
    """Keep these for `shown_by`."""
    lines = [f"{json.dumps(what, ensure_ascii=False)} = {seed}\n" for what, seed in seeds.items()]
    SHOWN_BY.write_text(_HEAD + "".join(lines))


_HEAD: Final = """\
# The seed that showed each mutant when it was last looked for (`python -m tests.sim mutants --write`). It is
# tried first; when it does not show the mutant any more, because the code has changed, all are tried.
[seeds]
"""


def kill(mutant: Mutant, seeds: int, seconds: float, *, first: int = 0) -> tuple[int, str]:
    """A seed that shows the mutant (0: none within so many seconds of CPU), and what it broke.

    `first` is tried before all others.
    """
    until = time.process_time() + seconds
    with mutant.entered():
        for seed in (*([first] if first else []), *range(1, seeds + 1)):
            try:
                REGISTRY[mutant.scenario](seed).play()
            except AssertionError as error:
                return seed, str(error)
            if time.process_time() >= until:
                break
    return 0, ""
