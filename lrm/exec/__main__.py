"""`python -m lrm.exec --root DIR --node NAME`: started by ha-lrm, not by hand.

Imports no gRPC: this process starts agents, and stays small and single-threaded for that.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import resource
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from hacluster.clock import SystemClock
from hacluster.errors import Unavailable
from hacluster.owned_files import open_owned
from hacluster.paths import Paths
from lrm.exec import processes
from lrm.exec.cgroups import Cgroups
from lrm.exec.launch import cgroup_name
from lrm.exec.server import ExecServer, listen
from lrm.host.forking import WarmHost, our_agents

LOG_BYTES_MAX = 1024 * 1024
LOCK_WITHIN_S = 1.0
DESCRIPTORS_MAX = 1_048_576
LOCK_DESCRIPTOR = 1_000


def main() -> int:
    """Serve until there is nobody to serve. 0: done, or another one runs already."""
    parser = argparse.ArgumentParser(prog="lrm-exec", description="starts agents for ha-lrm")
    parser.add_argument("--root")
    parser.add_argument("--node", required=True)
    parser.add_argument("--supervisor", type=int, default=0, help="end with the process of this pid")
    parser.add_argument("--no-warm-host", action="store_true", help="execute all agents")
    arguments = parser.parse_args()
    os.closerange(3, DESCRIPTORS_MAX)  # whatever our starter had open is nothing for agents
    paths = Paths.from_environment(arguments.root)
    _log_to(paths.log / "lrm-exec.log")
    try:
        lock = open_owned(paths.run / "lrm-exec.lock", os.O_RDWR | os.O_CREAT)
    except Unavailable as error:
        _note(str(error))
        return 1
    if not _locked(lock):
        _note("another lrm-exec serves this node")
        return 0
    lock = _closed_last(lock)
    _become_ordinary()
    cgroups = Cgroups.find(cgroup_name(arguments.node, paths))
    if cgroups is not None:
        cgroups.sweep()
    server = ExecServer(
        listener=listen(paths.lrm_exec_socket),
        clock=SystemClock(),
        cgroups=cgroups,
        host=None if arguments.no_warm_host else _warm_host(),
        supervisor_pidfd=_pidfd(arguments.supervisor),
        note=_note,
    )
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    server.run()
    if cgroups is not None:
        cgroups.remove_empty()
    paths.lrm_exec_socket.unlink(missing_ok=True)
    return 0


def _warm_host() -> WarmHost | None:
    """Our agents, imported; without them (or with threads of theirs, beside which nobody may fork) none."""
    try:
        host = our_agents()
    except Exception as error:  # an agent's module may raise anything; they are executed then
        _note(f"our agents cannot be imported and are executed instead: {error!r}")
        return None
    if threading.active_count() > 1:
        _note("importing our agents started threads: they are executed instead")
        return None
    return host


def _locked(lock: int) -> bool:
    """Whether we are the only one; one that was just killed is given a moment to be gone."""
    deadline_s = time.monotonic() + LOCK_WITHIN_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.01)
        else:
            return True


def _closed_last(lock: int) -> int:
    """The lock under a high number, since a process that ends closes its descriptors in their order.

    Workers that wait see the end of their stream before the next lrm-exec can have the lock, then.
    """
    most = min(LOCK_DESCRIPTOR, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1)
    high = fcntl.fcntl(lock, fcntl.F_DUPFD_CLOEXEC, most)
    os.close(lock)
    return high


def _become_ordinary() -> None:
    """What agents inherit: cwd /, umask 022, normal priority and no protection from the OOM killer."""
    processes.become_subreaper()
    os.chdir("/")
    os.umask(0o022)
    with suppress(OSError):  # both need rights that a container may lack; an agent runs without, too
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0")


def _pidfd(pid: int) -> int | None:
    if pid <= 1:
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _log_to(path: Path) -> None:
    """Our own file: whoever started us may wait for the end of the pipe he gave us."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)


def _note(text: str) -> None:
    when = time.strftime("%Y-%m-%dT%H:%M:%S")
    with suppress(OSError):  # a full disk must not end the executor
        sys.stderr.write(f"{when} lrm-exec[{os.getpid()}]: {text}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
