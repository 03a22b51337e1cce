"""What one node says about the witness's vote in its record on a shared disk, and its bytes. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from hacluster.vocabulary.ids import NO_VIEW, NodeId, ViewId
from messaging.membership.runs import Run
from messaging.witness.core import WitnessState

Ballot: TypeAlias = tuple[int, int]
"""(counter, node): no two nodes have the same."""

NO_BALLOT: Final = (0, 0)
NOTHING: Final = WitnessState()
_FORMAT: Final = 3
_WITHOUT_RUNS: Final = 2
_WITHOUT_SERIAL: Final = 1
"""As the next one, without what is at its end."""
_SERIAL: Final = struct.Struct("<Q")
_NODE: Final = struct.Struct("<H")
_VARINT_BYTES_MAX: Final = 10
_FIXED: Final = struct.Struct("<B16s QH QH QH I Q QH QH I Q QH q HHH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A node's record. Only that node writes it.

    `ballot`: the highest that it has spoken of; `accepted`: the one by which it said `state`. `view`: in
    which it may rest on the witness for `lease_ms` after each change of `renewed`. `wish`: for which
    view it asks.
    """

    serial: int = 0
    cluster: bytes = bytes(16)
    boot: bytes = bytes(32)
    ballot: Ballot = NO_BALLOT
    accepted: Ballot = NO_BALLOT
    state: WitnessState = NOTHING
    view: ViewId = NO_VIEW
    lease_ms: int = 0
    renewed: int = 0
    wish: ViewId = NO_VIEW
    wish_members: tuple[int, ...] = ()
    score: int = 0


def encode(block: Block) -> bytes:
    """The payload of the record; serial and boot stand beside it."""
    state, lists = block.state, (block.state.members, block.state.in_sync, block.wish_members)
    fixed = _FIXED.pack(
        _FORMAT,
        block.cluster,
        *block.ballot,
        *block.accepted,
        *(state.last.counter, state.last.coordinator),
        state.lease_ms,
        state.config_index,
        *state.term,
        *(block.view.counter, block.view.coordinator),
        block.lease_ms,
        block.renewed,
        *(block.wish.counter, block.wish.coordinator),
        block.score,
        *map(len, lists),
    )
    runs = b"".join(_NODE.pack(run.node) + _varint(run.incarnation) for run in state.runs)
    ids = b"".join(struct.pack(f"<{len(ids)}H", *ids) for ids in lists)
    return fixed + ids + _SERIAL.pack(state.serial) + runs


def decode(serial: int, boot: bytes, payload: bytes) -> Block | None:
    """An empty payload is a record that nobody has written yet. None: of another format, or cut."""
    if not payload:
        return Block(serial=serial)
    if len(payload) < _FIXED.size:
        return None
    (form, cluster, *numbers) = _FIXED.unpack_from(payload)
    lengths = numbers[-3:]
    at = _FIXED.size + 2 * sum(lengths)
    serial_bytes = 0 if form == _WITHOUT_SERIAL else _SERIAL.size
    runs = _runs_from(payload[at + serial_bytes :])
    known = form == _FORMAT or (form in (_WITHOUT_SERIAL, _WITHOUT_RUNS) and not runs)
    if not known or runs is None or len(payload) < at + serial_bytes:
        return None
    ids = struct.unpack_from(f"<{sum(lengths)}H", payload, _FIXED.size)
    members, in_sync = ids[: lengths[0]], ids[lengths[0] : lengths[0] + lengths[1]]
    return Block(
        serial=serial,
        cluster=cluster,
        boot=boot,
        ballot=(numbers[0], numbers[1]),
        accepted=(numbers[2], numbers[3]),
        state=WitnessState(
            last=ViewId(numbers[4], NodeId(numbers[5])),
            members=members,
            lease_ms=numbers[6],
            config_index=numbers[7],
            in_sync=in_sync,
            term=(numbers[8], numbers[9]),
            serial=_SERIAL.unpack_from(payload, at)[0] if serial_bytes else 0,
            runs=runs,
        ),
        view=ViewId(numbers[10], NodeId(numbers[11])),
        lease_ms=numbers[12],
        renewed=numbers[13],
        wish=ViewId(numbers[14], NodeId(numbers[15])),
        wish_members=ids[lengths[0] + lengths[1] :],
        score=numbers[16],
    )


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first: most runs have small numbers, and 255 nodes have to fit."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _runs_from(raw: bytes) -> tuple[Run, ...] | None:
    """None: cut."""
    runs, at = [], 0
    while at < len(raw):
        number = raw[at + _NODE.size : at + _NODE.size + _VARINT_BYTES_MAX]
        length = next((n for n, byte in enumerate(number, 1) if byte < 0x80), 0)
        if not length:
            return None
        incarnation = sum((byte & 0x7F) << 7 * n for n, byte in enumerate(number[:length]))
        runs.append(Run(_NODE.unpack_from(raw, at)[0], incarnation))
        at += _NODE.size + length
    return tuple(runs)
