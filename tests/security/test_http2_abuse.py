"""What a connection can do to a daemon's TCP port below gRPC (test-plan 5, slowloris and exhaustion).

The attacker of the frames holds a member's certificate: without one nothing comes as far as HTTP/2.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from hacluster import rpc
from hacluster.tls import TlsFolder
from hacluster.v1 import lrm_pb2, lrm_pb2_grpc
from lrm import service
from tests.ports import free_port
from tests.security.test_grpc_tls import HTTP2_PREFACE, Handlers, Target, context_of, latencies

pytestmark = pytest.mark.alone

HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0x1, 0x3, 0x4, 0x6, 0x7, 0x9
END_HEADERS, ACK = 0x4, 0x1
WINDOW_SETTING: Final = b"\x00\x04" + bytes(4)
P99_S: Final = 0.5
APART_S: Final = 0.004
GROWTH_BYTES_MAX: Final = 64 * 2**20
CHUNK = 64 * 1024
FLOOD_AT_ONCE: Final = 100


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def literal(name: str, value: str) -> bytes:
    """A header that goes into no table."""
    text = b"\x00"
    for part in (name.encode(), value.encode()):
        assert len(part) < 127
        text += bytes((len(part),)) + part
    return text


def request_headers(method: str) -> bytes:
    return b"\x83\x87" + b"".join(
        (
            literal(":path", f"/{service.NAME}/{method}"),
            literal(":authority", "n1"),
            literal("content-type", "application/grpc"),
            literal("te", "trailers"),
        )
    )


class Told:
    """Counts the messages that a stream was asked for."""

    def __init__(self, handlers: Handlers) -> None:
        self.handlers, self.messages = handlers, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handlers, name)

    async def History(
        self, request: lrm_pb2.HistoryRequest, context: Any
    ) -> AsyncIterator[lrm_pb2.HistoryEvent]:
        while True:
            self.messages += 1
            yield lrm_pb2.HistoryEvent(forgotten=lrm_pb2.ResourceForgotten(resource="x" * CHUNK))


class Attacker:
    """A connection with a member's certificate. It reads, and answers pings: else it would be given up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.resets: list[int] = []
        self.ended = asyncio.Event()
        self.reading = asyncio.ensure_future(self._read())

    @classmethod
    async def connect(cls, target: Target, settings: bytes = b"") -> Attacker:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port, ssl=context_of(target))
        writer.write(HTTP2_PREFACE + frame(SETTINGS, 0, 0, settings))
        return cls(reader, writer)

    async def _read(self) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, OSError):
            while True:
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
                if kind == RST_STREAM:
                    self.resets.append(stream)
                elif kind in (PING, SETTINGS) and not flags & ACK:
                    self.writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
                elif kind == GOAWAY:
                    break
        self.ended.set()

    async def send(self, data: bytes) -> None:
        """Nothing happens when the other side has closed."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    def close(self) -> None:
        self.reading.cancel()
        self.writer.transport.abort()


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Target]:
    target = Target(tmp_path)
    await target.server.start()
    yield target
    await target.server.stop(0)


async def served_meanwhile(target: Target, attack: Callable[[], Awaitable[object]], seconds: float) -> None:
    """A member's calls go on, while and after `attack` is made."""
    async with target.channel(target.member) as channel:
        await latencies(target, channel, 0.1, APART_S)
        attacking = asyncio.ensure_future(attack())
        found = await latencies(target, channel, seconds, APART_S)
        async with asyncio.timeout(10):
            await attacking
        found += await latencies(target, channel, 0.3, APART_S)
    assert statistics.quantiles(found, n=100)[98] < P99_S, max(found)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_headers_that_trickle(target: Target) -> None:
    """Byte by byte, never whole."""
    attackers = [await Attacker.connect(target) for _ in range(16)]
    block = request_headers("Accept")

    async def attack() -> None:
        for attacker in attackers:
            await attacker.send(frame(HEADERS, 0, 1, block[:1]))
        for number in range(1, 20):
            for attacker in attackers:
                await attacker.send(frame(CONTINUATION, 0, 1, block[number : number + 1]))
            await asyncio.sleep(0.05)

    await served_meanwhile(target, attack, 1.0)
    assert target.handlers.calls > 0
    for attacker in attackers:
        attacker.close()


async def test_headers_without_an_end(target: Target) -> None:
    """32 MiB of them are not kept."""
    attacker = await Attacker.connect(target)
    filler = b"".join(literal(f"x-{number:03}", "y" * 100) for number in range(140))[:16_000]
    filler = filler[: len(filler) // 109 * 109]
    before = resident_bytes()

    async def attack() -> None:
        await attacker.send(frame(HEADERS, 0, 1, request_headers("Accept")))
        for _ in range(2_048):
            if attacker.ended.is_set():
                break
            await attacker.send(frame(CONTINUATION, 0, 1, filler))

    await served_meanwhile(target, attack, 1.0)
    assert resident_bytes() - before < GROWTH_BYTES_MAX
    attacker.close()


async def test_metadata_that_is_too_long(target: Target) -> None:
    async with target.channel(target.member) as channel:
        stub = lrm_pb2_grpc.LrmStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Accept(lrm_pb2.AcceptRequest(), timeout=3, metadata=[("x-long", "y" * 100_000)])
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert target.handlers.calls == 0
        await rpc.call(stub.Accept, lrm_pb2.AcceptRequest(), timeout_ms=3_000, who="n1")


async def test_calls_that_are_begun_and_never_made(target: Target) -> None:
    """More streams than one connection may have, on several; no request comes on any."""
    attackers = [await Attacker.connect(target) for _ in range(8)]
    block = request_headers("Accept")

    async def attack() -> None:
        for attacker in attackers:
            streams = range(1, 2 * (rpc.STREAMS_MAX + 100), 2)
            await attacker.send(b"".join(frame(HEADERS, END_HEADERS, one, block) for one in streams))
        async with asyncio.timeout(8):
            while any(len(one.resets) < 100 and not one.ended.is_set() for one in attackers):
                await asyncio.sleep(0.02)

    await served_meanwhile(target, attack, 1.0)
    for attacker in attackers:
        assert attacker.ended.is_set() or len(attacker.resets) >= 100, "the limit does not hold"
        attacker.close()


async def flooded(target: Target, one_time: Callable[[int], bytes], times: int) -> None:
    """A connection says something so often within a second, unless it is ended before."""
    attacker = await Attacker.connect(target)
    said = [
        b"".join(one_time(first + more) for more in range(FLOOD_AT_ONCE))
        for first in range(0, times, FLOOD_AT_ONCE)
    ]
    before = resident_bytes()

    async def attack() -> None:
        for data in said:
            await attacker.send(data)
            if attacker.ended.is_set():
                return
            await asyncio.sleep(FLOOD_AT_ONCE / times)

    await served_meanwhile(target, attack, 1.2)
    assert resident_bytes() - before < GROWTH_BYTES_MAX
    attacker.close()


async def test_calls_that_are_reset_at_once(target: Target) -> None:
    """10,000 a second: each is begun and taken back (CVE-2023-44487)."""
    block = request_headers("Accept")

    def reset(number: int) -> bytes:
        stream = 2 * number + 1
        return frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, bytes((0, 0, 0, 8)))

    await flooded(target, reset, 10_000)


async def test_a_flood_of_pings(target: Target) -> None:
    await flooded(target, lambda number: frame(PING, 0, 0, number.to_bytes(8, "big")), 10_000)


async def test_a_flood_of_settings(target: Target) -> None:
    await flooded(target, lambda _number: frame(SETTINGS, 0, 0, WINDOW_SETTING), 10_000)


async def test_a_watcher_whose_window_is_shut(tmp_path: Path) -> None:
    """It is asked for no more than what is under way, and nobody else waits for it."""
    target = Target(tmp_path)
    told = Told(target.handlers)
    target.port = free_port()
    server = rpc.Server(names=(service.NAME,), access=service.access(lambda: frozenset({"n1", "n2"})))
    server.add(lrm_pb2_grpc.add_LrmServicer_to_server, told)
    server.listen_tcp("127.0.0.1", target.port, TlsFolder(tmp_path))
    await server.start()
    before = resident_bytes()
    attackers = [await Attacker.connect(target, WINDOW_SETTING) for _ in range(8)]

    async def attack() -> None:
        for attacker in attackers:
            await attacker.send(frame(HEADERS, END_HEADERS, 1, request_headers("History")))
            await attacker.send(frame(0, 1, 1, bytes(5)))  # DATA: an empty request, the end
        async with asyncio.timeout(8):
            while told.messages < len(attackers):
                await asyncio.sleep(0.02)

    await served_meanwhile(target, attack, 1.0)
    assert len(attackers) <= told.messages <= 8 * len(attackers)
    assert resident_bytes() - before < GROWTH_BYTES_MAX
    for attacker in attackers:
        attacker.close()
    await server.stop(0)


async def test_handshakes_that_stall(target: Target) -> None:
    """The first half of a ClientHello."""
    writers = [(await asyncio.open_connection("127.0.0.1", target.port))[1] for _ in range(60)]

    async def attack() -> None:
        for writer in writers:
            writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))

    await served_meanwhile(target, attack, 1.0)
    for writer in writers:
        writer.transport.abort()
