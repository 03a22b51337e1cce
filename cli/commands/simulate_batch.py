"""`hacli simulate --batch`: a folder of CIBs to a folder of graphs, scores and summaries."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

from cli.commands.simulate import Simulation
from cli.commands.simulate_options import build_parser
from hacluster.errors import HaError, InvalidRequest

CASE_SECONDS_MAX = 300


def run_batch(folder: str, out: str | None, jobs: int, say: TextIO) -> int:
    """Simulate every case of DIR/index.json. Exit code 1 when a case could not be computed.

    Raises InvalidRequest when the folder or --out is missing.
    """
    if not out:
        raise InvalidRequest(what="--batch needs --out", remedy="name a folder for the results")
    cases = _cases(Path(folder))
    for part in ("exp", "scores", "summary"):
        (Path(out) / part).mkdir(parents=True, exist_ok=True)
    count = max(1, jobs or os.cpu_count() or 1)
    started = time.monotonic()
    if count == 1:
        failures = [
            failure for name, args in cases if (failure := run_case(Path(folder), Path(out), name, args))
        ]
    else:
        failures = _in_processes(folder, out, len(cases), count)
    for failure in failures:
        say.write(f"{failure}\n")
    took = time.monotonic() - started
    say.write(f"{len(cases) - len(failures)} of {len(cases)} cases computed in {took:.1f} s\n")
    return 1 if failures else 0


def _cases(folder: Path) -> list[tuple[str, list[str]]]:
    try:
        index = json.loads((folder / "index.json").read_text())
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            what=f"{folder / 'index.json'}: {error}",
            remedy='it is a list of objects with "name" and "args"',
        ) from None
    return [(str(case["name"]), [str(arg) for arg in case.get("args", [])]) for case in index]


def _in_processes(folder: str, out: str, total: int, count: int) -> list[str]:
    """Every count-th case in a process of its own; each prints the failures, one a line."""
    command = [sys.executable, "-m", "cli.commands.simulate_batch", folder, out, str(count)]
    workers = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(count)
    ]
    failures: list[str] = []
    limit_s = CASE_SECONDS_MAX * max(1, total // count)
    for number, worker in enumerate(workers):
        try:
            printed, _ = worker.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            worker.kill()
            printed = worker.communicate()[0] + f"worker {number}: not done after {limit_s} s\n"
        failures.extend(printed.splitlines())
        if worker.returncode not in (0, 1):
            failures.append(f"worker {number}: exit code {worker.returncode}")
    return sorted(failures)


def run_case(folder: Path, out: Path, name: str, args: list[str]) -> str:
    """Write the three files of one case. The reason when it could not be computed, else empty."""
    source = str(folder / "xml" / f"{name}.xml")
    try:
        summary = _capture(["-x", source, "-S", *args])
        graph = str(out / "exp" / f"{name}.exp")
        scores = _capture(["-x", source, "-sSQ", "-G", graph, *args])
    except (HaError, OSError) as error:
        return f"{name}: {error}"
    except Exception as error:  # a bug in one case must not end the batch; it is reported as what it is
        return f"{name}: {type(error).__name__}: {error} (a bug in the scheduler)"
    (out / "summary" / f"{name}.summary").write_text(summary)
    lines = sorted(line for line in scores.splitlines() if line)
    (out / "scores" / f"{name}.scores").write_text("".join(f"{line}\n" for line in lines))
    return ""


def _capture(argv: list[str]) -> str:
    text = io.StringIO()
    Simulation(build_parser().parse_args(argv), text).run()
    return text.getvalue()


def _worker(folder: str, out: str, count: str, number: str) -> int:
    failed = 0
    for name, args in _cases(Path(folder))[int(number) :: int(count)]:
        failure = run_case(Path(folder), Path(out), name, args)
        if failure:
            failed = 1
            print(failure, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(_worker(*sys.argv[1:5]))
