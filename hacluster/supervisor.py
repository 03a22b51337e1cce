"""A node's first process where systemd does not run: `python -m hacluster.supervisor --root DIR`.

Starts ha-lrm, ha-messaging and ha-crm, restarts what dies, kills with SIGKILL what does not answer its
health call for 5 s, reaps orphans, stops in order on SIGTERM (the rules: hacluster.supervising). As a pid
namespace's first process it takes everything of the node with it, by the kernel's hand; elsewhere it is a
subreaper and ends its descendants itself, which a SIGKILL to it prevents.

One thread, one poll, no gRPC, asyncio or structlog: about 16 MiB and a thousandth of a core.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, assert_never

from hacluster import supervising
from hacluster.health import HealthProbe
from hacluster.paths import Paths
from hacluster.supervising import (
    Answered,
    Check,
    Effect,
    Exited,
    Finish,
    Note,
    Signal,
    Spawn,
    StopRequested,
    Tick,
)

START: Final = ("lrm", "messaging", "crm")
STOP: Final = ("crm", "messaging", "lrm")

# ha-crm's clean stop waits for the resources to leave the node: agents' time.
STOP_WITHIN_MS: Final[Mapping[str, int]] = {"crm": 90_000, "messaging": 5_000, "lrm": 10_000}

_PR_SET_CHILD_SUBREAPER: Final = 36
_LOG_BYTES_MAX: Final = 16 * 1024 * 1024
_POLL_S_MAX: Final = 1.0
_KILL_ROUNDS: Final = 100
_REMEDIES: Final[Mapping[str, str]] = {
    "supervisor.service_refuses_configuration": "correct what its log names and start the node again",
    "supervisor.service_stays_out": (
        "the node was fenced and lives: look at the fence device, then start the node again"
    ),
}


def log(note: Note, *, node: str, as_json: bool) -> None:
    """One line to stderr, in the shape of hacluster.logging."""
    record: dict[str, object] = {
        "timestamp": datetime.now().astimezone().replace(tzinfo=None).isoformat(),
        "level": note.level,
        "event": note.event,
        "service": "supervisor",
        "node": node,
    }
    if note.service:
        record["daemon"] = f"ha-{note.service}"
    record.update(note.fields)
    if remedy := _REMEDIES.get(note.event):
        record["remedy"] = remedy
    if as_json:
        line = json.dumps(record)
    else:
        line = " ".join(f"{key}={json.dumps(v) if ' ' in str(v) else v}" for key, v in record.items())
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Shell:
    """Processes, sockets, signals and the clock of one supervisor."""

    def __init__(
        self, paths: Paths, node: str, *, log_dir: Path | None, daemon_args: Sequence[str], json_log: bool
    ) -> None:
        self._paths, self._node, self._log_dir = paths, node, log_dir
        self._daemon_args, self._json_log = tuple(daemon_args), json_log
        limits = supervising.Limits(stop_within_ms=STOP_WITHIN_MS)
        self._core = supervising.Supervisor(start=START, stop=STOP, limits=limits)
        self._pids: dict[int, str] = {}
        self._selector = selectors.DefaultSelector()
        self._registered: dict[str, int] = {}
        self._probes = {
            "lrm": HealthProbe(str(paths.lrm_socket)),
            "messaging": HealthProbe(str(paths.messaging_socket)),
            "crm": HealthProbe(str(paths.crm_socket)),
        }
        self._exit_code: int | None = None
        self._logs_checked_ns = 0

    def run(self) -> int:
        """Until the node is stopped; the exit code."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: None)
        self._selector.register(wake_read, selectors.EVENT_READ, "")
        self._feed(Tick())
        while self._exit_code is None:
            wait_s = (self._core.due_ns() - _now_ns()) / 1e9
            for key, _ in self._selector.select(max(0.0, min(wait_s, _POLL_S_MAX))):
                if key.data:
                    self._read(key.data)
                else:
                    self._signals(os.read(wake_read, 4_096))
            self._feed(Tick())
            self._trim_logs()
        self._end_everything()
        return self._exit_code

    def _feed(self, event: supervising.Event) -> None:
        for effect in self._core.handle(event, _now_ns()):
            self._apply(effect)

    def _apply(self, effect: Effect) -> None:
        match effect:
            case Spawn(service):
                self._spawn(service)
            case Signal(service, number):
                for pid in [pid for pid, name in self._pids.items() if name == service]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
            case Check(service):
                self._probes[service].check()
                self._register(service)
            case Finish(code):
                self._exit_code = code
            case Note():
                log(effect, node=self._node, as_json=self._json_log)
            case _:
                assert_never(effect)

    def _spawn(self, service: str) -> None:
        self._close(service)
        command = [sys.executable, "-m", service, "--root", str(self._paths.root), "--node", self._node]
        environment = {
            key: value
            for key, value in os.environ.items()
            if key not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")
        }
        environment["GRPC_ENABLE_FORK_SUPPORT"] = "0"
        actions: list[tuple[object, ...]] = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
        if self._log_dir is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            target = str(self._log_dir / f"{service}.log")
            actions += [(os.POSIX_SPAWN_OPEN, 1, target, flags, 0o640), (os.POSIX_SPAWN_DUP2, 1, 2)]
        pid = os.posix_spawn(
            sys.executable,
            [*command, *self._daemon_args],
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD],
        )
        self._pids[pid] = service
        note = Note("info", "supervisor.service_started", service, (("pid", pid),))
        log(note, node=self._node, as_json=self._json_log)

    def _signals(self, numbers: bytes) -> None:
        if signal.SIGCHLD in numbers:
            self._reap()
        if signal.SIGHUP in numbers:
            for service in START:
                self._apply(Signal(service, signal.SIGHUP))
        for _ in range(numbers.count(signal.SIGTERM) + numbers.count(signal.SIGINT)):
            self._feed(StopRequested())

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            service = self._pids.pop(pid, None)
            if service is not None:
                self._close(service)
                self._feed(Exited(service, os.waitstatus_to_exitcode(status)))

    def _register(self, service: str) -> None:
        descriptor = self._probes[service].fileno()
        known = self._registered.get(service, -1)
        if known == descriptor:
            return
        if known >= 0:
            self._forget(service)
        if descriptor >= 0:
            self._selector.register(descriptor, selectors.EVENT_READ, service)
            self._registered[service] = descriptor

    def _forget(self, service: str) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self._registered.pop(service))

    def _close(self, service: str) -> None:
        if service in self._registered:
            self._forget(service)
        self._probes[service].close()

    def _read(self, service: str) -> None:
        if self._probes[service].read() is not None:
            self._feed(Answered(service))
        self._register(service)

    def _trim_logs(self) -> None:
        """Logs of a node without a journal keep their last 16 to 32 MiB; a few lines may be lost then."""
        if self._log_dir is None or _now_ns() - self._logs_checked_ns < 60 * 10**9:
            return
        self._logs_checked_ns = _now_ns()
        for path in self._log_dir.glob("*.log"):
            if path.stat().st_size > _LOG_BYTES_MAX:
                shutil.copyfile(path, path.with_suffix(".log.1"))
                os.truncate(path, 0)  # writers append: they go on at the new end

    def _end_everything(self) -> None:
        """As a pid namespace's first process we need only exit; elsewhere kill what descends from us."""
        if os.getpid() == 1:
            return
        for _ in range(_KILL_ROUNDS):
            children = _descendants(os.getpid())
            for pid in children:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not children:
                return
            time.sleep(0.02)


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = (entry / "stat").read_text()
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: list[int] = []
    pending = [root]
    while pending:
        parent = pending.pop()
        children = [pid for pid, its_parent in parents.items() if its_parent == parent]
        found += children
        pending += children
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="hacluster.supervisor", description="A node's first process.")
    parser.add_argument("--root", help="put etc, var and run below this directory (HACLUSTER_ROOT)")
    parser.add_argument("--node", help="this node's name (HACLUSTER_NODE; default: uname -n)")
    parser.add_argument(
        "--log-dir", type=Path, help="a log file for each service here (default: all to stderr)"
    )
    parser.add_argument("--log-format", choices=("console", "kv", "json"))
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    options = parser.parse_args(arguments)
    node = options.node or os.environ.get("HACLUSTER_NODE") or os.uname().nodename
    daemon_args = ["--log-level", options.log_level]
    if options.log_format:
        daemon_args += ["--log-format", options.log_format]
    if options.log_dir is not None:
        options.log_dir.mkdir(parents=True, exist_ok=True)
    if os.getpid() != 1:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    shell = Shell(
        Paths.from_environment(options.root),
        node,
        log_dir=options.log_dir,
        daemon_args=daemon_args,
        json_log=options.log_format == "json",
    )
    return shell.run()


if __name__ == "__main__":
    sys.exit(main())
