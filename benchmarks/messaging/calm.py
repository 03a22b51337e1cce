"""`python -m benchmarks.messaging.calm [--minutes 30]`: nobody is declared dead for being slow.

Three real daemons in network namespaces at K = 100 ms, D = 500 ms, and beside them twice as many busy
processes as there are cores. No view may be installed after the first one of all. The daemons have real-time
priority, which outside of labs they take by themselves (messaging/priority.py); `--ordinary` leaves it out.
`--burners` counts the busy processes that are started, where others keep the cores busy already. Needs root;
the namespaces (names `hamsg-…`) are removed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.messaging.detection import NODES, REAL_TIME, head, views
from benchmarks.messaging.scale import Machines, wait

LOOK_S = 15.0


def main() -> int:
    """Exit code 1 when a view was installed meanwhile, or the cores were not that busy."""
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(prog="python -m benchmarks.messaging.calm")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--burners", type=int, default=2 * cores)
    parser.add_argument("--ordinary", action="store_true", help="without real-time priority")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hamsg-"))
    machines = Machines(NODES, folder, head(), () if options.ordinary else REAL_TIME)
    burners: list[subprocess.Popen[bytes]] = []
    running: list[float] = []
    try:
        machines.build()
        for number in range(1, NODES + 1):
            machines.start(number)
        wait("one view", machines.in_one_view)
        wait("all serve", lambda: all(map(machines.serves, range(1, NODES + 1))))
        began_s, began = time.time(), time.monotonic()
        burn = [sys.executable, "-c", "while True: pass"]
        burners += [subprocess.Popen(burn) for _ in range(options.burners)]
        while (passed := time.monotonic() - began) < options.minutes * 60:
            time.sleep(min(LOOK_S, options.minutes * 60 - passed))
            running.append(float(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].split("/")[0]))
            print(f"\r{passed / 60:.0f} of {options.minutes:.0f} min", end="", file=sys.stderr, flush=True)
        later = {
            f"n{number}": [sorted(members) for at, members in views(machines, number) if at >= began_s]
            for number in range(1, NODES + 1)
        }
        died = [number for number, daemon in machines.daemons.items() if daemon.poll() is not None]
    finally:
        for burner in burners:
            burner.kill()
            burner.wait(20)
        machines.remove()
        shutil.rmtree(folder, ignore_errors=True)
    false = sum(map(len, later.values()))
    busy = sum(running) / len(running)
    print(f"\n{options.minutes:.0f} min at K = 100 ms, D = 500 ms: {false} views after the first   limit 0")
    for name, seen in later.items():
        if seen:
            print(f"  {name}: {seen}")
    if died:
        print(f"  ended: {died}")
    print(f"runnable, by {len(running)} looks: {busy:.1f} on average on {cores} cores   at least {2 * cores}")
    return 0 if not false and not died and busy >= 2 * cores else 1


if __name__ == "__main__":
    sys.exit(main())
