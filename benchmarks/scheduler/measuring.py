"""Runs of ours and of crm_simulate, each in a process of its own: seconds of the processor, peak memory."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
# As an installed program runs: compiled once, not anew in every process.
_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PYTHONHASHSEED": "0",
    "PYTHONPATH": str(_ROOT),
}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process used; `cut_off`: it was ended at its limit, not done."""

    cpu_s: float
    memory_mb: float
    cut_off: bool = False

    def without(self, start: Usage) -> Usage:
        """What is left when the start is not counted."""
        return Usage(max(0.0, self.cpu_s - start.cpu_s), max(0.0, self.memory_mb - start.memory_mb))


# The peak of a process begins with that of whoever started it (getrusage(2): it outlives execve), so a small
# process starts it, and tells on descriptor 3 what wait4 said.
_LAUNCHER = """import os, resource, sys
limit_s = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_CPU, (limit_s or resource.RLIM_INFINITY, resource.RLIM_INFINITY))
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(pid, 0)
os.write(3, f"{os.waitstatus_to_exitcode(status)} {used.ru_utime + used.ru_stime} {used.ru_maxrss}".encode())
"""


def run(arguments: list[str], *, limit_s: int = 0) -> tuple[Usage, str]:
    """Run a program to its end; its use and its standard output. Raises RuntimeError where it fails.

    `limit_s`: of the processor, after which it is ended and the use so far is told; 0 for none.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as told:
        # posix_spawn and wait4: the use of this one process, whatever else this process has started.
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(limit_s), *arguments],
            _ENVIRONMENT,
            file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, told.fileno(), 3)],
        )
        os.waitpid(pid, 0)
        told.seek(0)
        code, cpu_s, peak_kb = [*told.read().decode().split(), "", "", ""][:3]
        cut_off = bool(limit_s) and code == str(-signal.SIGXCPU)
        if code != "0" and not cut_off:
            raise RuntimeError(f"{' '.join(arguments)}: exit code {code or 'unknown: it was not started'}")
        out.seek(0)
        text = out.read(1 << 16).decode(errors="replace")
    return Usage(float(cpu_s), int(peak_kb) / 1024, cut_off), text


def ours(*arguments: str) -> tuple[Usage, dict[str, float]]:
    """A run of ours, and what it told."""
    usage, text = run([sys.executable, "-m", "benchmarks.scheduler.one_run", *arguments])
    return usage, {name: float(value) for name, value in map(str.split, text.splitlines())}


def least(found: Sequence[Usage]) -> Usage:
    """The least of each figure: what other work on the machine adds is never negative."""
    return Usage(min(one.cpu_s for one in found), min(one.memory_mb for one in found))


def start(times: int = 5) -> Usage:
    """The start of Python with all that a run needs loaded, and nothing done: the least of several."""
    return least([ours()[0] for _ in range(times)])


def bare(times: int = 5) -> Usage:
    """The start of Python with nothing of ours."""
    return least([run([sys.executable, "-c", "pass"])[0] for _ in range(times)])


def reference(program: str, path: Path, limit_s: int) -> Usage:
    """crm_simulate computing the same, ended after that many seconds of the processor (0: never)."""
    return run([program, "-R", "-x", str(path)], limit_s=limit_s)[0]
