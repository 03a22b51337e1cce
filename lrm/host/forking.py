"""Runs our own agents in forked children of this process (which must have one thread)."""

from __future__ import annotations

import array
import gc
import os
import selectors
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from lrm.exec import processes, survivors
from lrm.exec.cgroups import Cgroups
from lrm.exec.spawn import Pipes
from lrm.host.worker import JOB_BYTES_MAX, READY, WORKS_ON, Entry, Job, work

WORKERS_MIN: Final = 2
WORKERS_MAX: Final = 16
"""Workers that are kept, each with a few MB of its own: as many as had something to do at once of late. The
DC sends at most node-action-limit at a time; recurring monitors may come on top."""

OF_LATE_NS: Final = 30_000_000_000
"""One or two of these ago."""

JOBS_MAX: Final = 500
"""Actions of one worker: what an agent may leak is bounded."""


class Worker:
    """One child, as seen from here. `busy` with an action; what it does after results is not counted."""

    __slots__ = ("busy", "control", "group", "jobs", "pid", "ticks")

    def __init__(self, pid: int, control: socket.socket, group: Path | None) -> None:
        self.busy = True
        self.pid = pid
        self.group = group
        self.control = control
        self.ticks = processes.start_ticks(pid)
        self.jobs = 1


class WarmHost:
    """Has agents imported. `sources` are the files they came from: when these change, agents are executed."""

    def __init__(self, entry: Entry, sources: tuple[Path, ...]) -> None:
        self._entry = entry
        self._sources = sources
        self._imported = _fingerprint(sources)
        self._cgroups: Cgroups | None = None
        self._groups: dict[int, Path] = {}  # of workers that have not been reaped
        self._left: list[Path] = []  # of those that have been, and in which something was left
        self._forks = 0
        self._peak = self._peak_before = 0
        self._period_ends_ns = 0
        self._selector: selectors.BaseSelector | None = None
        self._answered: Callable[[int, int], bool] = _nobody
        self._workers: dict[int, Worker] = {}
        self._idle: list[Worker] = []
        self.usable = True
        gc.collect()
        gc.freeze()  # a collection in a child would copy every page

    def connect(
        self,
        selector: selectors.BaseSelector,
        *,
        cgroups: Cgroups | None,
        answered: Callable[[int, int], bool],
    ) -> None:
        """The loop this host lives in, and where each worker gets a cgroup.

        `answered(pid, wait status)` takes a result of a worker that lives on, and says whether it may be
        given another action.
        """
        self._selector = selector
        self._cgroups = cgroups
        self._answered = answered

    def check(self) -> bool:
        """Look whether the agents on disk are still the imported ones; an update makes the host unusable."""
        self.usable = self.usable and _fingerprint(self._sources) == self._imported
        if not self.usable:
            for worker in list(self._idle):
                self._retire(worker)
        return self.usable

    def start(
        self,
        agent: str,
        action: str,
        env: Mapping[str, str],
        pipes: Pipes,
        token: str,
    ) -> Worker:
        """A worker that runs the action `token`: one that waits, or a new one. Raises OSError."""
        job = Job(agent, action, env, survivors.name_of(token))
        worker = self._waiting_one(job, pipes, token) or self._fork(job, pipes, token)
        self._peak = max(self._peak, len(self._workers) - len(self._idle))
        return worker

    def gone(self, pid: int) -> None:
        """A process has ended, and what it left is settled; one of ours is forgotten."""
        worker = self._workers.get(pid)
        if worker is not None:
            self._retire(worker)
        group = self._groups.pop(pid, None)
        if group is not None and self._cgroups is not None:
            self._left = [each for each in (*self._left, group) if not self._cgroups.remove(each)]

    def tick(self, now_ns: int) -> None:
        """Time has passed: workers that nobody has needed of late are let go."""
        if now_ns < self._period_ends_ns:
            return
        self._period_ends_ns = now_ns + OF_LATE_NS
        busy = len(self._workers) - len(self._idle)
        self._peak_before, self._peak = self._peak, busy
        while self._idle and len(self._workers) > self._wanted:
            self._retire(self._idle[0])

    @property
    def waiting(self) -> int:
        """How many workers wait for an action."""
        return len(self._idle)

    @property
    def _wanted(self) -> int:
        return min(max(WORKERS_MIN, self._peak, self._peak_before), WORKERS_MAX)

    def _waiting_one(self, job: Job, pipes: Pipes, token: str) -> Worker | None:
        """One that waits, and has the job now."""
        while self._idle:
            worker = self._idle.pop()
            self._mark(worker.group, token)
            if self._send(worker, job, pipes):
                worker.jobs += 1
                worker.busy = True
                return worker
        return None

    def _mark(self, group: Path | None, token: str) -> None:
        if self._cgroups is not None and group is not None:
            self._cgroups.mark(group, token)

    def _send(self, worker: Worker, job: Job, pipes: Pipes) -> bool:
        """False when the job is too large, or the worker is not there any more: another is needed."""
        data = job.encode()
        if len(data) > JOB_BYTES_MAX:
            self._retire(worker)
            return False
        descriptors = array.array("i", (pipes.stdout_write, pipes.stderr_write))
        try:
            worker.control.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        except OSError:
            self._retire(worker)
            return False
        return True

    def _fork(self, job: Job, pipes: Pipes, token: str) -> Worker:
        group = self._new_group(token)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            work(theirs, self._entry, job, pipes.stdout_write, pipes.stderr_write, str(group or ""))
        theirs.close()
        ours.setblocking(False)
        worker = Worker(pid, ours, group)
        self._workers[pid] = worker
        if group is not None:
            self._groups[pid] = group
        assert self._selector is not None, "connect comes first"
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(worker))
        return worker

    def _new_group(self, token: str) -> Path | None:
        """A cgroup for the next worker, with the mark of its first action. Raises OSError."""
        if self._cgroups is None:
            return None
        self._forks += 1
        group = self._cgroups.worker(self._forks)
        group.mkdir(parents=True, exist_ok=True)
        self._mark(group, token)
        return group

    def _hear(self, worker: Worker) -> None:
        """What a worker answers; at the end of the stream it has ended, and will be reaped."""
        try:
            answer = worker.control.recv(16)
        except BlockingIOError:
            return
        except OSError:
            answer = b""
        if len(answer) != 2:
            self._retire(worker)
            return
        kind, code = answer
        if kind == READY:
            if not worker.busy and worker not in self._idle:
                self._rest(worker)
            return
        worker.busy = False
        if not self._answered(worker.pid, code << 8):
            self._retire(worker)
        else:
            self._rest(worker, last=kind == WORKS_ON)

    def _rest(self, worker: Worker, *, last: bool = False) -> None:
        """It waits for an action, as one to be taken last if it has something else to do."""
        if not self.usable or worker.jobs >= JOBS_MAX or len(self._workers) > self._wanted:
            self._retire(worker)
        elif last:
            self._idle.insert(0, worker)
        else:
            self._idle.append(worker)

    def _retire(self, worker: Worker) -> None:
        """It ends when it reads the end of the stream."""
        if self._workers.pop(worker.pid, None) is None:
            return
        if worker in self._idle:
            self._idle.remove(worker)
        assert self._selector is not None
        self._selector.unregister(worker.control)
        worker.control.close()


def our_agents() -> WarmHost:
    """Import all our agents. Raises what they raise: the caller goes without a host then."""
    from agents import resources
    from agents.sdk import preload, run

    preload()
    folder = Path(str(resources.__file__)).parent
    return WarmHost(run, (folder.parent / "sdk.py", *sorted(folder.glob("*.py"))))


def _nobody(_pid: int, _status: int) -> bool:
    return False


def _fingerprint(sources: tuple[Path, ...]) -> tuple[tuple[str, int, int], ...]:
    found = []
    for path in sources:
        try:
            status = path.stat()
            found.append((str(path), status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((str(path), 0, 0))
    return tuple(found)
