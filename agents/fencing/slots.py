"""A shared disk with a slot for each node, by which one is told to die (`slots init FILE NODE…` makes it).

A slot is one sector, written and read whole and past all caches. Its node says in it that somebody watches it
(armed, with the watchdog's timeout); others write "off" with a higher sequence; who obeys acknowledges that.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import sys
import zlib

SECTOR = 512
SLOTS_MAX = 255
CLEAR, OFF = 0, 1

_MAGIC = b"haSLOT1\0"
_SLOT = struct.Struct("<8sI64sIQQQ")  # magic, checksum, name, message, sequence, acknowledged, armed


class SlotError(Exception):
    """The disk, or a slot on it, is not what it should be."""


class Slot:
    """One node's. `armed_ms`: the timeout of who watches it; 0: nobody does."""

    def __init__(
        self,
        name: str = "",
        *,
        message: int = CLEAR,
        sequence: int = 0,
        acknowledged: int = 0,
        armed_ms: int = 0,
    ) -> None:
        self.name, self.message, self.sequence = name, message, sequence
        self.acknowledged, self.armed_ms = acknowledged, armed_ms

    def pack(self) -> bytes:
        """One sector."""
        rest = (
            self.name.encode(),
            self.message,
            self.sequence,
            self.acknowledged,
            self.armed_ms,
        )
        body = _SLOT.pack(_MAGIC, 0, *rest)
        return _SLOT.pack(_MAGIC, zlib.crc32(body), *rest).ljust(SECTOR, b"\0")


def unpack(data: bytes) -> Slot:
    """The slot in a sector. Raises SlotError for a damaged one."""
    magic, checksum, name, message, sequence, acknowledged, armed_ms = _SLOT.unpack_from(data)
    body = _SLOT.pack(magic, 0, name, message, sequence, acknowledged, armed_ms)
    if magic != _MAGIC or checksum != zlib.crc32(body):
        raise SlotError("it has no slots, or this one is damaged (make them: agents.fencing.slots init)")
    return Slot(
        name.rstrip(b"\0").decode(errors="replace"),
        message=message,
        sequence=sequence,
        acknowledged=acknowledged,
        armed_ms=armed_ms,
    )


class Disk:
    """The slots of one device or file. Raises SlotError, OSError."""

    def __init__(self, path: str) -> None:
        flags = os.O_RDWR | os.O_SYNC | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags | os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system without direct access, as in tests
                raise
            self._descriptor = os.open(path, flags)
        self._buffer = mmap.mmap(-1, SECTOR)  # direct access wants aligned memory

    def close(self) -> None:
        """Let go."""
        os.close(self._descriptor)

    def read(self, number: int) -> Slot:
        """One slot."""
        if os.preadv(self._descriptor, [self._buffer], number * SECTOR) != SECTOR:
            raise SlotError("it ends before this slot")
        return unpack(self._buffer[:])

    def write(self, number: int, slot: Slot) -> None:
        """Replace a slot."""
        self._buffer[:] = slot.pack()
        if os.pwritev(self._descriptor, [self._buffer], number * SECTOR) != SECTOR:
            raise SlotError("a slot was not written whole")

    def slots(self) -> dict[str, int]:
        """The number of each node's."""
        found: dict[str, int] = {}
        for number in range(SLOTS_MAX):
            try:
                slot = self.read(number)
            except SlotError:
                if number == 0:
                    raise
                break
            if slot.name:
                found.setdefault(slot.name, number)
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
            file.write(Slot(name).pack())
        file.write(b"\0" * SECTOR)  # an end, also where an older, longer list was
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
                slot = disk.read(number)
                state = f"armed {slot.armed_ms} ms" if slot.armed_ms else "not watched"
                print(f"{number} {name}: {state}{', told to die' if slot.message == OFF else ''}")
            return 0
    except (SlotError, OSError) as error:
        print(f"{words[1]}: {error}", file=sys.stderr)
        return 1
    print("usage: python -m agents.fencing.slots init FILE NODE… | show FILE", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
