"""Heartbeats over a null-modem cable: a tty on either side, raw, COBS frames (cluster-protocol.md, 4.1).

For heartbeats and probes alone: it tells a node that lives from one that is gone when all networks between
them have failed, so that nobody acts alone. It never carries more than baud/10 bytes a second: what is above
that is not sent, for the next heartbeat says the same and is newer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import termios
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from hacluster.settings import Link
from messaging import log_events
from messaging.packet import Kind
from messaging.transport import cobs

log = structlog.get_logger()

RETRY_S: Final = 1.0
FRAME_BYTES_MAX: Final = 8_192
READ_BYTES: Final = 4_096
READS_A_PASS: Final = 64
CARRIED: Final = frozenset({Kind.HEARTBEAT, Kind.PROBE, Kind.PROBE_ACK})
_KIND_AT: Final = 3

Taken = Callable[[int, bytes, int, str], None]


class Budget:
    """Bytes that may leave: `rate` a second, saved up for a quarter of one, at least one frame."""

    def __init__(self, rate: int, now_ns: int) -> None:
        self._rate = rate
        self._most = max(rate // 4, 256)
        self._left = float(self._most)
        self._at_ns = now_ns

    def take(self, size: int, now_ns: int) -> bool:
        """Whether `size` bytes may go now. A frame longer than the savings goes when they are full."""
        self._left = min(self._most, self._left + (now_ns - self._at_ns) * self._rate / 1e9)
        self._at_ns = now_ns
        if self._left < min(size, self._most):
            return False
        self._left -= size
        return True


class SerialLink:
    """One tty. The same face as `UdpLink`."""

    def __init__(self, number: int, link: Link, taken: Taken, *, toml_number: int = 0) -> None:
        self.number, self.toml_number, self.link = number, toml_number, link
        self._taken = taken
        self._fd: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._complained = ""
        self._unwritten = b""
        self._budget = Budget(link.baud // 10, time.monotonic_ns())
        self._splitter = cobs.Splitter(FRAME_BYTES_MAX)
        self.sent = self.send_failures = 0

    def use_peers(self, _peers: Mapping[int, str]) -> None:
        """There is one, whoever that is."""

    def address_of(self, _node: int) -> str:
        """The tty: there is one peer, whoever that is."""
        return self.link.device

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """On failure say so once and try again each second until `close`."""
        self._loop, self._retry = loop, None
        try:
            self._fd = _opened(self.link.device, self.link.baud)
        except (OSError, termios.error) as error:
            self._failed(error)
            return
        self._complained = ""
        self._unwritten = b"\0"  # ends whatever the other side may have of a former run
        loop.add_reader(self._fd, self.drain)
        self._flush()
        log.info(log_events.LINK_OPEN, link=self.number, kind="serial", address=self.link.device)

    def _failed(self, error: OSError | termios.error) -> None:
        assert self._loop is not None
        reason = os.strerror(error.args[0]) if error.args and isinstance(error.args[0], int) else str(error)
        if reason != self._complained:
            self._complained = reason
            log.error(
                log_events.LINK_FAILED,
                link=self.number,
                address=self.link.device,
                reason=reason,
                remedy=_remedy(error),
            )
        self._retry = self._loop.call_later(RETRY_S, self.open, self._loop)

    def close(self) -> None:
        """Stop listening and trying."""
        if self._retry is not None:
            self._retry.cancel()
        self._shut()

    def _shut(self) -> None:
        if self._fd is not None:
            if self._loop is not None:
                self._loop.remove_reader(self._fd)
                self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = None

    def send(self, datagram: bytes, _destination: int) -> None:
        """To whoever is at the other end; what is no heartbeat or probe does not go this way."""
        if self._fd is None or datagram[_KIND_AT] not in CARRIED:
            return
        frame = cobs.encode(datagram)
        if self._unwritten or not self._budget.take(len(frame), time.monotonic_ns()):
            self.send_failures += 1
            return
        self._unwritten = frame
        self.sent += 1
        self._flush()

    def _flush(self) -> None:
        """A frame that was begun is finished before another begins."""
        assert self._fd is not None
        assert self._loop is not None
        try:
            written = os.write(self._fd, self._unwritten)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._lost(error)
            return
        self._unwritten = self._unwritten[written:]
        if self._unwritten:
            self._loop.add_writer(self._fd, self._flush)
        else:
            self._loop.remove_writer(self._fd)

    def _lost(self, error: OSError) -> None:
        """The device went away: try to have it back."""
        self._shut()
        self._unwritten = b""
        self._failed(error)

    def drain(self) -> None:
        """Read what is there, at most a pass' worth."""
        for _ in range(READS_A_PASS):
            if self._fd is None:
                return
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._lost(error)
                return
            if not data:
                self._lost(OSError(errno.EIO, os.strerror(errno.EIO)))
                return
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            for frame in self._splitter.feed(data):
                self._taken(self.number, frame, now_ns, self.link.device)


def _opened(device: str, baud: int) -> int:
    """The tty, raw, for us alone. Raises OSError, termios.error."""
    speed = getattr(termios, f"B{baud}", None)
    if speed is None:
        raise OSError(errno.EINVAL, f"no tty knows {baud} baud")
    descriptor = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _, _, control, _, _, _, characters = termios.tcgetattr(descriptor)
        control &= ~(termios.CSIZE | termios.PARENB | termios.CSTOPB | termios.HUPCL)
        control |= termios.CS8 | termios.CREAD | termios.CLOCAL
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0  # reading nothing means hung up
        termios.tcsetattr(descriptor, termios.TCSANOW, [0, 0, control, 0, speed, speed, characters])
        termios.tcflush(descriptor, termios.TCIFLUSH)
        with contextlib.suppress(OSError):  # not every tty knows it
            fcntl.ioctl(descriptor, termios.TIOCEXCL)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remedy(error: OSError | termios.error) -> str:
    match error.args[0] if error.args else None:
        case errno.ENOENT:
            return "no such device: see `device` of the serial [[link]] in cluster.toml"
        case errno.EACCES | errno.EPERM:
            return "let user hacluster open it: group dialout"
        case errno.EBUSY:
            return "another process has it: is a getty running on it?"
        case errno.ENOTTY:
            return "this is no tty"
        case errno.EINVAL:
            return "a usual speed, such as baud = 19200"
        case _:
            return "see the cable and the other end"
