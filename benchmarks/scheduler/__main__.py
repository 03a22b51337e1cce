"""Time and memory of `schedule` beside crm_simulate's: `python -m benchmarks.scheduler [--all] [--mix ...]`.

Each run is a process of its own: CIB as bytes in, graph as bytes out. Counted are seconds of the processor
and peak memory, without the start of Python itself, which is measured in the same run: the loading of our
modules counts. Of short runs the best of several counts, ours and theirs. Goals: faster than crm_simulate
where that needs more than a second, at most three times its time where it needs less; less memory; and time
that grows as what there is to do (actions, and entries of histories to read). A goal that is missed makes the
exit code 1.

The running service has its modules loaded: beside it stands the time without their loading (measured beside
each short run, and never less than what the run's own clock showed). Growth is judged by that.

CIBs come from make_cib.py (option --make-cib, or HACLUSTER_MAKE_CIB); without it from a plain generator here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.scheduler import built_in
from benchmarks.scheduler.measuring import Usage, bare, least, ours, reference, start

SIZES = ((3, 30), (16, 200), (32, 1000), (100, 1000), (100, 5000))
MIXES = ("primitives", "groups", "clones", "constraints", "utilization", "mixed")
STATES = ("fresh", "stopped", "running", "failed", "recover")
QUICK = (
    *((3, 30, mix, state) for mix in MIXES for state in ("fresh", "running")),
    *((16, 200, mix, state) for mix in MIXES for state in ("fresh", "running")),
    *((32, 1000, "mixed", state) for state in ("running", "failed")),
    (32, 1000, "clones", "fresh"),
    (100, 1000, "clones", "fresh"),
)
SLOW_S = 1.0
RATIO_MAX = 3.0
GROWTH_MAX = 1.5
# Below this the figures are those of the clock rather than of the program.
GROWTH_FROM_S = 0.1
# Shorter runs are repeated more often: (resources at most, how often).
TIMES = ((30, 5), (200, 3))

Row = tuple[int, int, str, str]


@dataclass(slots=True)
class Result:
    """What was measured for one CIB."""

    row: Row
    usage: Usage
    told: dict[str, float]
    again_s: float | None
    theirs: Usage | None
    mark: str  # "*" where theirs is stored, ">" where it was ended before it was done, else " "
    whole_s: float  # with the loading of our modules; `usage` is without
    missed: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """What there is to do: actions, and entries of histories to read."""
        return int(self.told["actions"] + self.told["history"])


def name_of(row: Row) -> str:
    """NODES-RESOURCES-MIX-STATE, as in a reference file."""
    return "-".join(map(str, row))


def times_of(row: Row) -> int:
    """How often a run is repeated, ours and theirs."""
    return next((times for limit, times in TIMES if row[1] <= limit), 1)


class Benchmark:
    """One run of the command."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._program = shutil.which("crm_simulate") or shutil.which("crm_simulate", path="/usr/sbin")
        self._stored: dict[str, dict[str, float]] = {}
        if options.reference_file is not None:
            self._stored = json.loads(options.reference_file.read_text())["figures"]
        self._start = start()
        self._bare = bare()  # for short runs measured again beside each
        self.results: list[Result] = []

    def run(self, rows: Sequence[Row]) -> bool:
        """Measure all and print; True if every goal was met."""
        print(f"start of Python with its modules: {self._start.cpu_s:.2f} s, {self._start.memory_mb:.0f} MB")
        print(f"of this Python alone: {self._bare.cpu_s:.3f} s, {self._bare.memory_mb:.0f} MB")
        print("(whole = with the loading of our modules, which goal and ratio judge; ours, own = without it;")
        print(" * = stored figure, not measured now; > = crm_simulate was ended at that, not done;")
        print(" again = a second run, same process)")
        if self._program is None:
            print("crm_simulate is not installed: only stored figures and growth are compared")
        print(
            f"{'nodes-resources-mix-state':34} {'actions':>7} {'history':>7} {'whole':>7} {'theirs':>8} "
            f"{'ratio':>6} {'ours':>7} {'own':>6} {'MB':>5} {'theirs':>7} {'again':>6} {'us/item':>8}"
        )
        for row in rows:
            result = self._measure(row)
            if result is not None:
                self.results.append(result)
                print(self._line(result), flush=True)
        grown = self._growth()
        self._tell_of_ratios()
        missed = [result for result in self.results if result.missed]
        print(
            f"{len(self.results)} clusters, {len(missed)} beyond a goal, {grown} growths beyond {GROWTH_MAX}"
        )
        return not missed and not grown

    def _cib(self, row: Row) -> Path | None:
        nodes, resources, mix, state = row
        path = self._folder / f"{name_of(row)}.xml"
        maker = self._options.make_cib
        if maker:
            size = ["--nodes", str(nodes), "--resources", str(resources)]
            kind = ["--mix", mix, "--state", state, "-o", str(path)]
            subprocess.run([sys.executable, maker, *size, *kind], check=True, timeout=600)
        elif mix == "mixed" and state in built_in.STATES:
            path.write_text(built_in.cluster(nodes, resources, state))
        else:
            return None
        return path

    def _measure(self, row: Row) -> Result | None:
        path = self._cib(row)
        if path is None:
            return None
        times = times_of(row)
        runs: list[tuple[Usage, dict[str, float]]] = []
        for _ in range(times):
            if times > 1:  # the machine may be busier now than it was at the beginning, or less
                self._start = least([self._start, start(1)])
                self._bare = least([self._bare, bare(1)])
            runs.append(ours(str(path)))
        whole, told = min(runs, key=lambda one: one[0].cpu_s)
        net = whole.without(self._start)
        loaded = whole.without(self._bare)
        usage = Usage(max(net.cpu_s, min(one["work_s"] for _, one in runs)), loaded.memory_mb)
        again_s = ours("--again", str(path))[1]["again_s"] if told["history"] else None
        theirs, mark = self._theirs(row, path)
        path.unlink()
        result = Result(row, usage, told, again_s, theirs, mark, loaded.cpu_s)
        if theirs is not None:
            limit_s = theirs.cpu_s if theirs.cpu_s > SLOW_S else RATIO_MAX * theirs.cpu_s
            if result.whole_s > limit_s:
                result.missed.append("time")
            if mark != ">" and 0 < theirs.memory_mb < result.usage.memory_mb:
                result.missed.append("memory")
        return result

    def _theirs(self, row: Row, path: Path) -> tuple[Usage | None, str]:
        stored = self._stored.get(name_of(row))
        if stored is not None:
            return Usage(stored["cpu_s"], stored["memory_mb"]), "*"
        if self._program is None:
            return None, " "
        limit_s = self._options.reference_limit_s
        runs = [reference(self._program, path, limit_s) for _ in range(times_of(row))]
        theirs = min(runs, key=lambda one: one.cpu_s)
        return theirs, ">" if theirs.cut_off else " "

    def _line(self, result: Result) -> str:
        mark = result.mark
        theirs = result.theirs
        compared = f"{'-':>7}  {'-':>6}" if theirs is None else f"{theirs.cpu_s:7.3f}{mark}"
        own = "-"
        if theirs is not None:
            compared += f" {result.whole_s / theirs.cpu_s:6.2f}"
            own = f"{result.usage.cpu_s / theirs.cpu_s:.2f}"
        memory = f"{'-':>6} " if theirs is None else f"{theirs.memory_mb:6.0f}{mark}"
        again = "-" if result.again_s is None else f"{result.again_s:.2f}"
        verdict = f"  MISSED: {', '.join(result.missed)}" if result.missed else "  ok" if theirs else ""
        return (
            f"{name_of(result.row):34} {result.told['actions']:7.0f} {result.told['history']:7.0f} "
            f"{result.whole_s:7.3f} {compared} {result.usage.cpu_s:7.3f} {own:>6} "
            f"{result.usage.memory_mb:5.0f} {memory} {again:>6} "
            f"{1e6 * result.usage.cpu_s / result.size:8.0f}{verdict}"
        )

    def _tell_of_ratios(self) -> None:
        """The worst that one meets who starts the program for one cluster, and who asks a running service."""
        found = [(one.theirs.cpu_s, one) for one in self.results if one.theirs]
        if found:
            whole, row = max((one.whole_s / theirs_s, one.row) for theirs_s, one in found)
            print(f"with the loading of our modules: at most {whole:.2f} times ({name_of(row)})")
            own, row = max((one.usage.cpu_s / theirs_s, one.row) for theirs_s, one in found)
            print(f"without it: at most {own:.2f} times ({name_of(row)})")

    def _growth(self) -> int:
        """How the time for one thing to do grows, from the smallest cluster that can be timed on."""
        beyond = 0
        for mix in MIXES:
            for state in STATES:
                found = [
                    one
                    for one in self.results
                    if one.row[2:] == (mix, state) and one.usage.cpu_s >= GROWTH_FROM_S
                ]
                if len(found) < 2:
                    continue
                first, last = (one.usage.cpu_s / one.size for one in (found[0], found[-1]))
                over = last / first > GROWTH_MAX
                beyond += over
                print(
                    f"growth {mix}-{state}: {1e6 * first:.0f} us each at {found[0].row[:2]}, "
                    f"{1e6 * last:.0f} us at {found[-1].row[:2]}: {last / first:.2f}"
                    f"{'  MISSED' if over else ''}"
                )
        return beyond


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduler")
    parser.add_argument("--all", action="store_true", help="all sizes, mixes and states but 100-5000")
    parser.add_argument("--huge", action="store_true", help="with --all: 100-5000, too (hours, 6 GB)")
    parser.add_argument(
        "--reference-limit-s",
        type=int,
        default=60,
        metavar="SECONDS",
        help="of the processor, after which crm_simulate is ended; 0 for never (default %(default)s)",
    )
    parser.add_argument("--mix", choices=MIXES, action="append", help="only this mix (may be repeated)")
    parser.add_argument("--state", choices=STATES, action="append", help="only this state (may be repeated)")
    parser.add_argument("--size", action="append", help="only this size: NODES-RESOURCES (may be repeated)")
    parser.add_argument("--make-cib", default=os.environ.get("HACLUSTER_MAKE_CIB", ""), metavar="FILE")
    parser.add_argument(
        "--reference-file",
        type=Path,
        metavar="FILE",
        help="stored figures of crm_simulate, which is not run for these (for instance reference.json here)",
    )
    return parser.parse_args(arguments)


def rows_of(options: argparse.Namespace) -> list[Row]:
    """The clusters to measure."""
    rows: list[Row] = list(QUICK)
    if options.all or options.mix or options.state or options.size or options.huge:
        asked = SIZES if options.huge or options.size else SIZES[:-1]
        rows = [(*size, mix, state) for size in asked for mix in MIXES for state in STATES]
    return [
        row
        for row in rows
        if (not options.mix or row[2] in options.mix)
        and (not options.state or row[3] in options.state)
        and (not options.size or f"{row[0]}-{row[1]}" in options.size)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every goal was met."""
    options = options_of(arguments)
    if not options.make_cib:
        print("no make_cib.py (HACLUSTER_MAKE_CIB): CIBs of the plain generator, mix mixed only")
    with tempfile.TemporaryDirectory(prefix="scheduler-benchmark-") as folder:
        return 0 if Benchmark(options, Path(folder)).run(rows_of(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
