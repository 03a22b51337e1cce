"""Messages to packets and back, and what is kept of an agent's output."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrm.exec.output import HALF_BYTES, Capture
from lrm.exec.protocol import (
    MESSAGE_BYTES_MAX,
    PACKET_BYTES_MAX,
    Assembler,
    Finished,
    Hello,
    How,
    Leftover,
    Message,
    ProtocolError,
    Running,
    Start,
    Welcome,
    decode,
    encode,
)


def sent(message: Message) -> Message:
    assembler, arrived = Assembler(), list[Message]()
    for packet in encode(message):
        assert len(packet) <= PACKET_BYTES_MAX
        arrived += assembler.feed(packet)
    (only,) = arrived
    return only


@given(st.text(max_size=50), st.integers(0, 3 * PACKET_BYTES_MAX))
def test_messages_of_any_size_arrive(text: str, size_bytes: int) -> None:
    message = Finished(token=text, how=How.EXITED, stdout="x" * size_bytes, stderr=text, leftover=(1, 2))
    assert sent(message) == message


def test_all_fields_arrive() -> None:
    start = Start(
        token="t",
        resource="web",
        action="start",
        argv=("/bin/true", "start"),
        env={"A": "ü", "B": "\udcff"},
        timeout_ms=1,
        grace_ms=2,
        leftover=Leftover.KILL,
        warm="Dummy",
    )
    assert sent(start) == start
    running = Running(token="t", pid=1, start_ticks=2, started_ns=3)
    welcome = Welcome(pid=1, exec_id="x", running=(running,), ended=("u",), cgroups=True)
    assert sent(welcome) == welcome


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'["Nope",{}]', b'["Hello",{"x":1}]', b'["Hello",3]', b'["Start",{}]']
)
def test_nonsense_ends_the_connection(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(body)


def test_fields_of_a_newer_version_are_ignored() -> None:
    assert decode(b'["Hello",{"instance":3,"version":9,"colour":"blue"}]') == Hello(instance=3, version=9)


def test_an_endless_message_is_refused() -> None:
    assembler, packet = Assembler(), b"\x01" + b"x" * (PACKET_BYTES_MAX - 1)
    for _ in range(MESSAGE_BYTES_MAX // len(packet)):
        assert list(assembler.feed(packet)) == []
    with pytest.raises(ProtocolError, match="bytes"):
        list(assembler.feed(packet * 2))


def test_two_messages_after_each_other() -> None:
    assembler, arrived = Assembler(), list[Message]()
    for packet in (*encode(Hello(instance=1)), *encode(Hello(instance=2))):
        arrived += assembler.feed(packet)
    assert arrived == [Hello(instance=1), Hello(instance=2)]


def captured(*pieces: bytes) -> Capture:
    read, write = os.pipe()
    capture = Capture(read)
    for piece in pieces:
        os.write(write, piece)
        capture.read()
    os.close(write)
    capture.drain()
    return capture


def test_short_output_is_kept_whole() -> None:
    assert captured(b"one\n", b"two\n").text() == "one\ntwo\n"


def test_head_and_tail_of_long_output_are_kept() -> None:
    piece = b"m" * 16_384
    text = captured(b"HEAD", *[piece] * 64, b"TAIL").text()
    assert text.startswith("HEADm")
    assert text.endswith("mTAIL")
    assert "bytes dropped]" in text
    assert len(text) < 2 * HALF_BYTES + 100


def test_every_byte_is_kept_or_counted() -> None:
    capture = captured(*[b"x" * 9_999] * 100)
    kept = capture.text().count("x")
    dropped = int(capture.text().split("[")[1].split(" ")[0])
    assert kept + dropped == 999_900


def test_a_pipe_that_someone_holds_open_is_not_waited_for() -> None:
    read, write = os.pipe()
    os.write(write, b"said")
    capture = Capture(read)
    capture.drain()
    assert capture.text() == "said"
    os.close(write)
