"""The journal's file: appended with one write() a record, never fsynced (it has to survive ha-lrm, not the
machine), void after a reboot, rewritten when it has grown.

A line is `CRC32 JSON`; the first one is the head with the boot token. What follows a damaged line is cut off:
write() of one process is not reordered, so only the last line of a killed writer can be torn.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hacluster.vocabulary.ids import BootToken
from lrm.journal.codec import BadRecord, decode, encode
from lrm.journal.model import Ledger
from lrm.journal.records import Record

FORMAT: Final = 1
COMPACT_ABOVE_BYTES: Final = 4 * 1024 * 1024
_GROWTH: Final = 4  # rewrite when four times as long as after the last rewriting


@dataclass(frozen=True, slots=True)
class Opened:
    """What was found. `void` says why a former journal does not count; `cut_bytes` were damaged."""

    ledger: Ledger
    journal_id: str
    void: str = ""
    cut_bytes: int = 0


class Store:
    """The open journal. All methods block for a write(), none for a disk."""

    def __init__(self, path: Path, boot_token: BootToken) -> None:
        self._path = path
        self._boot_token = boot_token
        self._descriptor = -1
        self._size_bytes = 0
        self._compact_at_bytes = COMPACT_ABOVE_BYTES
        self._journal_id = ""

    def open(self) -> Opened:
        """Read the journal, or begin a new one. Raises OSError."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = self._read()
        self._journal_id = opened.journal_id
        self.compact(opened.ledger)
        return opened

    def append(self, record: Record) -> None:
        """Write one record. Raises OSError: the caller must end, since it can promise nothing any more."""
        line = _line(encode(record))
        written = os.write(self._descriptor, line)
        if written != len(line):
            os.ftruncate(self._descriptor, self._size_bytes)
            raise OSError(28, f"{self._path}: the file system is full")
        self._size_bytes += written

    def compact_if_grown(self, ledger: Ledger) -> bool:
        """Rewrite the file when it has grown enough."""
        if self._size_bytes < self._compact_at_bytes:
            return False
        self.compact(ledger)
        return True

    def compact(self, ledger: Ledger) -> None:
        """Replace the file by the shortest one that means the same. Raises OSError: the old one is intact."""
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_APPEND, 0o600)
        try:
            size_bytes = _write_all(descriptor, self._lines(ledger.records()))
            fresh.replace(self._path)
        except OSError:
            os.close(descriptor)
            raise
        self.close()
        self._descriptor = descriptor
        self._size_bytes = size_bytes
        self._compact_at_bytes = max(COMPACT_ABOVE_BYTES, size_bytes * _GROWTH)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _lines(self, records: Iterable[Record]) -> Iterable[bytes]:
        head = {"format": FORMAT, "boot_token": self._boot_token, "journal_id": self._journal_id}
        yield _line(json.dumps(head, separators=(",", ":")).encode())
        for record in records:
            yield _line(encode(record))

    def _read(self) -> Opened:
        fresh = Opened(Ledger(), secrets.token_hex(4))
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return fresh
        lines = content.split(b"\n")
        head = _checked(lines[0]) if lines else None
        if head is None:
            return Opened(fresh.ledger, fresh.journal_id, "its head is damaged", len(content))
        values = json.loads(head)
        if values.get("format") != FORMAT:
            return Opened(fresh.ledger, fresh.journal_id, f"its format is {values.get('format')}")
        if values.get("boot_token") != self._boot_token:
            return Opened(fresh.ledger, fresh.journal_id, "it is of another boot")
        ledger, read_bytes = Ledger(), len(lines[0]) + 1
        for line in lines[1:-1]:  # what follows the last line end is nothing, or a torn line
            body = _checked(line)
            if body is None:
                break
            try:
                ledger.apply(decode(body))
            except BadRecord:
                break
            read_bytes += len(line) + 1
        return Opened(ledger, values["journal_id"], cut_bytes=max(0, len(content) - read_bytes))


def _line(body: bytes) -> bytes:
    return b"%08x " % zlib.crc32(body) + body + b"\n"


def _checked(line: bytes) -> bytes | None:
    body = line[9:]
    return body if len(line) > 9 and line[:9] == b"%08x " % zlib.crc32(body) else None


def _write_all(descriptor: int, lines: Iterable[bytes]) -> int:
    """Write in pieces of some size; the number of bytes."""
    total, buffer = 0, bytearray()
    for line in lines:
        buffer += line
        total += len(line)
        if len(buffer) >= 256 * 1024:
            _flush(descriptor, buffer)
    _flush(descriptor, buffer)
    return total


def _flush(descriptor: int, buffer: bytearray) -> None:
    while buffer:
        del buffer[: os.write(descriptor, buffer)]
