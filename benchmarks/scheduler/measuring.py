"""Runs of ours and of crm_simulate, each in a process of its own: seconds of the processor, peak memory."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ENVIRONMENT = {**os.environ, "PYTHONHASHSEED": "0"}
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process used."""

    cpu_s: float
    memory_mb: float

    def without(self, start: Usage) -> Usage:
        """What is left when the start is not counted."""
        return Usage(max(0.0, self.cpu_s - start.cpu_s), max(0.0, self.memory_mb - start.memory_mb))


def run(arguments: list[str]) -> tuple[Usage, str]:
    """Run a program to its end; its use and its standard output. Raises RuntimeError where it fails."""
    with tempfile.TemporaryFile() as out:
        # posix_spawn and wait4: the use of this one process, whatever else this process has started.
        pid = os.posix_spawn(
            arguments[0],
            arguments,
            {**_ENVIRONMENT, "PYTHONPATH": str(_ROOT)},
            file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)],
        )
        _, status, used = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code:
            raise RuntimeError(f"{' '.join(arguments)}: exit code {code}")
        out.seek(0)
        text = out.read(1 << 16).decode(errors="replace")
    return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), text


def ours(*arguments: str) -> tuple[Usage, dict[str, Any]]:
    """A run of ours, and what it told."""
    usage, text = run([sys.executable, "-m", "benchmarks.scheduler.one_run", *arguments])
    return usage, json.loads(text) if text else {}


def start() -> Usage:
    """The start of Python with all that a run needs loaded, and nothing done: the least of five."""
    found = [ours()[0] for _ in range(5)]
    return Usage(min(one.cpu_s for one in found), min(one.memory_mb for one in found))


def reference(program: str, path: Path) -> Usage:
    """crm_simulate computing the same."""
    return run([program, "-R", "-x", str(path)])[0]
