"""Run the benchmarks: `python -m benchmarks [AREA ...]`; each prints a ratio or its limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SECONDS_MAX = 600


def main() -> int:
    here = Path(__file__).resolve().parent
    areas = sys.argv[1:] or sorted(path.parent.name for path in here.glob("*/__main__.py"))
    failed = []
    for area in areas:
        print(f"== {area}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{area}"]
        if subprocess.run(command, cwd=here.parent, timeout=SECONDS_MAX, check=False).returncode:
            failed.append(area)
    if failed:
        print("beyond its limit: " + ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
