"""lrm-exec's handle on the warm host: starts it, asks it to fork, hears of exits.

One packet a message over a socket pair: `{"token", "agent", "action", "env", "cgroup"}` with the write
ends of the two pipes, answered by `["forked", token, pid]` and later `["exited", pid, status]`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from hacluster.clock import Clock
from lrm.exec.protocol import Start
from lrm.exec.spawn import Pipes

REQUEST_BYTES_MAX: Final = 128 * 1024
_REPLY_BYTES_MAX: Final = 4_096
_RESTART_AFTER_NS: Final = 2_000_000_000


class WarmHost:
    """At most one host process; a dead one is started again, at most every two seconds."""

    def __init__(
        self,
        *,
        clock: Clock,
        environment: Mapping[str, str],
        register: Callable[[int, Callable[[], None]], None],
        unregister: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self._environment = dict(environment)
        self._register = register
        self._unregister = unregister
        self._socket: socket.socket | None = None
        self._ready = False
        self._next_start_ns = 0
        self.pid = 0
        self.on_forked: Callable[[str, int], None] = lambda _token, _pid: None
        self.on_exited: Callable[[int, int], None] = lambda _pid, _status: None

    def ensure_started(self) -> None:
        """Start the host unless there is one or the last start is too recent. Does not wait for it."""
        now_ns = self._clock.now_ns()
        if self.pid or now_ns < self._next_start_ns:
            return
        self._next_start_ns = now_ns + _RESTART_AFTER_NS
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            theirs.set_inheritable(True)
            argv = [sys.executable, "-P", "-m", "lrm.host", str(theirs.fileno())]
            self.pid = os.posix_spawn(sys.executable, argv, self._environment, setsid=True)
        finally:
            theirs.close()
        self._socket = ours
        self._register(ours.fileno(), self._readable)

    def fork(self, order: Start, pipes: Pipes, group: Path | None) -> bool:
        """Ask for a child. False when the host cannot take it now: execute the agent instead."""
        if self._socket is None or not self._ready:
            self.ensure_started()
            return False
        request: dict[str, Any] = {
            "token": order.token,
            "agent": order.warm,
            "action": order.action,
            "env": dict(order.env),
            "cgroup": str(group) if group else "",
        }
        packet = json.dumps(request).encode()
        if len(packet) > REQUEST_BYTES_MAX:
            return False
        try:
            socket.send_fds(self._socket, [packet], [pipes.stdout_write, pipes.stderr_write])
        except OSError:
            return False
        return True

    def gone(self) -> None:
        """Our child, the host, has exited and was reaped."""
        self._close()
        self.pid = 0

    def stop(self) -> None:
        """End the host; what it has forked goes on."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        self._close()

    def _close(self) -> None:
        self._ready = False
        if self._socket is not None:
            self._unregister(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _readable(self) -> None:
        while self._socket is not None:
            try:
                packet = self._socket.recv(_REPLY_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._close()
                return
            match json.loads(packet):
                case ["ready"]:
                    self._ready = True
                case ["forked", str(token), int(pid)]:
                    self.on_forked(token, pid)
                case ["exited", int(pid), int(status)]:
                    self.on_exited(pid, status)
                case other:
                    raise AssertionError(f"the warm host said {other!r}")
