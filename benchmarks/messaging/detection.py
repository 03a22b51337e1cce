"""`python -m benchmarks.messaging.detection [--rounds 100]`: from a daemon's death to the view without it.

Three real daemons in network namespaces at K = 100 ms, D = 500 ms. Again and again one of them is killed
(SIGKILL, as a power cut: it says nothing any more); measured is until both others have installed the view
without it, by the times in their logs. They have real-time priority, which outside of labs they take by
themselves (messaging/priority.py); `--ordinary` leaves it out. Limit: 700 ms, each time. Needs root; the
namespaces (names `hamsg-…`) are removed.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.messaging.scale import HEAD, Machines, wait

NODES = 3
LIMIT_MS = 700.0
REAL_TIME = ("chrt", "--rr", "--reset-on-fork", "50")
TIMERS = ("100ms", "250ms", "500ms", "5s")  # keepalive, warntime, deadtime, initdead


def head() -> str:
    """cluster.toml with the short timers."""
    names = ("keepalive", "warntime", "deadtime", "initdead")
    text = HEAD
    for name, value in zip(names, TIMERS, strict=True):
        text = re.sub(rf'(?m)^{name} = ".*"$', f'{name} = "{value}"', text)
    return text


def views(machines: Machines, number: int) -> list[tuple[float, frozenset[str]]]:
    """When the node has installed which views, in seconds of the wall clock."""
    log = (machines.folder / f"n{number}.log").read_text(errors="replace")
    return [
        (datetime.datetime.fromisoformat(at).timestamp(), frozenset(members.split()))
        for at, members in re.findall(
            r"timestamp=(\S+).*event=messaging\.view_installed.*?members=\"?([^\"=]*n\d+)\"?", log
        )
    ]


def last_view(machines: Machines, number: int) -> frozenset[str]:
    """The members of its newest view."""
    known = views(machines, number)
    return known[-1][1] if known else frozenset()


def kill_one(machines: Machines, victim: int) -> float:
    """ms until the later of the others has the view without the victim; then it is started again."""
    everybody = frozenset(f"n{number}" for number in range(1, NODES + 1))
    others = [number for number in range(1, NODES + 1) if number != victim]
    rest = everybody - {f"n{victim}"}
    daemon = machines.daemons[victim]
    killed_s = time.time()
    daemon.kill()
    daemon.wait(20)
    wait("the view without it", lambda: all(last_view(machines, number) == rest for number in others))
    found_s = max(
        next(at for at, members in views(machines, number) if at > killed_s and members == rest)
        for number in others
    )
    machines.start(victim)
    wait("the view with it", lambda: all(last_view(machines, n) == everybody for n in range(1, NODES + 1)))
    wait("it serves", lambda: machines.serves(victim))
    return (found_s - killed_s) * 1_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.messaging.detection")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--ordinary", action="store_true", help="without real-time priority")
    options = parser.parse_args()
    rounds = options.rounds
    folder = Path(tempfile.mkdtemp(prefix="hamsg-"))
    machines = Machines(NODES, folder, head(), () if options.ordinary else REAL_TIME)
    try:
        machines.build()
        for number in range(1, NODES + 1):
            machines.start(number)
        wait("one view", machines.in_one_view)
        wait("all serve", lambda: all(map(machines.serves, range(1, NODES + 1))))
        taken = sorted(kill_one(machines, round_ % NODES + 1) for round_ in range(rounds))
    finally:
        machines.remove()
        shutil.rmtree(folder, ignore_errors=True)
    within = sum(took <= LIMIT_MS for took in taken)
    print(f"{rounds} deaths at K = 100 ms, D = 500 ms: p50 {statistics.median(taken):.0f} ms, ", end="")
    print(f"least {taken[0]:.0f} ms, most {taken[-1]:.0f} ms; {within} within {LIMIT_MS:.0f} ms")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0 if within == rounds else 1


if __name__ == "__main__":
    sys.exit(main())
