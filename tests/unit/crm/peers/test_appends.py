"""The DC's open call to a follower, over loopback with mTLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from crm.peers.appends import AppendStream
from crm.replica.service import SERVICE_NAME
from hacluster import rpc
from hacluster.errors import ErrorCode, HaError, NoDc, PermissionDenied, Timeout, Unreachable
from hacluster.v1 import cib_pb2, cib_pb2_grpc
from tests import certificates
from tests.ports import free_ports

Answer = Callable[[cib_pb2.AppendRequest], Awaitable[cib_pb2.AppendReply]]


async def stored(request: cib_pb2.AppendRequest) -> cib_pb2.AppendReply:
    """Takes all of it, and says the commit index as the last one."""
    return cib_pb2.AppendReply(stored=True, last_index=request.commit_index)


@dataclass
class Follower:
    """Counts the calls that are opened; `denied` is for the interceptor. No other method is called."""

    answer: Answer = stored
    opened: int = 0
    single: int = 0
    denied: list[str] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    old: bool = False

    def __getattr__(self, name: str) -> Any:
        return self.Append

    def access(self, method: str, caller: rpc.Caller) -> None:
        if any(name in self.denied for name in caller.names):
            raise PermissionDenied(what="it is no node of this cluster any more")

    async def Appends(self, request_iterator: Any, context: Any) -> None:
        self.opened += 1
        if self.old:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        async for request in request_iterator:
            if request.told:
                self.told.append(request.commit_index)
            else:
                await context.write(await self.answer(request))

    async def Append(self, request: cib_pb2.AppendRequest, context: Any) -> cib_pb2.AppendReply:
        self.single += 1
        return await self.answer(request)


@dataclass
class Site:
    """Both ends."""

    follower: Follower
    server: rpc.Server
    stub: cib_pb2_grpc.CrmPeerStub
    stream: AppendStream
    generation: int = 1

    async def tell(self, number: int) -> None:
        await self.stream.tell(self.stub, cib_pb2.AppendRequest(commit_index=number, told=True), 30_000)

    async def ask(self, number: int, timeout_ms: int = 30_000) -> int:
        request = cib_pb2.AppendRequest(commit_index=number)
        return (await self.stream.exchange(self.stub, request, timeout_ms)).last_index


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    tls = certificates.make(("n1", "n2"))
    follower = Follower()
    server = rpc.Server(names=(SERVICE_NAME,), access=follower.access)
    server.add(cib_pb2_grpc.add_CrmPeerServicer_to_server, follower)
    (port,) = free_ports(1)
    server.listen_tcp("127.0.0.1", port, tls["n2"])
    await server.start()
    async with rpc.tcp_channel("127.0.0.1", port, tls["n1"], server_name="n2") as channel:
        yield Site(follower, server, cib_pb2_grpc.CrmPeerStub(channel), AppendStream("ha-crm on n2"))
    await server.stop(0)


async def test_many_appends_are_one_call(site: Site) -> None:
    assert [await site.ask(number) for number in range(20)] == list(range(20))
    assert (site.follower.opened, site.follower.single) == (1, 0)


async def test_answers_go_to_who_asked(site: Site) -> None:
    """Also when more ask at a time than is usual."""
    assert await asyncio.gather(*(site.ask(number) for number in range(20))) == list(range(20))
    assert site.follower.opened == 1


async def test_what_is_told_comes_between(site: Site) -> None:
    """In its order, without an answer, and beside a request that is under way."""
    await site.tell(1)
    assert await site.ask(2) == 2
    await site.tell(3)
    four, _, six = await asyncio.gather(site.ask(4), site.tell(5), site.ask(6))
    assert (four, six) == (4, 6)
    await site.tell(7)
    assert await site.ask(8) == 8
    assert site.follower.told == [3, 5, 7], "the first had no call to go by"
    assert site.follower.opened == 1


async def test_other_certificates_mean_another_call(site: Site) -> None:
    """Who was connected before one was revoked would be heard by an open call for ever."""
    site.stream = AppendStream("ha-crm on n2", lambda: site.generation)
    assert [await site.ask(number) for number in range(3)] == [0, 1, 2]
    site.generation += 1
    assert [await site.ask(number) for number in range(3)] == [0, 1, 2]
    assert (site.follower.opened, site.follower.single) == (2, 0)


async def test_what_is_told_to_nobody_is_lost(site: Site) -> None:
    assert await site.ask(1) == 1
    await site.server.stop(0)
    await site.tell(2)
    with pytest.raises(Unreachable):
        await site.ask(3)
    await site.tell(4)
    assert site.follower.told == []


async def test_what_is_late_does_not_answer_the_next(site: Site) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def never(request: cib_pb2.AppendRequest) -> cib_pb2.AppendReply:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return await stored(request)

    assert await site.ask(0) == 0
    site.follower.answer = never
    with pytest.raises(Timeout):
        await site.ask(1, timeout_ms=500)
    if began.is_set():
        await asyncio.wait_for(ended.wait(), 30)  # nothing of it goes on at the other end
    site.follower.answer = stored
    assert await site.ask(2) == 2
    assert site.follower.opened == 2


async def test_a_cancelled_one_neither(site: Site) -> None:
    site.follower.answer = lambda _: asyncio.sleep(60, cib_pb2.AppendReply())
    asking = asyncio.ensure_future(site.ask(1))
    await asyncio.sleep(0.1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    site.follower.answer = stored
    assert await site.ask(2) == 2


async def test_failures_come_as_they_were_raised(site: Site) -> None:
    async def refuses(request: cib_pb2.AppendRequest) -> cib_pb2.AppendReply:
        raise NoDc

    site.follower.answer = refuses
    with pytest.raises(HaError) as caught:
        await site.ask(1)
    assert caught.value.code is ErrorCode.NO_DC
    site.follower.answer = stored
    assert await site.ask(2) == 2


async def test_who_may_not_call_any_more_is_heard_no_more(site: Site) -> None:
    """On a call that is open already."""
    assert await site.ask(1) == 1
    site.follower.denied.append("n1")
    with pytest.raises(HaError) as caught:
        await site.ask(2)
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    assert site.follower.opened == 1


async def test_nobody_there_is_said(site: Site) -> None:
    assert await site.ask(1) == 1
    await site.server.stop(0)
    for _ in range(2):
        with pytest.raises(Unreachable):
            await site.ask(2)


async def test_a_release_without_such_calls_is_asked_one_by_one(site: Site) -> None:
    site.follower.old = True
    assert [await site.ask(number) for number in range(3)] == [0, 1, 2]
    await site.tell(3)
    assert (site.follower.opened, site.follower.single) == (1, 4)
