"""What ha-lrm and lrm-exec say to each other: JSON messages over a SOCK_SEQPACKET socket.

A message is cut into packets of at most 32 KiB; the first byte of each says whether more follow. Packets
of one direction are never lost or reordered, so that is all the framing there is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import get_args

VERSION = 2
"""Grows with every change the other end must know of; other versions understand Hello, Welcome and Bye."""

PACKET_BYTES_MAX = 32 * 1024
MESSAGE_BYTES_MAX = 8 * 1024 * 1024
_LAST, _MORE = b"\x00", b"\x01"


class How(StrEnum):
    """How a run ended."""

    EXITED = "exited"  # `status` is what waitpid says
    TIMEOUT = "timeout"
    KILLED = "killed"  # because ha-lrm asked for it
    LOST = "lost"  # it is over, nobody knows how
    NOT_STARTED = "not_started"  # `errno` says why
    TOO_LATE = "too_late"  # not started: `not_after_ns` had passed


class Leftover(StrEnum):
    """What to do with processes of the resource that a successful stop left behind (agents.md section 6)."""

    KEEP = "keep"  # not a stop
    REPORT = "report"
    KILL = "kill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """ha-lrm's first word on a connection; answered by Welcome and everything not acknowledged."""

    instance: int
    version: int = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Run one agent action. A known token is not started again.

    `timeout_ms` counts from the process's start, 0 means none; `grace_ms` lies between SIGTERM and SIGKILL.
    `warm` names an agent of ours (the OCF type) that the warm host may run instead of `argv`; empty: never.
    `stdin` is all that the agent can read; empty means /dev/null. After `not_after_ns` (boot time, 0: never
    too late) it is not started any more: whoever allowed it may do so no longer.
    """

    token: str
    resource: str
    action: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    timeout_ms: int
    grace_ms: int
    leftover: Leftover = Leftover.KEEP
    warm: str = ""
    stdin: str = ""
    not_after_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """Watch what a former lrm-exec started: ends as LOST, or as TIMEOUT at `deadline_ns` (boot time).

    `pid` 0: nobody was told which process it is. It is looked for, and ends `timeout_ms` after its start; if
    there is none (any more), the run has ended as LOST.
    """

    token: str
    resource: str
    pid: int
    start_ticks: int
    deadline_ns: int
    grace_ms: int
    timeout_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """End this run by the kill ladder; it finishes as KILLED. Harmless when it has ended."""

    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """The result is in the journal: forget it."""

    token: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Answered by Pong, at once and in order: who does not is hung."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The node's ha-lrm ends for good: exit as soon as nothing runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A run in progress, as Welcome lists it."""

    token: str
    pid: int
    start_ticks: int
    started_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Who lrm-exec is and what it has; results not acknowledged follow as Finished.

    `stuck` are resources with a process that outlived SIGKILL. `since_ns` (CLOCK_BOOTTIME) is when this
    lrm-exec began; 0 means an older version that does not say. What a former ha-lrm had sent was read before.
    """

    pid: int
    exec_id: str
    since_ns: int = 0
    running: tuple[Running, ...] = ()
    ended: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    cgroups: bool = False
    version: int = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The process exists. `start_ticks` is field 22 of /proc/PID/stat: with the pid it names the process."""

    token: str
    pid: int
    start_ticks: int
    started_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run is over; sent again after each Hello until it is acknowledged.

    `unkillable` means its process outlived SIGKILL by five seconds (Vanished follows if it ever goes).
    `leftover` lists pids of the resource that a stop left behind.
    """

    token: str
    how: How
    status: int = 0
    errno: int = 0
    stdout: str = ""
    stderr: str = ""
    dropped_bytes: int = 0
    started_ns: int = 0
    ended_ns: int = 0
    unkillable: bool = False
    leftover: tuple[int, ...] = ()
    leftover_killed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """A process reported as unkillable is gone."""

    token: str
    resource: str


@dataclass(frozen=True, slots=True)
class Pong:
    """To Ping."""


ToExec = Hello | Start | Adopt | Kill | Acknowledge | Ping | Bye
FromExec = Welcome | Started | Finished | Vanished | Pong
Message = ToExec | FromExec

_KINDS: Mapping[str, type[Message]] = {
    kind.__name__: kind for kind in (*get_args(ToExec), *get_args(FromExec))
}
_FIELDS = {name: tuple(each.name for each in fields(kind)) for name, kind in _KINDS.items()}


class ProtocolError(Exception):
    """The other end does not speak this protocol: close the connection."""


def encode(message: Message) -> list[bytes]:
    """The packets of a message."""
    kind = type(message).__name__
    values = {name: getattr(message, name) for name in _FIELDS[kind]}
    body = json.dumps([kind, values], separators=(",", ":"), default=asdict).encode()
    step = PACKET_BYTES_MAX - 1
    cuts = [body[at : at + step] for at in range(0, len(body), step)]
    return [*(_MORE + cut for cut in cuts[:-1]), _LAST + cuts[-1]]


def decode(body: bytes) -> Message:
    """The message of a complete body; fields that a newer version added are ignored. Raises ProtocolError."""
    try:
        kind, values = json.loads(body)
        known = _FIELDS[kind]
        values = {name: value for name, value in values.items() if name in known}
        if "running" in values:
            values["running"] = tuple(Running(**each) for each in values["running"])
        for name in ("argv", "ended", "leftover", "stuck"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        if "how" in values:
            values["how"] = How(values["how"])
        if kind == "Start":
            values["leftover"] = Leftover(values["leftover"])
        return _KINDS[kind](**values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError(f"not a message of lrm-exec: {error!r}") from error


@dataclass(slots=True)
class Assembler:
    """Puts packets together again."""

    _parts: list[bytes] = field(default_factory=list)
    _size_bytes: int = 0

    def feed(self, packet: bytes) -> Iterator[Message]:
        """The message that this packet completes, if any. Raises ProtocolError."""
        self._parts.append(packet[1:])
        self._size_bytes += len(packet) - 1
        if self._size_bytes > MESSAGE_BYTES_MAX:
            raise ProtocolError(f"a message of more than {MESSAGE_BYTES_MAX} bytes")
        if packet[:1] == _LAST:
            body = b"".join(self._parts)
            self._parts, self._size_bytes = [], 0
            yield decode(body)
