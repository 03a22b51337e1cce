"""COBS: no zero inside, everything comes back, garbage is thrown away within bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from messaging.transport.cobs import Splitter, decode, encode


@given(st.binary(max_size=1_000))
def test_there_and_back(frame: bytes) -> None:
    stuffed = encode(frame)
    assert stuffed[-1] == 0
    assert 0 not in stuffed[:-1]
    assert len(stuffed) <= len(frame) + len(frame) // 254 + 2
    assert decode(stuffed[:-1]) == frame


@given(st.lists(st.binary(min_size=1, max_size=600), max_size=8), st.integers(1, 300))
def test_a_stream_in_any_pieces(frames: list[bytes], size: int) -> None:
    stream = b"".join(map(encode, frames))
    splitter = Splitter(600)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [frame for piece in pieces for frame in splitter.feed(piece)] == frames
    assert splitter.bad == 0


@given(st.binary(max_size=3_000))
def test_garbage_does_not_raise_and_stays_bounded(data: bytes) -> None:
    splitter = Splitter(100)
    assert all(len(frame) <= 101 for frame in splitter.feed(data))
    assert len(splitter._rest) <= 101


def test_after_garbage_the_next_frame_is_whole() -> None:
    splitter = Splitter(100)
    assert list(splitter.feed(b"\xff" * 500)) == []
    assert list(splitter.feed(b"xx\0" + encode(b"good"))) == [b"good"]
    assert splitter.bad == 1
    assert list(splitter.feed(b"\x05ab\0" + encode(b"next"))) == [b"next"]
    assert splitter.bad == 2
