"""Cut a failing run down: fewer faults, no clients, fewer nodes, shorter times; what is left is a file.

A `Case` is a class, a seed and the faults as data; it is played without the generator. Delta debugging, at
most `RUNS_MAX` runs and `SECONDS_MAX` of CPU (test-plan.md 2.5). A smaller case counts when it breaks the
same invariant.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.sim.classes import REGISTRY, Planned, Run
from tests.sim.engine import InvariantBroken, Node
from tests.sim.plan import Fault

RUNS_MAX = 200
SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run that can be played again. `faults` None: those that the seed draws."""

    name: str
    seed: int
    faults: tuple[Fault, ...] | None = None
    clients: bool = True
    absent: tuple[str, ...] = ()
    invariant: str = ""

    def __str__(self) -> str:
        faults = "its own faults" if self.faults is None else f"{len(self.faults)} faults"
        without = f", without {' '.join(self.absent)}" if self.absent else ""
        return (
            f"class {self.name} seed {self.seed}: {faults}{'' if self.clients else ', no clients'}{without}"
        )


def prepared(case: Case) -> Run:
    """The run, not yet played."""
    run = REGISTRY[case.name](case.seed)
    if isinstance(run, Planned):
        run.given, run.clients = case.faults, case.clients
        for node in nodes_of(run):
            node.absent = node.name in case.absent
    return run


def nodes_of(run: object) -> list[Node]:
    """The machines of a run's cluster."""
    cluster = getattr(run, "cluster", None)
    return list(cluster.nodes.values()) if cluster is not None else []


def verdict(error: AssertionError) -> str:
    """What identifies a failure: the invariant's number, or the beginning of a plain assertion's text."""
    if isinstance(error, InvariantBroken):
        return error.invariant
    return " ".join(str(error).split()[:2]) or "assertion"


def broken_by(case: Case) -> tuple[str, Run]:
    """The invariant that a case breaks; empty when it holds."""
    run = prepared(case)
    try:
        run.play()
    except AssertionError as error:
        return verdict(error), run
    return "", run


class Shrinker:
    """Tries smaller cases while there is budget left."""

    def __init__(self, case: Case, *, runs_max: int = RUNS_MAX, seconds_max: float = SECONDS_MAX) -> None:
        invariant, run = broken_by(case)
        if not invariant:
            raise ValueError(f"{case} does not fail")
        if not isinstance(run, Planned):
            raise TypeError(f"the faults of class {case.name} are part of its story, there is nothing to cut")
        self.runs = 1
        self._runs_max = runs_max
        self._until_s = time.process_time() + seconds_max
        self.best = replace(case, faults=tuple(run.faults), invariant=invariant)

    def shrink(self) -> Case:
        """The smallest case found."""
        self._halves()
        self._one_by_one()
        self._try(replace(self.best, clients=False))
        for node in nodes_of(prepared(self.best)):
            self._try(replace(self.best, absent=(*self.best.absent, node.name)))
        self._one_by_one()
        self._shorter()
        self._one_by_one()
        return self.best

    def _spent(self) -> bool:
        return self.runs >= self._runs_max or time.process_time() >= self._until_s

    def _try(self, case: Case) -> bool:
        """Whether the case breaks the same; then it is the best."""
        if self._spent():
            return False
        self.runs += 1
        if broken_by(case)[0] != self.best.invariant:
            return False
        self.best = case
        return True

    def _without(self, faults: Sequence[Fault]) -> bool:
        return self._try(replace(self.best, faults=tuple(faults)))

    def _halves(self) -> None:
        """Chunks of a half, a quarter, an eighth … are left out, each for good when nothing changes."""
        parts = 2
        while not self._spent():
            faults = self.best.faults or ()
            size = len(faults) // parts
            if size < 2:
                return
            if not any(
                self._without((*faults[:at], *faults[at + size :])) for at in range(0, len(faults), size)
            ):
                parts *= 2

    def _one_by_one(self) -> None:
        """Until none can be left out: one may be of use only as long as a later one is there."""
        before = -1
        while before != len(self.best.faults or ()):
            before, at = len(self.best.faults or ()), 0
            while at < len(self.best.faults or ()) and not self._spent():
                faults = self.best.faults or ()
                if not self._without((*faults[:at], *faults[at + 1 :])):
                    at += 1

    def _shorter(self) -> None:
        """Each fault's duration, then the time between two faults, down to a half for as long as it fails."""
        for at in range(len(self.best.faults or ())):
            while not self._spent():
                fault = (self.best.faults or ())[at]
                if not fault.for_ns or not self._put(at, replace(fault, for_ns=fault.for_ns // 2)):
                    break
        for at in range(len(self.best.faults or ())):
            while not self._spent() and self._earlier(at):
                pass

    def _put(self, at: int, fault: Fault) -> bool:
        faults = self.best.faults or ()
        return self._without((*faults[:at], fault, *faults[at + 1 :]))

    def _earlier(self, at: int) -> bool:
        """The fault and all after it come sooner."""
        faults = self.best.faults or ()
        before_ns = faults[at - 1].at_ns if at else 0
        by_ns = (faults[at].at_ns - before_ns) // 2
        if by_ns < 100_000_000:
            return False
        moved = [replace(fault, at_ns=fault.at_ns - by_ns) for fault in faults[at:]]
        return self._without((*faults[:at], *moved))


def write(case: Case, path: Path) -> None:
    """As JSON, one fault a line."""
    value = asdict(case)
    faults = [json.dumps(fault) for fault in value.pop("faults") or ()]
    head = json.dumps(value)[:-1]
    body = ",\n  ".join(faults)
    text = f'{head}, "faults": {"null" if case.faults is None else "[" + chr(10) + "  " + body + "]"}}}\n'
    path.write_text(text, encoding="utf-8")


def read(path: Path) -> Case:
    """What `write` wrote. Raises ValueError for anything else."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if value.get("name") not in REGISTRY:
        raise ValueError(f"{path}: there is no class {value.get('name')!r}")
    faults = value.pop("faults")
    made = None if faults is None else tuple(_fault(fault) for fault in faults)
    absent = tuple(value.pop("absent", ()))
    return Case(faults=made, absent=absent, **value)


def _fault(value: dict[str, Any]) -> Fault:
    return Fault(**{**value, "nodes": tuple(value["nodes"])})


def shrunk(case: Case, say: Callable[[str], None]) -> Case:
    """Shrink, and tell about it."""
    shrinker = Shrinker(case)
    before = len(shrinker.best.faults or ())
    best = shrinker.shrink()
    say(f"{before} faults became {len(best.faults or ())} in {shrinker.runs} runs; {best}, {best.invariant}")
    for fault in best.faults or ():
        say(f"  {fault}")
    return best
