"""The child's side of the warm host: one action after the other, each as if in a process of its own.

An action finds its environment, its output, and /dev/null on descriptor 0, in a cgroup in which there is
nothing else; of the one before it finds nothing. A worker for which that cannot be made true (something it
started still runs, a thread, an exception) ends with the action's exit code instead of taking another.
"""

from __future__ import annotations

import array
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from typing import Final, NoReturn

from lrm.exec.cgroups import join

Steps = Iterator[float]
"""Work in steps; each says how many seconds shall pass before the next."""
Entry = Callable[[str, str, Mapping[str, str], Callable[[Steps], None]], int]
"""(type of the agent, action, its environment, what takes work for after the result) -> exit code."""

DONE: Final = 0
"""Answer, with the exit code: the action has ended, and the worker waits for another."""
WORKS_ON: Final = 1
"""The same, but between jobs the worker has something to do for this one, or those before."""
READY: Final = 2
"""Answer of a worker that has done all that."""

WAITING: Final = "ha-waiting"
"""What a worker without a job calls itself."""

JOB_BYTES_MAX: Final = 64 * 1024
CONTROL: Final = 3

_CRASHED: Final = 1
_UMASK: Final = 0o022
_HANDLED: Final = (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ)
_DESCRIPTORS_MAX: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Job:
    """One action. `name` is what the process calls itself meanwhile: by that it is found."""

    agent: str
    action: str
    env: Mapping[str, str]
    name: str

    def encode(self) -> bytes:
        """For `send` to a worker that waits."""
        return dumps([self.agent, self.action, dict(self.env), self.name]).encode()

    @classmethod
    def decode(cls, data: bytes) -> Job:
        """What `encode` made."""
        return cls(*loads(data))


def work(control: socket.socket, entry: Entry, job: Job, stdout: int, stderr: int, group: str) -> NoReturn:
    """In the forked child: the first job, and all that come. `group` is the cgroup to live in, if any."""
    code = _CRASHED
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        if group:
            join(Path(group), 0)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        mine = control.detach()
        if mine != CONTROL:
            os.dup2(mine, CONTROL, inheritable=False)
        os.closerange(CONTROL + 1, _DESCRIPTORS_MAX)
        answers = socket.socket(fileno=CONTROL)
        later = Later()
        while True:
            code = _CRASHED
            _call_itself(job.name)  # from here on whoever looks for the action finds this process
            if _is_alone(answers):
                break  # another lrm-exec may have looked for this action already, and not found it
            code = _perform(entry, job, later) & 0xFF
            if not _is_clean():
                later.leave_to_a_child()
                break
            _forget(later)
            answers.send(bytes((WORKS_ON if later else DONE, code)))
            job = _next(answers, later)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else _CRASHED
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code & 0xFF)


class Later:
    """What agents have left to do after their results, in steps, between jobs."""

    def __init__(self) -> None:
        self._due: list[tuple[float, Steps]] = []

    def __bool__(self) -> bool:
        return bool(self._due)

    def add(self, steps: Steps) -> None:
        """The first step is due at once."""
        self._due.append((time.monotonic(), steps))

    def step(self) -> None:
        """Do what is due."""
        now_s = time.monotonic()
        waiting, self._due = self._due, []
        for due_s, steps in waiting:
            if due_s > now_s:
                self._due.append((due_s, steps))
                continue
            pause_s = next(steps, None)
            if pause_s is not None:
                self._due.append((now_s + pause_s, steps))

    def wait_s(self) -> float | None:
        """Until something is due; None for ever."""
        if not self._due:
            return None
        return max(0.0, min(due_s for due_s, _ in self._due) - time.monotonic())

    def leave_to_a_child(self) -> None:
        """This process ends now; nobody waits for the child."""
        if not self._due or os.fork():
            return
        try:
            os.setsid()
            os.closerange(CONTROL, CONTROL + 1)
            for descriptor in (1, 2):
                os.dup2(0, descriptor)
            while self._due:
                time.sleep(self.wait_s() or 0.0)
                self.step()
        finally:
            os._exit(0)


def _call_itself(name: str) -> None:
    descriptor = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, name.encode())
    finally:
        os.close(descriptor)


def _is_alone(answers: socket.socket) -> bool:
    """Whether lrm-exec is gone: nothing comes from it during a job but the end of the stream."""
    try:
        return not answers.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _perform(entry: Entry, job: Job, later: Later) -> int:
    os.environ.clear()
    os.environ.update(job.env)
    return entry(job.agent, job.action, job.env, later.add)


def _is_clean() -> bool:
    """Nothing of the action is left in this process, or below it."""
    _flush()
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        return False
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return True
    return False


def _forget(later: Later) -> None:
    """Let go of all that the action had."""
    for descriptor in (1, 2):
        os.dup2(0, descriptor)
    if not later:  # which may have descriptors
        os.closerange(CONTROL + 1, _DESCRIPTORS_MAX)
    os.chdir("/")
    os.umask(_UMASK)
    _call_itself(WAITING)


def _next(answers: socket.socket, later: Later) -> Job:
    """Wait for another job, with its output's descriptors; without lrm-exec, or need, this ends."""
    while later:
        if select.select([answers], [], [], later.wait_s())[0]:
            break
        later.step()
        if not later:
            answers.send(bytes((READY, 0)))
    data, ancillary, _flags, _address = answers.recvmsg(JOB_BYTES_MAX, socket.CMSG_SPACE(8))
    if not data:
        later.leave_to_a_child()
        os._exit(0)
    given = array.array("i")
    for _level, _kind, content in ancillary:
        given.frombytes(content)
    for target, descriptor in enumerate(given, start=1):
        os.dup2(descriptor, target)
        os.close(descriptor)
    return Job.decode(data)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            continue  # nobody reads any more
