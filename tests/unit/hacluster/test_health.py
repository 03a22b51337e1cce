"""The health client's bytes, and its exchange with a real gRPC server."""

from __future__ import annotations

import asyncio
import select
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st

from hacluster.health import Health, HealthExchange, HealthProbe, ProtocolViolation, frame

ANSWER = frame(1, 4, 1, b"\x88") + frame(0, 0, 1, b"\0\0\0\0\x02\x08\x01") + frame(1, 5, 1, b"\xbe")


def ask(probe: HealthProbe) -> Health | None:
    assert probe.check()
    for _ in range(10):
        if not select.select([probe], [], [], 2)[0]:
            return None
        answer = probe.read()
        if answer is not None or probe.fileno() < 0:
            return answer
    return None


async def test_with_a_real_server(tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    probe = HealthProbe(str(path))
    assert not probe.check()  # nobody listens yet
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    status = health_pb2.HealthCheckResponse
    try:
        for value, expected in ((status.SERVING, Health.SERVING), (status.NOT_SERVING, Health.NOT_SERVING)):
            await servicer.set("", value)
            for _ in range(3):
                assert await asyncio.to_thread(ask, probe) is expected
    finally:
        probe.close()
        await server.stop(None)


async def test_refused_call_is_no_answer(tmp_path: Path) -> None:
    server = grpc.aio.server()
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    probe = HealthProbe(f"{tmp_path}/s")
    try:
        assert await asyncio.to_thread(ask, probe) is None
        assert probe.fileno() == -1
    finally:
        await server.stop(None)


def test_one_question_at_a_time() -> None:
    exchange = HealthExchange()
    assert exchange.request().startswith(b"PRI * HTTP/2.0")
    assert exchange.waiting
    assert exchange.receive(frame(4, 0, 0)) == (None, frame(4, 1, 0))
    assert exchange.receive(ANSWER)[0] is Health.SERVING
    assert not exchange.waiting
    assert not exchange.request().startswith(b"PRI")


def test_ping_is_echoed() -> None:
    exchange = HealthExchange()
    exchange.request()
    assert exchange.receive(frame(6, 0, 0, b"12345678")) == (None, frame(6, 1, 0, b"12345678"))
    assert exchange.receive(frame(6, 1, 0, b"12345678")) == (None, b"")


@pytest.mark.parametrize(
    "last", [frame(7, 0, 0, b"\0" * 8), frame(3, 0, 1, b"\0" * 4), frame(1, 5, 1, b"\x88")]
)
def test_refusals(last: bytes) -> None:
    exchange = HealthExchange()
    exchange.request()
    with pytest.raises(ProtocolViolation):
        exchange.receive(last)


@given(st.lists(st.integers(1, 12), max_size=10))
def test_any_segmentation(pieces: list[int]) -> None:
    exchange = HealthExchange()
    exchange.request()
    data, answers = frame(4, 0, 0) + ANSWER, []
    for size in [*pieces, len(data)]:
        answer, _ = exchange.receive(data[:size])
        answers.append(answer)
        data = data[size:]
    assert [answer for answer in answers if answer is not None] == [Health.SERVING]


@given(st.binary(max_size=200))
def test_garbage_never_harms(data: bytes) -> None:
    exchange = HealthExchange()
    exchange.request()
    try:
        exchange.receive(data)
    except ProtocolViolation:
        return
