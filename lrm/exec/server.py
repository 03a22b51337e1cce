"""The loop of lrm-exec: one client (the newest ha-lrm), children, timers, and when to go."""

from __future__ import annotations

import os
import secrets
import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hacluster.clock import Clock
from lrm.exec.cgroups import Cgroups
from lrm.exec.protocol import (
    PACKET_BYTES_MAX,
    Acknowledge,
    Adopt,
    Assembler,
    Bye,
    FromExec,
    Hello,
    Kill,
    Message,
    Ping,
    Pong,
    ProtocolError,
    Start,
    Welcome,
    encode,
)
from lrm.exec.runs import Runs
from lrm.host.forking import WarmHost

IDLE_EXIT_NS: Final = 600 * 1_000_000_000
"""Without a client and without a running agent, lrm-exec ends after ten minutes (a new one is cheap)."""

ORPHAN_EXIT_NS: Final = 10 * 1_000_000_000
"""The same when the node's supervisor is gone, or ha-lrm has said Bye and results wait."""

_BACKLOG_PACKETS_MAX: Final = 4_096
_READS_PER_PASS: Final = 64
_IDLE_CHECK_NS: Final = 2_000_000_000


class ExecServer:
    """Owns the listening socket, the client's connection and the runs."""

    def __init__(
        self,
        *,
        listener: socket.socket,
        clock: Clock,
        cgroups: Cgroups | None,
        host: WarmHost | None,
        supervisor_pidfd: int | None,
        note: Callable[[str], None],
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._clock = clock
        self._note = note
        self._id = secrets.token_hex(8)
        self._since_ns = clock.now_ns()
        self._listener = listener
        self._client: socket.socket | None = None
        self._assembler = Assembler()
        self._backlog: deque[bytes] = deque()
        self._alone_since_ns = clock.now_ns()
        self._told_to_leave = False
        self._supervisor_is_gone = False
        self._stopped = False
        self._has_cgroups = cgroups is not None
        self._host = host
        self._runs = Runs(
            selector=self._selector,
            clock=clock,
            cgroups=cgroups,
            host=host,
            tell=self._tell,
            note=note,
        )
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        if supervisor_pidfd is not None:
            self._selector.register(supervisor_pidfd, selectors.EVENT_READ, self._supervisor_gone)
        self._supervisor_pidfd = supervisor_pidfd

    def run(self) -> None:
        """Serve until there is nobody left to serve, or SIGTERM."""
        wake_read, wake_write = socket.socketpair()
        for end in (wake_read, wake_write):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._stop)
        signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
        self._selector.register(wake_read, selectors.EVENT_READ, lambda: self._reap(wake_read))
        while not self._stopped and not self._may_leave():
            for key, events in self._selector.select(self._wait_s()):
                if key.fileobj is self._client:
                    self._client_ready(events)
                elif is_registered(self._selector, key):
                    key.data()
            self._runs.tick()

    def _wait_s(self) -> float:
        now_ns = self._clock.now_ns()
        due_ns = now_ns + _IDLE_CHECK_NS
        run_due_ns = self._runs.next_due_ns()
        if run_due_ns is not None:
            due_ns = min(due_ns, run_due_ns)
        return max(0, due_ns - now_ns) / 1e9

    def _may_leave(self) -> bool:
        if self._client is not None or self._runs.running:
            self._alone_since_ns = self._clock.now_ns()
            return False
        impatient = self._told_to_leave or self._supervisor_is_gone
        if impatient and not self._runs.ended:
            return True
        alone_ns = self._clock.now_ns() - self._alone_since_ns
        return alone_ns >= (ORPHAN_EXIT_NS if impatient else IDLE_EXIT_NS)

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopped = True

    def _supervisor_gone(self) -> None:
        assert self._supervisor_pidfd is not None
        self._selector.unregister(self._supervisor_pidfd)
        os.close(self._supervisor_pidfd)
        self._supervisor_is_gone = True

    def _reap(self, wake: socket.socket) -> None:
        """Reap every child: agents, and their orphans, which are ours as the subreaper."""
        wake.recv(4_096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._runs.exited(pid, status)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._client is not None:
            self._read_client()  # what the former ha-lrm had said still counts
            self._close_client()
        client.setblocking(False)
        self._client, self._assembler = client, Assembler()
        self._told_to_leave = False
        self._selector.register(client, selectors.EVENT_READ, None)

    def _client_ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if events & selectors.EVENT_READ:
            self._read_client()

    def _read_client(self) -> None:
        for _ in range(_READS_PER_PASS):
            if self._client is None:
                return
            try:
                packet = self._client.recv(PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._close_client()
                return
            try:
                for message in self._assembler.feed(packet):
                    self._handle(message)
            except ProtocolError as error:
                self._note(str(error))
                self._close_client()
                return

    def _handle(self, message: Message) -> None:
        match message:
            case Hello():
                if self._host is not None and not self._host.check():
                    self._note("our agents have changed on disk: they are executed until lrm-exec is new")
                ended = self._runs.ended
                self._tell(
                    Welcome(
                        pid=os.getpid(),
                        exec_id=self._id,
                        since_ns=self._since_ns,
                        running=self._runs.running,
                        ended=tuple(result.token for result in ended),
                        stuck=self._runs.stuck,
                        cgroups=self._has_cgroups,
                    )
                )
                for result in ended:
                    self._tell(result)
            case Start():
                self._runs.start(message)
            case Adopt():
                self._runs.adopt(message)
            case Kill(token=token):
                self._runs.kill(token)
            case Acknowledge(token=token):
                self._runs.acknowledge(token)
            case Ping():
                self._tell(Pong())
            case Bye():
                self._told_to_leave = True
            case _:
                raise ProtocolError(f"{type(message).__name__} is not for lrm-exec")

    def _tell(self, message: FromExec) -> None:
        """Queue a message for ha-lrm; without one, results wait for the next Hello."""
        if self._client is None:
            return
        self._backlog.extend(encode(message))
        self._flush()

    def _flush(self) -> None:
        if self._client is None:
            return
        try:
            while self._backlog:
                self._client.send(self._backlog[0])
                self._backlog.popleft()
        except BlockingIOError:
            if len(self._backlog) > _BACKLOG_PACKETS_MAX:
                self._note("ha-lrm does not read; its connection is closed, results are kept")
                self._close_client()
                return
        except OSError:
            self._close_client()
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._backlog else 0)
        self._selector.modify(self._client, events, None)

    def _close_client(self) -> None:
        if self._client is not None:
            self._selector.unregister(self._client)
            self._client.close()
            self._client = None
            self._backlog.clear()
            self._alone_since_ns = self._clock.now_ns()


def is_registered(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> bool:
    """Whether what was ready is still there.

    An earlier one of the same pass may have closed it, and a pipe of another agent got its descriptor since.
    """
    now = selector.get_map().get(key.fd)
    return now is not None and now.data is not None and now.data is key.data


def listen(path: Path) -> socket.socket:
    """The socket at `path`, for its owner only. The caller holds the lock that makes replacing it safe."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(4)
    return listener
