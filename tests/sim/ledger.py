"""The ledger of simulated time: slices of seeds played, kept as a table in docs/simulation.md.

A line: class, seeds, commit, cluster-hours that the cores went through event by event (nothing is skipped or
multiplied), speed in simulated seconds a second of CPU (with a mark where `tests.sim.compiled` played),
violations, expectations never reached.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

from tests.sim import compiled, sometimes
from tests.sim.classes import REGISTRY
from tests.sim.engine import SECOND, START_NS

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/simulation.md"
HEAD: Final = "| class | seeds | commit | cluster-hours | speed | violations | never reached |"
TOTAL: Final = "Total: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What a stretch of seeds of one class gave."""

    name: str
    first: int
    last: int
    commit: str
    hours: float
    speed: float
    violations: tuple[int, ...]
    never: tuple[str, ...]
    compiled: bool = False

    def line(self) -> str:
        """A row of the table."""
        broken = " ".join(f"seed {seed}" for seed in self.violations) or "0"
        missing = ", ".join(self.never) or "–"
        how = " compiled" if self.compiled else ""
        return (
            f"| {self.name} | {self.first}–{self.last} | {self.commit} | {self.hours:.2f} | "
            f"{self.speed:.0f} ×{how} | {broken} | {missing} |"
        )


def commit() -> str:
    """The short hash of the tree that is played; with a plus when it has changes outside the page."""
    changed = _git("status", "--porcelain", "--", ":/", f":(exclude,top){PAGE.parent.name}/{PAGE.name}")
    return _git("rev-parse", "--short=9", "HEAD") + ("+" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=PAGE.parent, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


def play(name: str, first: int, last: int, say: Callable[[str], None], *, seconds_max: float = 0) -> Slice:
    """Play the seeds, also when some fail, or until `seconds_max` of CPU are spent (0: no limit)."""
    seen: dict[str, int] = {}
    violations: list[int] = []
    simulated_s, began = 0.0, time.process_time()
    seed = first
    for seed in range(first, last + 1):
        run = REGISTRY[name](seed)
        try:
            run.play()
        except AssertionError as error:
            violations.append(seed)
            say(f"FAILED class {name} seed {seed}: {error}")
        simulated_s += (run.world.now_ns - START_NS) / SECOND
        sometimes.added(seen, run.world.seen)
        if seconds_max and time.process_time() - began >= seconds_max:
            break
    return Slice(
        name=name,
        first=first,
        last=seed,
        commit=commit(),
        hours=simulated_s / 3_600,
        speed=simulated_s / max(time.process_time() - began, 1e-9),
        violations=tuple(violations),
        never=tuple(sometimes.never(name, seen)),
        compiled=compiled.active(),
    )


def in_history(hashed: str) -> bool:
    """Whether the tree that is here comes from that commit; the plus of changes beside it is no matter."""
    words = ["git", "merge-base", "--is-ancestor", hashed.removesuffix("+"), "HEAD"]
    return (
        subprocess.run(words, cwd=PAGE.parent, capture_output=True, check=False, timeout=30).returncode == 0
    )


def foreign(rows: list[str]) -> list[str]:
    """The rows of commits that this branch has not got: what they played may be anything."""
    return [row for row in rows if not in_history(row.strip("|").split("|")[2].strip())]


def rows_of(page: Path) -> list[str]:
    """The rows of its table. Raises ValueError when it has none."""
    lines = page.read_text(encoding="utf-8").splitlines()
    if HEAD not in lines:
        raise ValueError(f"{page}: there is no line {HEAD!r} to add to")
    return list(takewhile(lambda line: line.startswith("|"), lines[lines.index(HEAD) + 2 :]))


def judge(page: Path, rows: list[str]) -> None:
    """Raises ValueError while a row is of a commit that is not in this branch's history."""
    if strangers := foreign(rows):
        named = "; ".join(strangers)
        raise ValueError(f"{page}: not in the history of this branch: {named} (play these slices again here)")


def append(page: Path, one: Slice) -> None:
    """Add the row to the table of the page and sum up anew.

    Raises ValueError, and changes nothing, when `judge` does.
    """
    rows = [*rows_of(page), one.line()]
    judge(page, rows)
    lines = page.read_text(encoding="utf-8").splitlines()
    lines.insert(lines.index(HEAD) + 1 + len(rows), one.line())
    text = "\n".join(total(rows) if line.startswith(TOTAL) else line for line in lines)
    page.write_text(text + "\n", encoding="utf-8")


def total(rows: list[str]) -> str:
    """The line of sums."""
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    hours = sum(float(row[3]) for row in cells)
    seeds = sum(_count(row[1]) for row in cells)
    violations = sum(len(re.findall("seed ", row[5])) for row in cells)
    classes = len({row[0] for row in cells})
    return f"{TOTAL}{hours:.0f} cluster-hours, {seeds} runs of {classes} classes, {violations} violations."


def _count(seeds: str) -> int:
    first, _, last = seeds.partition("–")
    return int(last) - int(first) + 1
