"""Not to be mistaken for dead: locked memory, real-time scheduling, last choice of the OOM killer."""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

REALTIME_PRIORITY: Final = 50
OOM_SCORE: Final = -1_000
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def raise_priority() -> dict[str, str]:
    """Do what is permitted; for each measure "ok" or why not."""
    return {"memory": _lock_memory(), "scheduler": _schedule(), "oom": _spare()}


def _lock_memory() -> str:
    """With too small a limit, locking would make later allocations fail: then better not at all."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and os.geteuid() != 0:
        return f"RLIMIT_MEMLOCK is {soft} bytes: it has to be infinite"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        return os.strerror(ctypes.get_errno())
    return "ok"


def _schedule() -> str:
    """This thread only: threads made later start with ordinary scheduling."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME_PRIORITY))
    except OSError as error:
        return error.strerror or str(error)
    return "ok"


class Scheduling:
    """That of the thread that made it, for another: what it waits for must not wait for its turn longer."""

    def __init__(self) -> None:
        self._policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        self._param = os.sched_getparam(0)

    def adopt(self) -> None:
        """In the other thread. Without the right to it that stays ordinary, as was said at the start."""
        if self._policy in (os.SCHED_RR, os.SCHED_FIFO):
            with suppress(OSError):
                os.sched_setscheduler(0, self._policy | os.SCHED_RESET_ON_FORK, self._param)


def _spare() -> str:
    try:
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    except OSError as error:
        return error.strerror or str(error)
    return "ok"
