"""ha-lrm's end of the socket to lrm-exec: packets in and out in the event loop, and starting it again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from hacluster.errors import Unavailable
from hacluster.paths import Paths
from lrm.exec import launch
from lrm.exec.protocol import PACKET_BYTES_MAX, Assembler, Message, ProtocolError, ToExec, encode

_READS_PER_PASS: Final = 32
_BACKLOG_PACKETS_MAX: Final = 65_536
_RETRY_S: Final = 0.2
_OTHER_VERSION_RETRY_S: Final = 1.0


class ExecLink:
    """Keeps a connection to lrm-exec. `on_up` is called when there is one, `on_down` when it broke."""

    def __init__(
        self,
        paths: Paths,
        node: str,
        *,
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        on_message: Callable[[Message], None],
    ) -> None:
        self._paths, self._node = paths, node
        self._on_up, self._on_down, self._on_message = on_up, on_down, on_message
        self._socket: socket.socket | None = None
        self._pidfd = -1
        self._assembler = Assembler()
        self._backlog: deque[bytes] = deque()
        self._broken = asyncio.Event()
        self._retry_s = 0.0

    async def run(self, first: socket.socket | None) -> None:
        """Serve the connection `first`, then new ones, until cancelled."""
        connection = first
        while True:
            if connection is None:
                try:
                    connection = await asyncio.to_thread(launch.ensure_running, self._paths, self._node)
                except Unavailable:
                    await asyncio.sleep(_RETRY_S)
                    continue
            self._open(connection)
            try:
                await self._broken.wait()
            finally:
                self.close()
            connection = None
            launch.reap()
            self._on_down()
            await asyncio.sleep(self._retry_s)
            self._retry_s = 0.0

    def send(self, message: ToExec) -> bool:
        """Send in order. False when there is no connection: nothing was sent."""
        if self._socket is None:
            return False
        self._backlog.extend(encode(message))
        if len(self._backlog) > _BACKLOG_PACKETS_MAX:
            self._broken.set()
            return False
        self._flush()
        return True

    def drop(self) -> None:
        """End this connection and look for another lrm-exec: this one leaves as soon as nothing runs."""
        self._retry_s = _OTHER_VERSION_RETRY_S
        self._broken.set()

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    def kill_peer(self) -> None:
        """SIGKILL to the lrm-exec at the other end; the connection breaks by that."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Drop the connection; lrm-exec goes on with what it runs."""
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._backlog.clear()

    def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket, self._assembler = connection, Assembler()
        self._broken.clear()
        with suppress(OSError):  # it is gone already: the connection says so in a moment
            self._pidfd = os.pidfd_open(launch.peer_pid(connection))
        asyncio.get_running_loop().add_reader(connection, self._readable)
        self._on_up()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._socket is not None
        try:
            while self._backlog:
                self._socket.send(self._backlog[0])
                self._backlog.popleft()
        except BlockingIOError:
            loop.add_writer(self._socket, self._flush)
            return
        except (BrokenPipeError, ConnectionResetError):
            # It is gone. What it said before is still to be read, and after that comes the end.
            self._backlog.clear()
        except OSError:
            self._broken.set()
            return
        loop.remove_writer(self._socket)

    def _readable(self) -> None:
        for _ in range(_READS_PER_PASS):
            if self._socket is None:
                return
            try:
                packet = self._socket.recv(PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # it ended without having read all; told once, and what it had said comes next
            except OSError:
                packet = b""
            if not packet:
                asyncio.get_running_loop().remove_reader(self._socket)
                self._broken.set()
                return
            try:
                for message in self._assembler.feed(packet):
                    self._on_message(message)
            except ProtocolError:
                self._broken.set()
                return
