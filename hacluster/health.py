"""A health check (grpc.health.v1.Health/Check) over a unix socket, without gRPC.

The supervisor asks three daemons each second for as long as a node lives; importing grpc for that would cost
it more memory than everything else it does. The exchange is fixed to the byte, so the client's half of HTTP/2
(RFC 9113) is a few frames, and of the answer only "a message came on my stream" and its one field are read:
headers are skipped and never decoded, so no HPACK state is needed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_HEADER_BYTES: Final = 9
_FRAME_BYTES_MAX: Final = 16_384  # SETTINGS_MAX_FRAME_SIZE's initial value: we announce no other

# A connection's window (65,535 bytes) is never re-opened by us: 7 bytes an answer, so renew it long before.
_CHECKS_A_CONNECTION: Final = 1_000


def _text(value: bytes) -> bytes:
    return bytes([len(value)]) + value


# HPACK: indexed fields and literals without indexing (RFC 7541, 6.1, 6.2.2; static table of appendix A).
_REQUEST_HEADERS: Final = (
    b"\x83\x86"  # :method POST, :scheme http
    + b"\x04"
    + _text(b"/grpc.health.v1.Health/Check")
    + b"\x01"
    + _text(b"localhost")
    + b"\x0f\x10"  # content-type
    + _text(b"application/grpc")
    + b"\x00"
    + _text(b"te")
    + _text(b"trailers")
)
_REQUEST_MESSAGE: Final = b"\x00\x00\x00\x00\x00"  # not compressed, no bytes: the whole server's health


class Health(IntEnum):
    """`HealthCheckResponse.ServingStatus`; any of them is an answer of a living event loop."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


class ProtocolViolation(Exception):
    """What came is not the HTTP/2 we can follow, or the server refused: close and connect again."""


class HealthExchange:
    """The bytes of one connection, both ways. Knows no socket; odd stream numbers, one check at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._stream = -1
        self._settled = False
        self.checks = 0

    @property
    def waiting(self) -> bool:
        """A check has been sent and not been answered."""
        return self._stream > 0 and not self._settled

    def request(self) -> bytes:
        """What to send for one more check."""
        assert not self.waiting
        opening = PREFACE + frame(_SETTINGS, 0, 0) if self._stream < 0 else b""
        self._stream += 2
        self._settled = False
        self.checks += 1
        return (
            opening
            + frame(_HEADERS, _END_HEADERS, self._stream, _REQUEST_HEADERS)
            + frame(_DATA, _END_STREAM, self._stream, _REQUEST_MESSAGE)
        )

    def receive(self, data: bytes) -> tuple[Health | None, bytes]:
        """Take what the server sent: an answer, if it is complete, and what must be sent back.

        Raises ProtocolViolation when the connection is of no more use.
        """
        self._received += data
        answer: Health | None = None
        reply = b""
        while len(self._received) >= _HEADER_BYTES:
            length = int.from_bytes(self._received[:3], "big")
            if length > _FRAME_BYTES_MAX:
                raise ProtocolViolation(f"a frame of {length} bytes")
            if len(self._received) < _HEADER_BYTES + length:
                break
            kind, flags = self._received[3], self._received[4]
            stream = int.from_bytes(self._received[5:9], "big") & 0x7FFFFFFF
            payload = bytes(self._received[_HEADER_BYTES : _HEADER_BYTES + length])
            del self._received[: _HEADER_BYTES + length]
            if kind in (_SETTINGS, _PING) and not flags & _ACK:
                reply += frame(kind, _ACK, 0, payload if kind == _PING else b"")
            elif kind == _GOAWAY:
                raise ProtocolViolation("the server closes the connection")
            elif stream == self._stream:
                answer = self._on_stream(kind, flags, payload) or answer
        return answer, reply

    def _on_stream(self, kind: int, flags: int, payload: bytes) -> Health | None:
        if kind == _DATA and not self._settled and len(payload) >= 5:
            self._settled = True
            status = payload[6] if len(payload) >= 7 and payload[5] == 0x08 else 0
            return Health(status) if status in (0, 1, 2) else Health.UNKNOWN
        if not self._settled and (kind == _RST_STREAM or (kind == _HEADERS and flags & _END_STREAM)):
            raise ProtocolViolation("the server refused the call")
        return None


class HealthProbe:
    """One daemon's socket: `check()` each second, `read()` when readable. Never blocks, never raises."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._exchange = HealthExchange()

    def fileno(self) -> int:
        """The descriptor to wait on, -1 when there is no connection."""
        return self._socket.fileno() if self._socket is not None else -1

    def check(self) -> bool:
        """Send a check unless one is still unanswered. False: there is nobody to ask."""
        if self._exchange.checks >= _CHECKS_A_CONNECTION and not self._exchange.waiting:
            self.close()
        if self._socket is not None and self._exchange.waiting:
            return True
        try:
            if self._socket is None:
                self._exchange = HealthExchange()
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
                self._socket.connect(self._path)
            self._socket.sendall(self._exchange.request())
        except OSError:  # not there yet, gone, or its queue is full: silence is what the caller judges by
            self.close()
            return False
        return True

    def read(self) -> Health | None:
        """The answer, when it has come."""
        if self._socket is None:
            return None
        try:
            data = self._socket.recv(65_536)
            if not data:
                raise ProtocolViolation("closed")
            answer, reply = self._exchange.receive(data)
            if reply:
                self._socket.sendall(reply)
        except BlockingIOError:
            return None
        except (OSError, ProtocolViolation):
            self.close()
            return None
        return answer

    def close(self) -> None:
        """Forget the connection; the next check makes a new one."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = None
        self._exchange = HealthExchange()
