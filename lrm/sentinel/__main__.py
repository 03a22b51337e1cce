"""ha-sentinel: `python -m lrm.sentinel [--watchdog auto] [--timeout 10s] --self-fence machine`.

One thread, no gRPC, no asyncio; locked into memory and real-time where that is allowed, garbage collector off
after the start: it must run when nothing else does.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from hacluster.boot import boot_token
from hacluster.clock import SystemClock
from hacluster.durations import parse_ms
from hacluster.errors import HaError
from hacluster.paths import Paths
from hacluster.sentinel_word import WordFile
from hacluster.vocabulary.sentinel import ACTIVITY, LEASE, LIFE, STATE, VERDICT, Word
from lrm.sentinel.core import LIFE_NOTE, Sentinel, Verdict
from lrm.sentinel.death import SelfFence, check, die
from lrm.sentinel.poison import PoisonWatch
from lrm.sentinel.watchdog import Watchdog, open_watchdog

PRIORITY: Final = 90
FEEDINGS_A_TIMEOUT: Final = 10
STEP_S_MAX: Final = 1.0

_MCL_CURRENT, _MCL_FUTURE = 1, 2


@dataclass(slots=True)
class Shell:
    """One run. `supervisor`: the node's first process, for --self-fence node."""

    paths: Paths
    node: str
    boot: str
    watchdog: Watchdog | None
    timeout_ms: int
    how: SelfFence
    supervisor: int
    disk: PoisonWatch | None = None
    stopping: bool = False
    complained: str = ""

    def run(self) -> int:
        """Until it may stop, or the node is dead."""
        clock = SystemClock()
        life = WordFile(self.paths.run, LIFE)
        lived = life.read()
        core = Sentinel(
            timeout_ms=self.timeout_ms,
            software=self.watchdog is None,
            now_ns=clock.now_ns(),
            life=lived if lived is not None and lived.note == self.boot[:LIFE_NOTE] else None,
        )
        words = {name: WordFile(self.paths.run, name) for name in (LEASE, ACTIVITY, VERDICT)}
        state = WordFile(self.paths.run, STATE)
        kind = kind_of(self.watchdog)
        step_s = min(self.timeout_ms / 1_000 / FEEDINGS_A_TIMEOUT, STEP_S_MAX)
        say("info", "sentinel.started", watchdog=kind, timeout_ms=self.timeout_ms, self_fence=self.how.value)
        while True:
            activity = words[ACTIVITY].read()
            if self.stopping and core.may_stop(activity) and (self.disk is None or self.disk.disarm()):
                state.remove()
                life.write(replace(core.life(self.boot), written_ns=0))
                if self.watchdog is not None:
                    self.watchdog.close(disarm=True)
                say("info", "sentinel.stopped")
                return 0
            now_ns = clock.now_ns()
            verdict = core.decide(
                now_ns,
                lease=words[LEASE].read(),
                activity=activity,
                verdict=words[VERDICT].read(),
                disk=self.disk.state if self.disk is not None else None,
            )
            self._obey(verdict)
            if verdict.die:
                return 1
            state.write(Word(now_ns, self.timeout_ms, kind))
            life.write(core.life(self.boot))
            if self.disk is not None:
                self.disk.wait(step_s)
            else:
                time.sleep(step_s)

    def _obey(self, verdict: Verdict) -> None:
        if verdict.feed:
            if self.watchdog is not None:
                self.watchdog.feed()
            if self.complained:
                say("info", "sentinel.feeding_again")
            self.complained = ""
            return
        if verdict.why.partition(" for ")[0] != self.complained.partition(" for ")[0]:
            self.complained = verdict.why
            say("critical", "sentinel.not_fed", reason=verdict.why, dead_in_ms=self.timeout_ms)
        if verdict.die:
            say("critical", "sentinel.node_dies", reason=verdict.why, self_fence=self.how.value)
            if self.disk is not None:
                self.disk.acknowledge()
            die(self.how, self.paths, self.node, self.supervisor)

    def stop(self, _number: int, _frame: object) -> None:
        """SIGTERM: as soon as nothing is active here. Before, the watchdog is kept."""
        self.stopping = True


def kind_of(watchdog: Watchdog | None) -> str:
    """What others are told of the watchdog."""
    return watchdog.kind if watchdog is not None else "software"


def say(level: str, event: str, **fields: object) -> None:
    """One line to stderr, and what is critical to the console as well: it may be the last of this machine."""
    line = " ".join(
        [f"level={level}", f"event={event}", "service=sentinel", *(f"{k}={v!r}" for k, v in fields.items())]
    )
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
    if level == "critical":
        with suppress(OSError), open("/dev/console", "w") as console:
            console.write(f"ha-sentinel: {line}\n")


def prepare() -> None:
    """Memory locked, real-time, no garbage collection; what is not allowed is said and done without."""
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        say("warning", "sentinel.memory_not_locked", reason=os.strerror(ctypes.get_errno()))
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    except OSError as error:
        say("warning", "sentinel.not_real_time", reason=error.strerror)
    gc.collect()
    gc.freeze()
    gc.disable()


def main() -> int:
    """The exit code: 0 stopped in order, 1 the node had to die, 6 wrong options."""
    parser = argparse.ArgumentParser(prog="ha-sentinel", description="feeds this node's watchdog")
    parser.add_argument("--root", default=None, help="etc, var and run lie below it")
    parser.add_argument("--node", default=os.environ.get("HACLUSTER_NODE") or os.uname().nodename)
    parser.add_argument("--watchdog", default="auto", help="auto, software, a device, or test:FILE")
    parser.add_argument("--timeout", default="10s", help="of the watchdog")
    parser.add_argument("--qdisk", default="", help="a shared disk with slots (agents.fencing.slots)")
    parser.add_argument("--self-fence", choices=[one.value for one in SelfFence], default="node")
    parser.add_argument("--supervisor", type=int, default=0, help="the node's first process, for a lab")
    given = parser.parse_args()
    paths, how = Paths.from_environment(given.root), SelfFence(given.self_fence)
    # Who is told to end while it arms the watchdog must not end with it armed.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        check(how, paths)
        boot = boot_token(paths)
        timeout_ms = parse_ms(given.timeout)
        watchdog = open_watchdog(given.watchdog, timeout_ms)
        if watchdog is not None:
            timeout_ms = watchdog.timeout_ms
        disk = None
        if given.qdisk:
            step_s = min(timeout_ms / 1_000 / FEEDINGS_A_TIMEOUT, STEP_S_MAX)
            kind = kind_of(watchdog)
            disk = PoisonWatch(given.qdisk, given.node, boot, kind, timeout_ms, step_s, SystemClock())
    except (HaError, OSError, ValueError) as error:
        say("error", "sentinel.cannot_start", reason=str(error))
        return 6
    shell = Shell(
        paths=paths,
        node=given.node,
        boot=boot,
        watchdog=watchdog,
        timeout_ms=timeout_ms,
        disk=disk,
        how=how,
        supervisor=given.supervisor,
    )
    signal.signal(signal.SIGTERM, shell.stop)
    signal.signal(signal.SIGINT, shell.stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
    prepare()
    return shell.run()


if __name__ == "__main__":
    sys.exit(main())
