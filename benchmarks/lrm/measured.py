"""`python -m benchmarks.lrm.measured --root DIR --node NAME`: ha-lrm with a loop that measures its passes.

At the end (SIGTERM) ROOT/passes.json has the longest ones, in ms of its own CPU. The first pass,
which imports gRPC and serves nobody yet, stands for itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

LONGEST = 20


class MeasuringLoop(asyncio.SelectorEventLoop):
    """A pass is what runs between two looks at the sockets; CPU, since the machine may be busy."""

    def __init__(self) -> None:
        super().__init__()
        self.passes_ns: list[int] = []
        self.first_ns = 0
        self.count = 0

    def _run_once(self) -> None:
        began_ns = time.thread_time_ns()
        super()._run_once()  # type: ignore[misc]  # asyncio's own, which its types do not show
        took_ns = time.thread_time_ns() - began_ns
        self.count += 1
        if self.count == 1:
            self.first_ns = took_ns
            return
        self.passes_ns.append(took_ns)
        if len(self.passes_ns) > 100 * LONGEST:
            self.passes_ns = sorted(self.passes_ns)[-LONGEST:]

    def write(self, path: Path) -> None:
        """The longest passes, the longest first."""
        longest = sorted(self.passes_ns)[-LONGEST:][::-1]
        told = {
            "count": self.count,
            "first_ms": self.first_ns / 1e6,
            "longest_ms": [ns / 1e6 for ns in longest],
        }
        path.write_text(json.dumps(told))


class Policy(asyncio.DefaultEventLoopPolicy):
    """Makes measuring loops."""

    loop: MeasuringLoop

    def new_event_loop(self) -> Any:
        """One loop a process."""
        self.loop = MeasuringLoop()
        return self.loop


def main() -> int:
    """ha-lrm's exit code."""
    from lrm.__main__ import main as lrm_main

    policy = Policy()
    asyncio.set_event_loop_policy(policy)
    try:
        return lrm_main()
    finally:
        policy.loop.write(Path(sys.argv[sys.argv.index("--root") + 1]) / "passes.json")


if __name__ == "__main__":
    sys.exit(main())
