"""The agents that run now and the results nobody has acknowledged yet: what lrm-exec is there for."""

from __future__ import annotations

import errno
import heapq
import os
import selectors
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hacluster.clock import Clock
from lrm.exec import processes, survivors
from lrm.exec.cgroups import Cgroups
from lrm.exec.ladder import Deed, Ladder, Rung
from lrm.exec.output import Capture
from lrm.exec.protocol import Adopt, Finished, FromExec, How, Leftover, Running, Start, Started, Vanished
from lrm.exec.spawn import Pipes, spawn
from lrm.host.forking import WarmHost

# Two pipes each, and the usual limit of 1024 descriptors, which agents inherit.
RUNS_MAX = 384


@dataclass(slots=True)
class _Run:
    """One process of one action. `order` is what asked for it."""

    order: Start | Adopt
    ladder: Ladder
    started_ns: int
    pid: int = 0
    ticks: int = 0
    stdout: Capture | None = None
    stderr: Capture | None = None
    pidfd: int = -1
    reported: bool = False
    left_something: bool = False  # a process of it lives on
    group: Path | None = None  # its cgroup, where there are cgroups
    worker: int = 0  # the process of the warm host that does it

    @property
    def token(self) -> str:
        return self.order.token

    @property
    def resource(self) -> str:
        return self.order.resource


class Runs:
    """Starts, watches, ends. `tell` passes a message to ha-lrm, if there is one."""

    def __init__(
        self,
        *,
        selector: selectors.BaseSelector,
        clock: Clock,
        cgroups: Cgroups | None,
        host: WarmHost | None,
        tell: Callable[[FromExec], None],
        note: Callable[[str], None],
    ) -> None:
        self._selector = selector
        self._clock = clock
        self._cgroups = cgroups
        self._host = host
        self._tell = tell
        self._note = note
        self._runs: dict[str, _Run] = {}
        self._by_pid: dict[int, _Run] = {}
        self._due: list[tuple[int, str]] = []
        self._ended: dict[str, Finished] = {}
        if host is not None:
            host.connect(
                selector,
                cgroups=cgroups,
                answered=self._answered,
            )

    @property
    def running(self) -> tuple[Running, ...]:
        """What has not ended."""
        return tuple(
            Running(token=run.token, pid=run.pid, start_ticks=run.ticks, started_ns=run.started_ns)
            for run in self._runs.values()
            if not run.reported
        )

    @property
    def stuck(self) -> tuple[str, ...]:
        """Resources of runs that were reported and whose process is still there."""
        return tuple(run.resource for run in self._runs.values() if run.reported)

    @property
    def ended(self) -> tuple[Finished, ...]:
        """Results that have not been acknowledged, oldest first."""
        return tuple(self._ended.values())

    def start(self, order: Start) -> None:
        """Start an agent, unless its token is known: then nothing happens twice."""
        if order.token in self._runs:
            return
        if order.token in self._ended:
            self._tell(self._ended[order.token])
            return
        now_ns = self._clock.now_ns()
        if order.not_after_ns and now_ns >= order.not_after_ns:
            self._end(Finished(token=order.token, how=How.TOO_LATE, started_ns=now_ns, ended_ns=now_ns))
            return
        deadline_ns = now_ns + order.timeout_ms * 1_000_000 if order.timeout_ms else 0
        run = _Run(order, Ladder(deadline_ns, order.grace_ms * 1_000_000), now_ns)
        if len(self._runs) >= RUNS_MAX:
            self._not_started(order, OSError(errno.EBUSY, f"{RUNS_MAX} agents run"), now_ns)
            return
        try:
            pipes = Pipes.create()
        except OSError as error:
            self._not_started(order, error, now_ns)
            return
        try:
            self._launch(run, order, pipes)
        except OSError as error:
            os.close(pipes.stdout)
            os.close(pipes.stderr)
            self._not_started(order, error, now_ns)
            return
        finally:
            pipes.close_write_ends()
        run.stdout, run.stderr = Capture(pipes.stdout), Capture(pipes.stderr)
        for capture in (run.stdout, run.stderr):
            self._selector.register(capture.fd, selectors.EVENT_READ, self._reader(capture))
        self._runs[order.token] = run
        self._schedule(run)
        self._by_pid[run.pid] = run
        run.ticks = run.ticks or processes.start_ticks(run.pid)
        self._tell(Started(token=run.token, pid=run.pid, start_ticks=run.ticks, started_ns=run.started_ns))

    def adopt(self, order: Adopt) -> None:
        """Watch a process that is not our child. One that is gone already has ended as LOST."""
        if order.token in self._runs or order.token in self._ended:
            return
        now_ns = self._clock.now_ns()
        run = _Run(order, Ladder(order.deadline_ns, order.grace_ms * 1_000_000), now_ns)
        run.ladder.how = How.LOST
        found = self._find(order)
        if self._cgroups is not None:
            run.group = self._cgroups.where(order.resource, order.token)
        if found is None or not self._watch(run, *found):
            self._runs[order.token] = run
            self._perform(run, run.ladder.exited())
            return
        if not order.pid and order.timeout_ms:
            run.started_ns = run.ticks * processes.NS_PER_TICK
            run.ladder.deadline_ns = run.started_ns + order.timeout_ms * 1_000_000
        self._runs[order.token] = run
        self._by_pid[run.pid] = run
        self._selector.register(run.pidfd, selectors.EVENT_READ, lambda: self.exited(run.pid, 0))
        self._schedule(run)
        if not order.pid:
            self._note(f"{order.token} of {order.resource}: found as process {run.pid}")
            self._tell(
                Started(token=run.token, pid=run.pid, start_ticks=run.ticks, started_ns=run.started_ns)
            )

    def kill(self, token: str) -> None:
        """Begin the kill ladder."""
        run = self._runs.get(token)
        if run is not None:
            self._perform(run, run.ladder.kill(How.KILLED, self._clock.now_ns()))

    def acknowledge(self, token: str) -> None:
        """Forget a result."""
        self._ended.pop(token, None)

    def exited(self, pid: int, status: int) -> None:
        """A process is gone; `status` is waitpid's. Unknown ones are orphans and need nothing more."""
        run = self._by_pid.pop(pid, None)
        if run is not None:
            self._perform(run, run.ladder.exited(), status)
        if self._host is not None:
            self._host.gone(pid)

    def tick(self) -> None:
        """Do what is due."""
        now_ns = self._clock.now_ns()
        if self._host is not None:
            self._host.tick(now_ns)
        while self._due and self._due[0][0] <= now_ns:
            _, token = heapq.heappop(self._due)
            run = self._runs.get(token)
            if run is not None:
                self._perform(run, run.ladder.tick(now_ns))

    def next_due_ns(self) -> int | None:
        """When `tick` is needed next."""
        while self._due:
            due_ns, token = self._due[0]
            run = self._runs.get(token)
            if run is not None and run.ladder.wake_at() == due_ns:
                return due_ns
            heapq.heappop(self._due)
        return None

    def _find(self, order: Adopt) -> tuple[int, int] | None:
        """(pid, start ticks) of what is to be watched; None when it does this action no more."""
        try:
            if not order.pid:
                return survivors.leader(self._cgroups, order.resource, order.token)
            if survivors.works_for_another(self._cgroups, order.token, order.pid):
                return None
        except OSError as error:
            self._note(f"{order.token} of {order.resource}: {error}")
        return (order.pid, order.start_ticks) if order.pid else None

    def _watch(self, run: _Run, pid: int, ticks: int) -> bool:
        """Have its end told to us. False when it has ended."""
        try:
            run.pidfd = os.pidfd_open(pid)
        except OSError:
            return False
        if not processes.is_alive(pid, ticks):
            os.close(run.pidfd)
            run.pidfd = -1
            return False
        run.pid, run.ticks = pid, ticks
        return True

    def _launch(self, run: _Run, order: Start, pipes: Pipes) -> None:
        if order.warm and self._host is not None and self._host.usable:
            worker = self._host.start(order.warm, order.action, order.env, pipes, order.token)
            run.pid, run.ticks, run.group = worker.pid, worker.ticks, worker.group
            run.worker = worker.pid
            return
        if self._cgroups is None:
            marked = {**order.env, survivors.MARK: order.token}
            run.pid = spawn(order.argv, marked, pipes, order.stdin)
            return
        group = run.group = self._cgroups.operation(order.resource, order.token)
        # We are single-threaded: going into the group, spawning and coming back leaves no window in which
        # the agent could fork outside it.
        try:
            self._cgroups.enter(group)
        except OSError as error:  # not ENOENT or EPERM, which would say something of the agent
            raise OSError(errno.EAGAIN, f"cgroup {group}: {error.strerror}") from error
        try:
            run.pid = spawn(order.argv, order.env, pipes, order.stdin)
        except OSError:
            self._cgroups.leave()
            self._cgroups.remove(group)
            raise
        self._cgroups.leave()

    def _answered(self, pid: int, status: int) -> bool:
        """A worker of the warm host tells a result. Whether it may be given another action.

        Not one that was to be killed. Nor one whose action has left a process, which may be in its session:
        only cgroups show that.
        """
        run = self._by_pid.pop(pid, None)
        if run is None:
            return False
        was_left_alone = run.ladder.rung is Rung.RUNNING
        self._perform(run, run.ladder.exited(), status)
        return was_left_alone and self._cgroups is not None and not run.left_something

    def _reader(self, capture: Capture) -> Callable[[], None]:
        def read() -> None:
            if not capture.read():
                self._selector.unregister(capture.fd)
                capture.close()

        return read

    def _perform(self, run: _Run, deeds: list[Deed], status: int = 0) -> None:
        for deed in deeds:
            match deed:
                case Deed.TERMINATE_GROUP:
                    self._signal_group(run, signal.SIGTERM)
                case Deed.KILL_ALL:
                    self._kill_all(run)
                case Deed.FINISH:
                    self._finish(run, status)
                case Deed.REPORT_UNKILLABLE:
                    self._finish(run, status, unkillable=True)
                case Deed.REPORT_VANISHED:
                    self._tell(Vanished(token=run.token, resource=run.resource))
                    self._drop(run)
        self._schedule(run)

    def _signal_group(self, run: _Run, number: signal.Signals) -> None:
        """Signal the action's process group; one that was forked just now may not have made it yet."""
        try:
            has_group = os.getpgid(run.pid) == run.pid
        except ProcessLookupError:
            has_group = True  # its leader is gone, its members may not be
        if has_group:
            processes.send_signal_to_group(run.pid, number)
        else:
            processes.send_signal(run.pid, number)

    def _kill_all(self, run: _Run) -> None:
        """Everything the action started: its cgroup, and the groups of its session."""
        if self._cgroups is not None and run.group is not None:
            self._cgroups.kill(run.group)
        self._signal_group(run, signal.SIGKILL)
        for pid in list(processes.members_of_session(run.pid)):
            processes.send_signal(pid, signal.SIGKILL)

    def _finish(self, run: _Run, status: int, *, unkillable: bool = False) -> None:
        ended_ns = self._clock.now_ns()
        for capture in (run.stdout, run.stderr):
            if capture is not None and capture.fd >= 0:
                self._selector.unregister(capture.fd)
                capture.drain()
        leftover, killed = self._settle(run, status) if not unkillable else ((), False)
        run.reported = True
        if not unkillable:
            self._drop(run)
        self._end(
            Finished(
                token=run.token,
                how=run.ladder.how,
                status=status,
                stdout=run.stdout.text() if run.stdout else "",
                stderr=run.stderr.text() if run.stderr else "",
                dropped_bytes=sum(c.dropped_bytes for c in (run.stdout, run.stderr) if c),
                started_ns=run.started_ns,
                ended_ns=ended_ns,
                unkillable=unkillable,
                leftover=leftover,
                leftover_killed=killed,
            )
        )

    def _settle(self, run: _Run, status: int) -> tuple[tuple[int, ...], bool]:
        """Give what the action left to the resource; look at that after a stop that says it succeeded."""
        if self._cgroups is None or run.group is None:
            return (), False
        try:
            moved = self._cgroups.settle(run.resource, run.group, worker=run.worker)
            run.left_something = bool(moved)
            if not isinstance(run.order, Start):
                return (), False
            if run.order.leftover is Leftover.KEEP or run.ladder.how is not How.EXITED or status != 0:
                return (), False
            service = self._cgroups.service(run.resource)
            left = self._cgroups.members(service)
            if not left:
                self._cgroups.remove_resource(run.resource)
                return (), False
            if run.order.leftover is Leftover.KILL:
                self._cgroups.kill(service)
                return left, True
        except OSError as error:
            self._note(f"cgroup of {run.resource}: {error}")
            return (), False
        return left, False

    def _not_started(self, order: Start, error: OSError, now_ns: int) -> None:
        self._end(
            Finished(
                token=order.token,
                how=How.NOT_STARTED,
                errno=error.errno or errno.EBUSY,
                stderr=str(error),
                started_ns=now_ns,
                ended_ns=self._clock.now_ns(),
            )
        )

    def _end(self, result: Finished) -> None:
        self._ended[result.token] = result
        self._tell(result)

    def _drop(self, run: _Run) -> None:
        """Forget a run and its descriptors."""
        self._runs.pop(run.token, None)
        for capture in (run.stdout, run.stderr):
            if capture is not None and capture.fd >= 0:
                self._selector.unregister(capture.fd)
                capture.close()
        if run.pidfd >= 0:
            self._selector.unregister(run.pidfd)
            os.close(run.pidfd)
            run.pidfd = -1

    def _schedule(self, run: _Run) -> None:
        due_ns = run.ladder.wake_at()
        if due_ns is not None and run.token in self._runs:
            heapq.heappush(self._due, (due_ns, run.token))
