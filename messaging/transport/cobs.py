"""Frames on a byte stream: Consistent Overhead Byte Stuffing, each frame ended by a zero byte. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_BLOCK_MAX: Final = 254


def encode(frame: bytes) -> bytes:
    """`frame` without a zero byte in it, and one at its end."""
    out = bytearray()
    start = 0
    while True:
        end = frame.find(b"\0", start, start + _BLOCK_MAX)
        block = frame[start : end if end >= 0 else start + _BLOCK_MAX]
        out.append(len(block) + 1)
        out += block
        start += len(block) + (end >= 0)
        if end < 0 and start >= len(frame):
            break
    out.append(0)
    return bytes(out)


def decode(stuffed: bytes) -> bytes | None:
    """The frame whose encoding, without the zero at its end, is `stuffed`; None when it is no encoding."""
    out = bytearray()
    position = 0
    while position < len(stuffed):
        code = stuffed[position]
        block = stuffed[position + 1 : position + code]
        if not code or len(block) != code - 1 or 0 in block:
            return None
        out += block
        position += code
        if code <= _BLOCK_MAX and position < len(stuffed):
            out.append(0)
    return bytes(out) if stuffed else None


class Splitter:
    """Cuts what comes in into frames; a frame that does not end within bounds is thrown away, and counted."""

    def __init__(self, longest: int) -> None:
        self._longest = longest + longest // _BLOCK_MAX + 1
        self._rest = bytearray()
        self._skipping = False
        self.bad = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are whole now."""
        *ends, rest = data.split(b"\0")
        for piece in ends:
            self._rest += piece
            stuffed, skipping = bytes(self._rest), self._skipping
            self._rest.clear()
            self._skipping = False
            if skipping or len(stuffed) > self._longest:
                self.bad += 1
                continue
            if not stuffed:
                continue  # two zeros in a row: a sender begins anew
            frame = decode(stuffed)
            if frame is None:
                self.bad += 1
            else:
                yield frame
        self._rest += rest
        if len(self._rest) > self._longest:
            self._rest.clear()
            self._skipping = True
