"""Fixed seeds of every class of views, the same trace in any process, and mutants that must be caught."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.sim import nodes, standing, talk, witness  # noqa: F401 - registers its classes
from tests.sim.classes import REGISTRY
from tests.sim.mutants import talk as talk_mutants
from tests.sim.mutants.membership import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[3]
QUICK = ("split2", "split2-two-node", "startup", "power", "pause", "restart", "chaos3", "diskless")
LONG = (
    "talk", "talk-noise", "talk-flood", "auto3", "auto5", "auto-load", "nodes", "lms7", "lms5-chaos",
    "noise", "bridge", "clock", "stand-still", "wipe", "chaos5", "chaos9",
)  # fmt: skip
SEEDS_TO_KILL = 60
REGRESSIONS = tomllib.loads((ROOT / "tests/sim/regressions.toml").read_text())["seed"]


@pytest.mark.parametrize("name", QUICK)
def test_a_seed_holds(name: str) -> None:
    REGISTRY[name](1).play()


@pytest.mark.parametrize("entry", REGRESSIONS, ids=lambda entry: f"{entry['class']}-{entry['seed']}")
def test_a_regression_holds(entry: dict[str, Any]) -> None:
    REGISTRY[entry["class"]](entry["seed"]).play()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("name", QUICK + LONG)
def test_more_seeds_hold(name: str, seed: int) -> None:
    REGISTRY[name](seed).play()


def last_line(hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.sim", "run", "--class", "split2", "--seed", "7", "--seeds", "2"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
    )
    return done.stdout.splitlines()[-1].rpartition(" ")[2]


def test_same_seed_same_trace_in_two_processes() -> None:
    """I26: nothing depends on hash()."""
    assert last_line("1") == last_line("2")


def killed(mutant: Mutant) -> bool:
    with mutant.entered():
        for seed in range(1, SEEDS_TO_KILL + 1):
            try:
                REGISTRY[mutant.scenario](seed).play()
            except AssertionError:
                return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", [*MUTANTS, *talk_mutants.MUTANTS], ids=lambda mutant: mutant.what)
def test_every_mutant_is_caught(mutant: Mutant) -> None:
    assert killed(mutant), f"{SEEDS_TO_KILL} seeds of {mutant.scenario} do not show it: {mutant.what}"


@pytest.mark.parametrize("mutant", MUTANTS[2:4], ids=lambda mutant: mutant.what)
def test_a_mutant_is_caught_at_once(mutant: Mutant) -> None:
    assert killed(mutant)
