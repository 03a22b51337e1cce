"""Servers and channels for real, over a unix socket and over loopback with mTLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from hacluster import rpc
from hacluster.errors import ErrorCode, PermissionDenied, StaleTerm, Unavailable, Unreachable
from hacluster.v1 import lrm_pb2, lrm_pb2_grpc
from hacluster.vocabulary.ids import Term
from tests.unit.cli.runner import hacli


class Service:
    """Two methods of the real service; `add_LrmServicer_to_server` wants all of their names."""

    def __getattr__(self, name: str) -> Any:
        return self.Accept

    async def Accept(self, request: lrm_pb2.AcceptRequest, context: Any) -> lrm_pb2.AcceptReply:
        if request.term.counter < 5:
            raise StaleTerm(term=Term(request.term.counter, 0), current=Term(5, 2))
        return lrm_pb2.AcceptReply(node="n1")

    async def History(
        self, request: lrm_pb2.HistoryRequest, context: Any
    ) -> AsyncIterator[lrm_pb2.HistoryEvent]:
        yield lrm_pb2.HistoryEvent(synced=True)
        raise PermissionDenied(what="no more")


def test_each_code_has_a_status() -> None:
    assert set(rpc.STATUS_OF) == set(ErrorCode)


async def test_errors_cross_a_unix_socket(tmp_path: Path) -> None:
    server = rpc.Server(names=("hacluster.v1.Lrm",))
    server.add(lrm_pb2_grpc.add_LrmServicer_to_server, Service())
    path = tmp_path / "x.sock"
    server.listen_unix(path, mode=0o660)
    await server.start()
    try:
        assert path.stat().st_mode & 0o777 == 0o660
        async with rpc.unix_channel(path) as channel:
            stub = lrm_pb2_grpc.LrmStub(channel)
            assert await rpc.check_health(channel, "hacluster.v1.Lrm")
            request = lrm_pb2.AcceptRequest()
            request.term.counter = 4
            with pytest.raises(StaleTerm) as caught:
                await rpc.call(stub.Accept, request, timeout_ms=2_000, who="ha-lrm")
            assert caught.value.current == Term(5, 2)
            request.term.counter = 6
            assert (await rpc.call(stub.Accept, request, timeout_ms=2_000, who="ha-lrm")).node == "n1"
            stream = stub.History(lrm_pb2.HistoryRequest(), timeout=2)
            assert (await anext(aiter(stream))).synced
            with pytest.raises(grpc.aio.AioRpcError, match="no more"):
                await anext(aiter(stream))
    finally:
        await server.stop(0)


class Slow(Service):
    """Streams that stay open, calls that never end."""

    def __init__(self) -> None:
        self.open = 0

    async def Accept(self, request: lrm_pb2.AcceptRequest, context: Any) -> lrm_pb2.AcceptReply:
        await asyncio.sleep(60)
        return lrm_pb2.AcceptReply()

    async def History(
        self, request: lrm_pb2.HistoryRequest, context: Any
    ) -> AsyncIterator[lrm_pb2.HistoryEvent]:
        self.open += 1
        yield lrm_pb2.HistoryEvent(synced=True)
        await asyncio.sleep(60)


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[tuple[Slow, Path]]:
    service, path = Slow(), tmp_path / "x.sock"
    server = rpc.Server(names=("hacluster.v1.Lrm",))
    server.add(lrm_pb2_grpc.add_LrmServicer_to_server, service)
    server.listen_unix(path)
    await server.start()
    yield service, path
    await server.stop(0)


async def test_one_connection_has_a_limit_of_calls(slow: tuple[Slow, Path]) -> None:
    service, path = slow
    async with rpc.unix_channel(path) as channel:
        stub = lrm_pb2_grpc.LrmStub(channel)
        assert await rpc.check_health(channel)  # from then on the client knows the limit
        streams = [stub.History(lrm_pb2.HistoryRequest(), timeout=20) for _ in range(rpc.STREAMS_MAX + 3)]
        first = [asyncio.ensure_future(anext(aiter(stream))) for stream in streams]
        done, waiting = await asyncio.wait(first, timeout=2)
        assert (len(done), len(waiting), service.open) == (rpc.STREAMS_MAX, 3, rpc.STREAMS_MAX)
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*first, return_exceptions=True)


async def test_a_call_without_a_deadline_ends_all_the_same(
    slow: tuple[Slow, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc, "UNARY_S_MAX", 0.2)
    async with rpc.unix_channel(slow[1]) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await lrm_pb2_grpc.LrmStub(channel).Accept(lrm_pb2.AcceptRequest())
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_message_has_a_limit_of_size(slow: tuple[Slow, Path]) -> None:
    async with rpc.unix_channel(slow[1]) as channel:
        request = lrm_pb2.AcceptRequest(dc="x" * rpc.MESSAGE_BYTES_MAX)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await lrm_pb2_grpc.LrmStub(channel).Accept(request, timeout=10)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_nobody_there_is_said(tmp_path: Path) -> None:
    async with rpc.unix_channel(tmp_path / "none.sock") as channel:
        stub = lrm_pb2_grpc.LrmStub(channel)
        with pytest.raises(Unreachable):
            await rpc.call(stub.Accept, lrm_pb2.AcceptRequest(), timeout_ms=500, who="ha-lrm")
        assert not await rpc.check_health(channel, timeout_ms=300)


async def test_an_address_that_is_not_here_is_said(tmp_path: Path) -> None:
    node = ("--node", "a=192.0.2.1")
    status, text = hacli(["cluster", "init", "--name", "web", *node, "--output", str(tmp_path / "out")])
    assert status == 0, text
    tls = rpc.read_tls(tmp_path / "out" / "a" / "etc" / "hacluster" / "tls")
    server = rpc.Server(names=())
    with pytest.raises(Unavailable, match=r"cannot listen on 192\.0\.2\.1:5560"):
        server.listen_tcp("192.0.2.1", 5560, tls)
    await server.stop(0)
