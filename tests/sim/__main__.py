"""`python -m tests.sim run --class chaos3 --seed 8812 [--seeds K] [--trace]`: run, and replay what failed."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.sim import cib_classes, full  # noqa: F401 - registers its classes
from tests.sim.classes import REGISTRY
from tests.sim.engine import SECOND, START_NS, render_trace


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
    options = parser.parse_args(arguments)
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
