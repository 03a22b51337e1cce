"""Bodies longer than a datagram may be: cut into fragments and put together again (cluster-protocol.md, 3.4).

A fragment is message id (u32), index (u8), count (u8), the whole body's kind (u8), then its piece; each
travels in a packet of its own, with its own tag. The id is the same on every link: whatever arrives first
fills the gap.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from messaging.membership.events import (
    Accept,
    Bars,
    CommittedQuorum,
    Data,
    Install,
    Leave,
    Message,
    Propose,
    Refuse,
)
from messaging.packet import HEADER, HMAC_BYTES, Heartbeat, Kind

COUNT_MAX: Final = 64
INCOMPLETE_MAX: Final = 4
KEEP_NS: Final = 2_000_000_000
DONE_KEPT: Final = 16
MARGIN_BYTES: Final = 96
"""Numbers and tags of a protobuf message beside its lists and texts, at most."""

RUN_BYTES: Final = 20
TOPIC_CHARACTERS_MAX: Final = 64
TOPIC_BYTES_MAX: Final = 4 * TOPIC_CHARACTERS_MAX

_HEAD: Final = struct.Struct(">IBBB")
_MAY_BE_CUT: Final = frozenset(
    {Kind.LEAVE, Kind.PROPOSE, Kind.ACCEPT, Kind.REFUSE, Kind.INSTALL, Kind.DATA, Kind.BARS}
)


def body_room(payload_bytes: int) -> int:
    """How long a body may be in one datagram of `payload_bytes`."""
    return payload_bytes - HEADER.size - HMAC_BYTES


def pieces_needed(message: Message, payload_bytes: int) -> int:
    """How many packets `message` may need, at most; 1 when it fits into one."""
    length = body_bound(message)
    if length <= body_room(payload_bytes):
        return 1
    piece = body_room(payload_bytes) - _HEAD.size
    return -(-length // piece)


def data_bytes_max(payload_bytes: int) -> int:
    """The longest payload of a DATA message that fits into as many fragments as there may be."""
    return COUNT_MAX * (body_room(payload_bytes) - _HEAD.size) - 2 * MARGIN_BYTES - TOPIC_BYTES_MAX


def body_bound(message: Message) -> int:
    """An upper bound of the encoded body; exact lengths are the encoder's."""
    match message:
        case Heartbeat():
            return 64 + 5 * len(message.echo)
        case Data():
            return 2 * MARGIN_BYTES + 4 * len(message.topic) + len(message.payload)
        case Propose():
            return MARGIN_BYTES + 16 * len(message.members)
        case Accept():
            return 2 * MARGIN_BYTES + _quorum_bound(message.quorum) + RUN_BYTES * len(message.runs)
        case Install():
            known = RUN_BYTES * len(message.runs) + 4 * len(message.forgetful)
            return MARGIN_BYTES + 56 * len(message.members) + _quorum_bound(message.quorum) + known
        case Refuse():
            return MARGIN_BYTES + 4 * len(message.hears)
        case Bars():
            return MARGIN_BYTES + 32 * len(message.words)
        case Leave():
            return MARGIN_BYTES + sum(8 + 4 * len(name) for name in message.active_unmanaged)
        case _:
            return 2 * MARGIN_BYTES


def _quorum_bound(quorum: CommittedQuorum) -> int:
    known = [quorum.config, *([quorum.config.next] if quorum.config.next is not None else [])]
    return sum(MARGIN_BYTES + 16 * len(each.voters) + 4 * len(each.tiebreak_order) for each in known)


def cut(kind: int, body: bytes, message_id: int, payload_bytes: int) -> list[bytes]:
    """The bodies of the FRAGMENT packets. Raises ValueError when there would be too many."""
    piece = body_room(payload_bytes) - _HEAD.size
    count = -(-len(body) // piece)
    if count > COUNT_MAX:
        raise ValueError(f"{len(body)} bytes need {count} fragments, {COUNT_MAX} are allowed")
    return [
        _HEAD.pack(message_id & 0xFFFFFFFF, index, count, kind) + body[index * piece : (index + 1) * piece]
        for index in range(count)
    ]


@dataclass(slots=True)
class _Incomplete:
    """A message of which something is missing."""

    kind: int
    began_ns: int
    pieces: list[bytes | None]
    missing: int


@dataclass(slots=True)
class _Sender:
    """One run of one node: what is incomplete (oldest first), and what was completed lately."""

    session: bytes
    incomplete: dict[int, _Incomplete] = field(default_factory=dict)
    done: deque[int] = field(default_factory=lambda: deque(maxlen=DONE_KEPT))


class Assembler:
    """Puts fragments together; what stays incomplete is given up after two seconds, and counted."""

    def __init__(self) -> None:
        self.given_up = 0
        self._senders: dict[int, _Sender] = {}

    def take(self, sender: int, session: bytes, fragment: bytes, now_ns: int) -> tuple[int, bytes] | bool:
        """Kind and body when they are whole now; True when more is to come; False: the fragment is no good.

        Bounded: `INCOMPLETE_MAX` messages a sender; the oldest gives way.
        """
        if len(fragment) <= _HEAD.size:
            return False
        message_id, index, count, kind = _HEAD.unpack_from(fragment)
        if not 2 <= count <= COUNT_MAX or index >= count or kind not in _MAY_BE_CUT:
            return False
        known = self._senders.get(sender)
        if known is None or known.session != session:
            known = self._senders[sender] = _Sender(session)
        self._expire(known, now_ns)
        if message_id in known.done:
            return True
        message = known.incomplete.get(message_id)
        if message is None:
            if len(known.incomplete) >= INCOMPLETE_MAX:
                known.incomplete.pop(next(iter(known.incomplete)))
                self.given_up += 1
            message = _Incomplete(kind, now_ns, [None] * count, count)
            known.incomplete[message_id] = message
        if len(message.pieces) != count or message.kind != kind:
            return False
        if message.pieces[index] is None:
            message.pieces[index] = fragment[_HEAD.size :]
            message.missing -= 1
        if message.missing:
            return True
        del known.incomplete[message_id]
        known.done.append(message_id)
        return kind, b"".join(piece for piece in message.pieces if piece is not None)

    def _expire(self, sender: _Sender, now_ns: int) -> None:
        old = [number for number, message in sender.incomplete.items() if now_ns - message.began_ns > KEEP_NS]
        for number in old:
            del sender.incomplete[number]
        self.given_up += len(old)
