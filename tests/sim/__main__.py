"""`python -m tests.sim run --class chaos3 --seed 8812 [--seeds K] [--trace]`: run, and replay what failed.

`python -m tests.sim mutants [--seeds K]`: is it any good? Broken rules, and the seed that shows each.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.sim import cib_classes, explorer, full, nodes, standing, talk, witness  # noqa: F401 - registers its classes
from tests.sim.classes import REGISTRY
from tests.sim.engine import SECOND, START_NS, render_trace
from tests.sim.mutants import membership
from tests.sim.mutants import talk as talk_mutants
from tests.sim.mutants.membership import Mutant


def run_one(name: str, seed: int, *, trace: bool) -> tuple[bool, float, str]:
    """Play one seed. Returns whether it held, simulated seconds, and the trace hash."""
    run = REGISTRY[name](seed)
    if trace:
        run.world.keep_all_trace = []
    held = True
    try:
        run.play()
    except AssertionError as error:
        held = False
        print(f"FAILED class {name} seed {seed}: {error}")
        if not str(error) or "I" not in str(error)[:1]:
            traceback.print_exc(limit=-4, file=sys.stdout)
        if not trace:
            print(render_trace(run.world.trace))
        print(f"replay: python -m tests.sim run --class {name} --seed {seed} --trace")
    if trace:
        print(render_trace(run.world.keep_all_trace or (), last=1_000_000))
    return held, (run.world.now_ns - START_NS) / SECOND, run.world.trace_hash


def kill(mutant: Mutant, seeds: int) -> tuple[int, str]:
    """The first seed that shows the mutant (0: none of them), and what it broke."""
    with mutant.entered():
        for seed in range(1, seeds + 1):
            try:
                REGISTRY[mutant.scenario](seed).play()
            except AssertionError as error:
                return seed, str(error)
    return 0, ""


def mutants(seeds: int) -> int:
    """The table of seeds to kill; exit code 1 when one survives."""
    survivors = 0
    for mutant in (*membership.MUTANTS, *talk_mutants.MUTANTS):
        began = time.process_time()
        seed, why = kill(mutant, seeds)
        survivors += not seed
        took = time.process_time() - began
        print(
            f"{mutant.scenario:12} seed {seed or '-':>4} {took:6.1f} s  {mutant.what}: {why[:60]}", flush=True
        )
    return 1 if survivors else 0


def explore(count: int, seconds: float, without: str) -> int:
    """Exit code 1 when a rule turns out not to be enough."""
    try:
        print(explorer.explore(count, seconds, without))
    except explorer.Violation as violation:
        print(f"VIOLATION {violation}")
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when every seed held."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    sub = parser.add_subparsers(dest="command", required=True)
    command = sub.add_parser("run")
    command.add_argument("--class", dest="name", choices=sorted(REGISTRY), required=True)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    command.add_argument("--failures", type=int, default=3, help="stop after so many")
    command.add_argument("--trace", action="store_true")
    search = sub.add_parser("explore")
    search.add_argument("--nodes", type=int, default=3)
    search.add_argument("--seconds", type=float, default=30.0, help="of CPU")
    search.add_argument("--without", choices=sorted(explorer.RULES), default="", help="leave a rule out")
    sub.add_parser("mutants").add_argument("--seeds", type=int, default=200, help="tried for each")
    options = parser.parse_args(arguments)
    if options.command == "mutants":
        return mutants(options.seeds)
    if options.command == "explore":
        return explore(options.nodes, options.seconds, options.without)
    began = time.perf_counter()
    simulated = failures = played = 0.0
    digest = ""
    for seed in range(options.seed, options.seed + options.seeds):
        held, seconds, digest = run_one(options.name, seed, trace=options.trace)
        simulated += seconds
        played += 1
        failures += not held
        if failures >= options.failures:
            break
    took = time.perf_counter() - began
    print(
        f"class {options.name}: {played:.0f} seeds from {options.seed}, {failures:.0f} failed, "
        f"{simulated:.0f} s simulated in {took:.1f} s ({simulated / took:.0f} x), last trace {digest}"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
