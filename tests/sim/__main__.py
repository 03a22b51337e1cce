"""`python -m tests.sim run --class chaos3 --seed 8812 [--seeds K] [--trace]`: run, and replay what failed.

`shrink` cuts a failing seed down to a file that `replay` plays. `mutants`: is it any good? Broken rules, and
the seed that shows each. `ledger` keeps the account of docs/simulation.md. `classes` lists what there is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.sim import ballots, explorer, ledger, log_explorer, shrink, sometimes, witness_explorer
from tests.sim import mutants as broken
from tests.sim.all_classes import REGISTRY
from tests.sim.classes import Planned
from tests.sim.engine import SECOND, START_NS, InvariantBroken, render_trace
from tests.sim.shrink import Case

BUNDLES = Path(tempfile.gettempdir()) / "hacluster-sim"


def play(case: Case, seen: dict[str, int], *, trace: bool) -> tuple[bool, float, str]:
    """Play one case. Returns whether it held, simulated seconds, and the trace hash."""
    run = shrink.prepared(case)
    if trace:
        run.world.keep_all_trace = []
    held = True
    try:
        run.play()
    except AssertionError as error:
        held = False
        print(f"FAILED {case}, commit {ledger.commit()}: {error}")
        if not isinstance(error, InvariantBroken):
            traceback.print_exc(limit=-4, file=sys.stdout)
        if not trace:
            print(render_trace(run.world.trace))
        print(f"replay: python -m tests.sim run --class {case.name} --seed {case.seed} --trace")
        if isinstance(run, Planned) and case.faults is None:
            print(f"the faults as data: {bundle(case, run, error)}  (`shrink` makes them fewer)")
    if trace:
        print(render_trace(run.world.keep_all_trace or (), last=1_000_000))
    sometimes.added(seen, run.world.seen)
    return held, (run.world.now_ns - START_NS) / SECOND, run.world.trace_hash


def bundle(case: Case, run: Planned, error: AssertionError) -> Path:
    """The plan of a failed run in a file for `replay`."""
    BUNDLES.mkdir(mode=0o700, exist_ok=True)
    path = BUNDLES / f"{case.name}-{case.seed}.json"
    faults = tuple(run.faults)
    known = Case(name=case.name, seed=case.seed, faults=faults, invariant=shrink.verdict(error))
    shrink.write(known, path)
    return path


def run_seeds(options: argparse.Namespace) -> int:
    """Exit code 1 when a seed fails."""
    began = time.process_time()
    simulated = failures = played = 0.0
    digest = ""
    seen: dict[str, int] = {}
    for seed in range(options.seed, options.seed + options.seeds):
        case = Case(name=options.name, seed=seed)
        held, seconds, digest = play(case, seen, trace=options.trace)
        simulated += seconds
        played += 1
        failures += not held
        if failures >= options.failures:
            break
    took = time.process_time() - began
    if options.sometimes:
        print("\n".join(sometimes.report(options.name, seen)))
    missing = sometimes.never(options.name, seen) if options.seeds > 1 else []
    if missing:
        print(f"never reached: {', '.join(missing)}")
    print(
        f"class {options.name}: {played:.0f} seeds from {options.seed}, {failures:.0f} failed, "
        f"{simulated:.0f} s simulated in {took:.1f} s ({simulated / took:.0f} x), last trace {digest}"
    )
    return 1 if failures else 0


def replay(options: argparse.Namespace) -> int:
    """Exit code 1 when it fails (again)."""
    case = shrink.read(options.file)
    held, _, digest = play(case, {}, trace=options.trace)
    print(f"{case}: {'held' if held else 'failed'}, trace {digest}")
    return 0 if held else 1


def cut_down(options: argparse.Namespace) -> int:
    """Exit code 1 when there is nothing to cut."""
    case = shrink.read(options.file) if options.file else Case(name=options.name, seed=options.seed)
    try:
        best = shrink.shrunk(case, print)
    except (ValueError, TypeError) as error:
        print(error)
        return 1
    shrink.write(best, options.output)
    print(f"replay: python -m tests.sim replay {options.output}")
    return 0


def mutants(seeds: int, seconds: float, *, write: bool) -> int:
    """The table of seeds to kill; exit code 1 when one survives."""
    survivors = 0
    found: dict[str, int] = {}
    for mutant in broken.ALL:
        began = time.process_time()
        seed, why = broken.kill(mutant, seeds, seconds)
        survivors += not seed
        found |= {mutant.what: seed} if seed else {}
        took = time.process_time() - began
        first = " ".join(why.split())[:60]
        print(f"{mutant.scenario:18} seed {seed or '-':>4} {took:6.1f} s  {mutant.what}: {first}", flush=True)
    print(f"{len(broken.ALL) - survivors} of {len(broken.ALL)} mutants killed")
    if write:
        broken.write_shown_by(found)
    return 1 if survivors else 0


def keep_account(options: argparse.Namespace) -> int:
    """Exit code 1 when a seed failed; 2 when the page is none that a row can be added to."""
    first, _, last = options.seeds.partition("-")
    try:
        ledger.judge(options.page, ledger.rows_of(options.page))
    except ValueError as error:
        print(error)
        return 2
    one = ledger.play(options.name, int(first), int(last or first), print, seconds_max=options.seconds)
    ledger.append(options.page, one)
    print(one.line())
    return 1 if one.violations else 0


def explore(options: argparse.Namespace) -> int:
    """Exit code 1 when a rule turns out not to be enough. With --log only the log's rules are played."""
    of_witness = options.witness or options.without in witness_explorer.RULES
    of_log = of_witness or options.log or options.without in log_explorer.RULES
    try:
        if of_witness:
            print(witness_explorer.explore(options.nodes, options.seconds, options.without))
        elif of_log:
            print(log_explorer.explore(options.nodes, options.seconds, options.without))
        if not of_log and options.without not in ballots.RULES:
            print(explorer.explore(options.nodes, options.seconds, options.without))
        if not of_log and options.without not in explorer.RULES:
            print(ballots.explore(options.seconds, options.without))
    except (explorer.Violation, ballots.Violation) as violation:
        print(f"VIOLATION {violation}")
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The commands."""
    top = argparse.ArgumentParser(prog="python -m tests.sim")
    sub = top.add_subparsers(dest="command", required=True)
    command = sub.add_parser("run", help="play seeds of a class")
    command.add_argument("--class", dest="name", choices=sorted(REGISTRY), required=True)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    command.add_argument("--failures", type=int, default=3, help="stop after so many")
    command.add_argument("--trace", action="store_true")
    command.add_argument(
        "--sometimes", action="store_true", help="show how often each rare state was reached"
    )
    command = sub.add_parser("replay", help="play a file")
    command.add_argument("file", type=Path)
    command.add_argument("--trace", action="store_true")
    command = sub.add_parser("shrink", help="cut a failing run down to a file")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--class", dest="name", choices=sorted(REGISTRY))
    what.add_argument("--file", type=Path)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("-o", dest="output", type=Path, default=Path("shrunk.json"))
    command = sub.add_parser("ledger", help="play a slice and enter it in docs/simulation.md")
    command.add_argument("--class", dest="name", choices=sorted(REGISTRY), required=True)
    command.add_argument("--seeds", required=True, metavar="A-B")
    command.add_argument("--seconds", type=float, default=0, help="of CPU at most")
    command.add_argument("--page", type=Path, default=ledger.PAGE)
    search = sub.add_parser("explore")
    search.add_argument("--nodes", type=int, default=3)
    search.add_argument("--seconds", type=float, default=30.0, help="of CPU")
    rules = sorted({*explorer.RULES, *ballots.RULES, *witness_explorer.ALL_RULES})
    search.add_argument("--without", choices=rules, default="", help="leave a rule out")
    search.add_argument("--log", action="store_true", help="the log's rules while the voters change")
    search.add_argument("--witness", action="store_true", help="the log's rules with a witness that votes")
    command = sub.add_parser("mutants", help="break rules, and see them caught")
    command.add_argument("--seeds", type=int, default=2_000, help="tried for each")
    command.add_argument("--seconds", type=float, default=60.0, help="of CPU for each")
    command.add_argument("--write", action="store_true", help="keep the seeds: the tests try them first")
    sub.add_parser("classes", help="all classes")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when every seed held."""
    options = parser().parse_args(arguments)
    match options.command:
        case "run":
            return run_seeds(options)
        case "replay":
            return replay(options)
        case "shrink":
            return cut_down(options)
        case "ledger":
            return keep_account(options)
        case "mutants":
            return mutants(options.seeds, options.seconds, write=options.write)
        case "explore":
            return explore(options)
        case _:
            print("\n".join(sorted(REGISTRY)))
            return 0


if __name__ == "__main__":
    sys.exit(main())
