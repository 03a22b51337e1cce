"""A short run of the shell's fuzzer; the long one is `python -m tests.fuzz.shell`."""

from __future__ import annotations

import random

from cli.levels import ROOT, Level
from tests.fuzz.shell import base_lines, harmless, mutated, run


def test_mutated_lines_are_answered() -> None:
    assert not run(400, 1, base_lines())


def test_a_seed_gives_the_same_line() -> None:
    lines = base_lines()
    assert mutated(lines, random.Random(7)) == mutated(lines, random.Random(7))


def test_nothing_that_is_run_leaves_the_process() -> None:
    def handlers(level: Level) -> list[str]:
        return [one.handler for one in level.commands] + [
            name for one in level.levels for name in handlers(one)
        ]

    run_here = {name for name in handlers(ROOT) if harmless(name)}
    assert "cli.commands.configure:define" in run_here
    assert not any("filter" in name or "report" in name or "edit" in name.split(":")[1] for name in run_here)
