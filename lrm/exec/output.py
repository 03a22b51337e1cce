"""What an agent prints, bounded: the first 128 KiB and the last 128 KiB of each stream."""

from __future__ import annotations

import os
from collections import deque

HALF_BYTES = 128 * 1024
_READ_BYTES = 64 * 1024
# After the agent's exit only what is in the pipe is read; a daemon that goes on writing must not keep us.
_DRAIN_READS_MAX = 32


class Capture:
    """Reads one pipe without blocking and keeps its head and tail."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.dropped_bytes = 0
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    def read(self) -> bool:
        """Read once. False at the end of the stream, which says nothing about the agent."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        self._keep(data)
        return True

    def drain(self) -> None:
        """Take what is there and close our end."""
        if self.fd < 0:
            return
        try:
            for _ in range(_DRAIN_READS_MAX):
                data = os.read(self.fd, _READ_BYTES)
                if not data:
                    break
                self._keep(data)
        except BlockingIOError:
            pass  # the pipe is empty: someone still holds its other end
        finally:
            self.close()

    def close(self) -> None:
        """Close our end. May be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def text(self) -> str:
        """Head and tail, with a line between them where something was dropped."""
        tail = b"".join(self._tail)
        excess = max(0, len(tail) - HALF_BYTES)
        dropped = self.dropped_bytes + excess
        gap = f"\n[{dropped} bytes dropped]\n".encode() if dropped else b""
        return (bytes(self._head) + gap + tail[excess:]).decode(errors="replace")

    def _keep(self, data: bytes) -> None:
        room = HALF_BYTES - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if not data:
            return
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) >= HALF_BYTES:
            first = self._tail.popleft()
            self._tail_bytes -= len(first)
            self.dropped_bytes += len(first)
