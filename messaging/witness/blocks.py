"""What one node says about the witness's vote in its record on a shared disk, and its bytes. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from hacluster.vocabulary.ids import NO_VIEW, NodeId, ViewId
from messaging.witness.core import WitnessState

Ballot: TypeAlias = tuple[int, int]
"""(counter, node): no two nodes have the same."""

NO_BALLOT: Final = (0, 0)
NOTHING: Final = WitnessState()
_FORMAT: Final = 2
_WITHOUT_SERIAL: Final = 1
"""As 2, without what is at its end."""
_SERIAL: Final = struct.Struct("<Q")
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
    return fixed + b"".join(struct.pack(f"<{len(ids)}H", *ids) for ids in lists) + _SERIAL.pack(state.serial)


def decode(serial: int, boot: bytes, payload: bytes) -> Block | None:
    """An empty payload is a record that nobody has written yet. None: of another format, or cut."""
    if not payload:
        return Block(serial=serial)
    if len(payload) < _FIXED.size:
        return None
    (form, cluster, *numbers) = _FIXED.unpack_from(payload)
    lengths = numbers[-3:]
    rest = {_FORMAT: _SERIAL.size, _WITHOUT_SERIAL: 0}.get(form)
    at = _FIXED.size + 2 * sum(lengths)
    if rest is None or len(payload) != at + rest:
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
            serial=_SERIAL.unpack_from(payload, at)[0] if rest else 0,
        ),
        view=ViewId(numbers[10], NodeId(numbers[11])),
        lease_ms=numbers[12],
        renewed=numbers[13],
        wish=ViewId(numbers[14], NodeId(numbers[15])),
        wish_members=ids[lengths[0] + lengths[1] :],
        score=numbers[16],
    )
