"""What daemons tell ha-sentinel, and it tells them: a small file each below run/sentinel, in memory.

A word is written with one call and read with one call; a checksum finds what was torn. Nobody waits for
anybody, and a daemon that hangs is known by the age of its word.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final

from hacluster.vocabulary.sentinel import Word

_FORMAT: Final = struct.Struct("<4sIQQQ32s")
_MAGIC: Final = b"haSW"
SIZE: Final = _FORMAT.size


class WordFile:
    """One word; only its owner may write it, everybody may read it."""

    def __init__(self, run: Path, name: str) -> None:
        self._path = run / "sentinel" / name
        self._descriptor = -1

    def write(self, word: Word) -> None:
        """Replace the word. Raises OSError."""
        if self._descriptor < 0:
            self._make_folder()
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._path, flags, 0o644)
        os.pwrite(self._descriptor, encode(word), 0)

    def _make_folder(self) -> None:
        """It belongs to whom the run folder belongs: root's ha-lrm must not shut the others out."""
        folder = self._path.parent
        if folder.is_dir():
            return
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            owner = folder.parent.stat()
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            finally:
                os.close(descriptor)

    def read(self) -> Word | None:
        """The word; None when there is none, or it is damaged."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            return decode(os.pread(descriptor, SIZE, 0))
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Nobody says anything here any more."""
        self._path.unlink(missing_ok=True)


def encode(word: Word) -> bytes:
    """The bytes of a word; a long note is cut."""
    note = word.note.encode()[:32]
    body = _FORMAT.pack(_MAGIC, 0, word.written_ns, word.value, 0, note)
    return _FORMAT.pack(_MAGIC, zlib.crc32(body), word.written_ns, word.value, 0, note)


def decode(data: bytes) -> Word | None:
    """The word in these bytes, None when they are none."""
    if len(data) != SIZE:
        return None
    magic, checksum, written_ns, value, spare, note = _FORMAT.unpack(data)
    body = _FORMAT.pack(magic, 0, written_ns, value, spare, note)
    if magic != _MAGIC or checksum != zlib.crc32(body):
        return None
    return Word(written_ns, value, note.rstrip(b"\0").decode(errors="replace"))
