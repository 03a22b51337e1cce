"""`python -m benchmarks.sim_throughput`: simulated seconds a second of CPU, against the test plan's targets.

K = 1 s and two links, as the targets are meant (test-plan.md, 2.7).
"""

from __future__ import annotations

import sys
import time

from tests.sim.classes import CHAOS, Profile, ViewsRun
from tests.sim.engine import MS, SECOND, START_NS
from tests.sim.membership import Timing

SLOW = Timing(keepalive_ns=SECOND, warntime_ns=5 * SECOND, deadtime_ns=10 * SECOND, initdead_ns=30_000 * MS)
TARGETS = ((3, 700.0), (5, 250.0), (9, 60.0))


def main() -> int:
    slow = 0
    for nodes, target in TARGETS:
        simulated = spent = 0.0
        for seed in range(1, 4):
            run = ViewsRun(seed, Profile(nodes=nodes, kinds=CHAOS, timing=SLOW))
            began = time.process_time()
            run.play()
            spent += time.process_time() - began
            simulated += (run.world.now_ns - START_NS) / SECOND
        factor = simulated / spent
        slow += factor < target
        print(
            f"chaos{nodes}, views only: {factor:8.0f} x real time"
            f"   target {target:5.0f}   ratio {factor / target:5.2f}"
        )
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
