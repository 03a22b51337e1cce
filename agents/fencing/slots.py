"""A shared disk with a slot for each node, by which one is told to die (`slots init FILE NODE…` makes it).

A slot is two sectors, so that nobody overwrites what another has said; each is written and read whole and
past all caches. The first is the fencers': "off", for one boot of the node, with a sequence. The second is
the node's: its boot, who watches the slot (armed, the watchdog's kind and timeout), a heartbeat that counts
readings, and the sequence that it obeys. From RECORDS_AT on each slot has a record, too: what its node's
ha-messaging says to the others about the witness's vote (cluster-protocol.md, 7.4). A record is written
twice, one copy after the other: of a write that was torn, or a block that went bad, the other copy is left.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import sys
import zlib
from typing import NamedTuple

SECTOR = 512
SLOTS_MAX = 255
CLEAR, OFF = 0, 1
BLOCK = 4_096
RECORDS_AT = 1 << 20
PAYLOAD_MAX = 3_072
HARDWARE = "hardware"
"""The only kind of watchdog that ends a node whose sentinel is gone or hangs."""

_MESSAGE, _NODE, _RECORD = b"haSLOT2\0", b"haNODE2\0", b"haVOTE1\0"
_HEAD = struct.Struct("<8sI")  # magic, checksum of what follows
_MESSAGE_BODY = struct.Struct("<64sIQ64s")  # name, message, sequence, boot
_NODE_BODY = struct.Struct("<64s64sQQQ16s")  # name, boot, acknowledged, heartbeat, armed, kind
_RECORD_BODY = struct.Struct("<Q32sH")  # serial, boot, bytes of what follows


class SlotError(Exception):
    """The disk, or a slot on it, is not what it should be."""


class Message:
    """What fencers say to a node. `boot`: the boot that is to end; no other one obeys."""

    def __init__(self, name: str, *, message: int = CLEAR, sequence: int = 0, boot: str = "") -> None:
        self.name, self.message, self.sequence, self.boot = name, message, sequence, boot

    def ends(self, boot: str) -> bool:
        """Whether that boot is told to die."""
        return self.message == OFF and bool(boot) and self.boot == boot

    def pack(self) -> bytes:
        """One sector."""
        body = _MESSAGE_BODY.pack(self.name.encode(), self.message, self.sequence, self.boot.encode())
        return _seal(_MESSAGE, body)


class NodeState:
    """What a node says. `armed_ms`: the timeout of the watchdog (`kind`) behind who reads; 0: nobody does."""

    def __init__(
        self,
        name: str,
        *,
        boot: str = "",
        acknowledged: int = 0,
        heartbeat: int = 0,
        armed_ms: int = 0,
        kind: str = "",
    ) -> None:
        self.name, self.boot, self.acknowledged = name, boot, acknowledged
        self.heartbeat, self.armed_ms, self.kind = heartbeat, armed_ms, kind

    def pack(self) -> bytes:
        """One sector."""
        words = (self.acknowledged, self.heartbeat, self.armed_ms)
        return _seal(
            _NODE,
            _NODE_BODY.pack(self.name.encode(), self.boot.encode(), *words, self.kind.encode()),
        )


def _seal(magic: bytes, body: bytes) -> bytes:
    return (_HEAD.pack(magic, zlib.crc32(magic + body)) + body).ljust(SECTOR, b"\0")


def _open(data: bytes, wanted: bytes, body: struct.Struct) -> bytes:
    magic, checksum = _HEAD.unpack_from(data)
    rest = data[_HEAD.size : _HEAD.size + body.size]
    if magic != wanted or checksum != zlib.crc32(magic + rest):
        raise SlotError("it has no slots, or this one is damaged (make them: agents.fencing.slots init)")
    return rest


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode(errors="replace")


def unpack_message(data: bytes) -> Message:
    """The fencers' sector. Raises SlotError for a damaged one."""
    name, message, sequence, boot = _MESSAGE_BODY.unpack(_open(data, _MESSAGE, _MESSAGE_BODY))
    return Message(_text(name), message=message, sequence=sequence, boot=_text(boot))


def unpack_node(data: bytes) -> NodeState:
    """The node's sector. Raises SlotError for a damaged one."""
    name, boot, acknowledged, heartbeat, armed_ms, kind = _NODE_BODY.unpack(_open(data, _NODE, _NODE_BODY))
    return NodeState(
        _text(name),
        boot=_text(boot),
        acknowledged=acknowledged,
        heartbeat=heartbeat,
        armed_ms=armed_ms,
        kind=_text(kind),
    )


class Record(NamedTuple):
    """What a node's ha-messaging has said. `serial` grows with each write, `boot` is its boot token."""

    serial: int
    boot: bytes
    payload: bytes


def pack_record(record: Record) -> bytes:
    """One block."""
    assert len(record.payload) <= PAYLOAD_MAX
    body = _RECORD_BODY.pack(record.serial, record.boot, len(record.payload)) + record.payload
    return (_HEAD.pack(_RECORD, zlib.crc32(_RECORD + body)) + body).ljust(BLOCK, b"\0")


def unpack_record(data: bytes) -> Record | None:
    """One copy; None for a damaged one."""
    magic, checksum = _HEAD.unpack_from(data)
    serial, boot, length = _RECORD_BODY.unpack_from(data, _HEAD.size)
    rest = data[_HEAD.size : _HEAD.size + _RECORD_BODY.size + length]
    whole = magic == _RECORD and length <= PAYLOAD_MAX and checksum == zlib.crc32(magic + rest)
    return Record(serial, boot, rest[_RECORD_BODY.size :]) if whole else None


class Disk:
    """The slots of one device or file; not for two threads at once. Raises SlotError, OSError."""

    def __init__(self, path: str) -> None:
        flags = os.O_RDWR | os.O_SYNC | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags | os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system without direct access, as in tests
                raise
            self._descriptor = os.open(path, flags)
        self._buffer = mmap.mmap(-1, SECTOR)  # direct access wants aligned memory
        self._block = mmap.mmap(-1, BLOCK)

    def close(self) -> None:
        """Let go."""
        os.close(self._descriptor)

    def message(self, number: int) -> Message:
        """What fencers have said to a node."""
        return unpack_message(self._read(2 * number))

    def node(self, number: int) -> NodeState:
        """What the node says."""
        return unpack_node(self._read(2 * number + 1))

    def write_message(self, number: int, message: Message) -> None:
        """For fencers."""
        self._write(2 * number, message.pack())

    def write_node(self, number: int, node: NodeState) -> None:
        """For the node itself."""
        self._write(2 * number + 1, node.pack())

    def _read(self, sector: int) -> bytes:
        if os.preadv(self._descriptor, [self._buffer], sector * SECTOR) != SECTOR:
            raise SlotError("it ends before this slot")
        return self._buffer[:]

    def _write(self, sector: int, data: bytes) -> None:
        self._buffer[:] = data
        if os.pwritev(self._descriptor, [self._buffer], sector * SECTOR) != SECTOR:
            raise SlotError("a slot was not written whole")

    def write_record(self, number: int, record: Record) -> None:
        """For the node's ha-messaging: said when this returns. The second copy follows the first."""
        self._block[:] = pack_record(record)
        for copy in range(2):
            at = RECORDS_AT + (2 * number + copy) * BLOCK
            if os.pwritev(self._descriptor, [self._block], at) != BLOCK:
                raise SlotError("a record was not written whole")

    def record(self, number: int) -> Record | None:
        """The newer copy that is whole; None when both are damaged."""
        found: Record | None = None
        for copy in range(2):
            at = RECORDS_AT + (2 * number + copy) * BLOCK
            if os.preadv(self._descriptor, [self._block], at) != BLOCK:
                raise SlotError("it has no records (make them: agents.fencing.slots init)")
            one = unpack_record(self._block[:])
            if one is not None and (found is None or one.serial > found.serial):
                found = one
        return found

    def slots(self) -> dict[str, int]:
        """The number of each node's."""
        found: dict[str, int] = {}
        for number in range(SLOTS_MAX):
            try:
                message = self.message(number)
            except SlotError:
                if number == 0:
                    raise
                break
            if message.name:
                found.setdefault(message.name, number)
        return found

    def number_of(self, name: str) -> int:
        """Raises SlotError when the node has none."""
        known = self.slots()
        if name not in known:
            raise SlotError(f"{name} has no slot; there are {', '.join(sorted(known)) or 'none'}")
        return known[name]


def init(path: str, names: list[str]) -> None:
    """Write a slot for each node, and forget what was there. Raises SlotError, OSError."""
    if not 0 < len(names) <= SLOTS_MAX or any(not 0 < len(name.encode()) <= 63 for name in names):
        raise SlotError(f"1 to {SLOTS_MAX} nodes, with names of 1 to 63 bytes")
    if len(set(names)) != len(names):
        raise SlotError("a node is named twice")
    with open(path, "r+b" if os.path.exists(path) else "w+b") as file:
        for name in names:
            file.write(Message(name).pack() + NodeState(name).pack())
        file.write(b"\0" * SECTOR)  # an end, also where an older, longer list was
        file.seek(RECORDS_AT)
        file.write(2 * len(names) * pack_record(Record(0, bytes(32), b"")))
        file.flush()
        os.fsync(file.fileno())


def main() -> int:
    """`init FILE NODE…` or `show FILE`."""
    words = sys.argv[1:]
    try:
        if len(words) >= 3 and words[0] == "init":
            init(words[1], words[2:])
            return 0
        if len(words) == 2 and words[0] == "show":
            disk = Disk(words[1])
            for name, number in disk.slots().items():
                node, message = disk.node(number), disk.message(number)
                state = f"armed {node.armed_ms} ms, {node.kind}" if node.armed_ms else "not watched"
                print(f"{number} {name}: {state}{', told to die' if message.ends(node.boot) else ''}")
            return 0
    except (SlotError, OSError) as error:
        print(f"{words[1]}: {error}", file=sys.stderr)
        return 1
    print("usage: python -m agents.fencing.slots init FILE NODE… | show FILE", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
