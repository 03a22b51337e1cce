"""A follower's open call to the DC for writes, over loopback with mTLS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import pytest

from crm.cib import codec, diff
from crm.cib.model import Element, element
from crm.peers.writes import BATCH_BYTES_MAX, Call, WriteStream, _OpenCall
from crm.replica.open_writes import OpenWrites
from crm.replica.recent import Known
from crm.replica.service import SERVICE_NAME
from hacluster import rpc
from hacluster.errors import ErrorCode, HaError, NoDc, PermissionDenied, Timeout, Unreachable
from hacluster.v1 import cib_pb2, cib_pb2_grpc
from tests import certificates
from tests.cib_lab import until
from tests.ports import free_ports

Answer = Callable[[cib_pb2.PeerWriteRequest], Awaitable[cib_pb2.PeerWriteReply]]
BASE = element("configuration", {}, *(element("tag", {"id": f"t{number}"}) for number in range(50)))


def known(content: Element) -> Known:
    return Known(codec.digest(content), content)


async def done(request: cib_pb2.PeerWriteRequest) -> cib_pb2.PeerWriteReply:
    return cib_pb2.PeerWriteReply(outcome="ok", reason=request.request_id)


@dataclass
class Dc:
    """Counts calls and messages; `denied` is for the interceptor. No other method is called."""

    answer: Answer = done
    opened: int = 0
    single: list[str] = field(default_factory=list)
    messages: list[cib_pb2.PeerWrites] = field(default_factory=list)
    contents: dict[str, Element] = field(default_factory=dict)
    written: dict[str, Element] = field(default_factory=dict)
    deadlines: dict[str, int] = field(default_factory=dict)
    denied: list[str] = field(default_factory=list)
    old: bool = False
    last: OpenWrites | None = None

    def __getattr__(self, name: str) -> Any:
        return self.Write

    def access(self, method: str, caller: rpc.Caller) -> None:
        if any(name in self.denied for name in caller.names):
            raise PermissionDenied(what="it is no node of this cluster any more")

    async def Writes(self, request_iterator: Any, context: Any) -> None:
        self.opened += 1
        if self.old:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        self.last = OpenWrites(self._answer, context.write)
        await self.last.serve(self._noted(request_iterator))

    async def _noted(self, requests: Any) -> AsyncIterator[cib_pb2.PeerWrites]:
        async for request in requests:
            self.messages.append(request)
            yield request

    async def _answer(self, write: cib_pb2.NumberedWrite) -> cib_pb2.NumberedAnswer:
        if write.base_digest:
            if write.base_digest not in self.contents:
                return cib_pb2.NumberedAnswer(unknown_base=True)
            patch = diff.decode(write.patch, base=write.base_digest, result="")
            content = diff.apply(self.contents[write.base_digest], patch)
        else:
            content = codec.parse(write.request.configuration_xml)
        self.written[write.request.request_id] = content
        self.deadlines[write.request.request_id] = write.request.deadline_ms
        return cib_pb2.NumberedAnswer(reply=await self.answer(write.request))

    async def Write(self, request: cib_pb2.PeerWriteRequest, context: Any) -> cib_pb2.PeerWriteReply:
        self.single.append(request.request_id)
        self.written[request.request_id] = codec.parse(request.configuration_xml)
        return await self.answer(request)


@dataclass
class Site:
    """Both ends."""

    dc: Dc
    server: rpc.Server
    stub: cib_pb2_grpc.CrmPeerStub
    stream: WriteStream
    generation: int = 1

    async def write(
        self, name: str, *, deadline_ms: int = 30_000, base: Known | None = None, more: str = ""
    ) -> str:
        """The reason of the answer, which is the request id."""
        request = cib_pb2.PeerWriteRequest(request_id=name, deadline_ms=deadline_ms)
        return (await self.stream.write(self.stub, request, self.content(name, more), base)).reason

    def content(self, name: str, more: str = "") -> Element:
        return BASE.with_child(element("tag", {"id": name} | ({"more": more} if more else {})))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    tls = certificates.make(("n1", "n2"))
    dc = Dc()
    server = rpc.Server(names=(SERVICE_NAME,), access=dc.access)
    server.add(cib_pb2_grpc.add_CrmPeerServicer_to_server, dc)
    (port,) = free_ports(1)
    server.listen_tcp("127.0.0.1", port, tls["n2"])
    await server.start()
    async with rpc.tcp_channel("127.0.0.1", port, tls["n1"], server_name="n2") as channel:
        yield Site(dc, server, cib_pb2_grpc.CrmPeerStub(channel), WriteStream("ha-crm on n2"))
    await server.stop(0)


async def test_those_that_come_together_go_together(site: Site) -> None:
    assert await site.write("first") == "first"
    names = [f"w{number}" for number in range(32)]
    assert await asyncio.gather(*(site.write(name) for name in names)) == names
    assert (site.dc.opened, site.dc.single) == (1, [])
    assert [[one.request.request_id for one in message.writes] for message in site.dc.messages] == [
        ["first"],
        names,
    ], "in the order they came"
    assert all(site.dc.written[name] == site.content(name) for name in names)


async def test_what_the_other_side_has_is_not_sent(site: Site) -> None:
    base = known(BASE)
    site.dc.contents[base.digest] = BASE
    assert await site.write("a", base=base) == "a"
    assert site.dc.written["a"] == site.content("a")
    (message,) = site.dc.messages
    assert not message.writes[0].request.configuration_xml
    assert message.ByteSize() < len(codec.canonical(BASE)) / 4


async def test_a_base_it_does_not_have_is_no_failure(site: Site) -> None:
    assert await site.write("a", base=known(BASE)) == "a"
    assert site.dc.written["a"] == site.content("a")
    assert [bool(one.base_digest) for message in site.dc.messages for one in message.writes] == [True, False]


async def test_one_that_waits_keeps_no_other(site: Site) -> None:
    free = asyncio.Event()

    async def some_wait(request: cib_pb2.PeerWriteRequest) -> cib_pb2.PeerWriteReply:
        if request.request_id == "slow":
            await free.wait()
        return await done(request)

    site.dc.answer = some_wait
    slow = asyncio.ensure_future(site.write("slow"))
    async with asyncio.timeout(20):
        assert await site.write("quick") == "quick"
        assert not slow.done()
        free.set()
        assert await slow == "slow"
    assert site.dc.opened == 1


async def test_messages_are_bounded(site: Site) -> None:
    more = "x" * (BATCH_BYTES_MAX // 3)
    names = [f"w{number}" for number in range(8)]
    assert await asyncio.gather(*(site.write(name, more=more) for name in names)) == names
    assert [len(message.writes) for message in site.dc.messages] == [2, 2, 2, 2]
    assert all(message.ByteSize() <= BATCH_BYTES_MAX for message in site.dc.messages)


async def test_one_that_is_too_large_fails_alone(site: Site) -> None:
    """The others on the call are answered; it is refused as a call of its own is."""
    free = asyncio.Event()

    async def waits(request: cib_pb2.PeerWriteRequest) -> cib_pb2.PeerWriteReply:
        await free.wait()
        return await done(request)

    site.dc.answer = waits
    small = asyncio.ensure_future(site.write("small"))
    with pytest.raises(HaError) as caught:
        await site.write("large", more="x" * rpc.MESSAGE_BYTES_MAX)
    assert caught.value.code is ErrorCode.RESOURCE_EXHAUSTED
    free.set()
    assert await small == "small"
    assert "large" not in site.dc.written


async def test_each_has_its_own_deadline(site: Site) -> None:
    async def never(request: cib_pb2.PeerWriteRequest) -> cib_pb2.PeerWriteReply:
        if request.request_id == "late":
            await asyncio.sleep(60)
        return await done(request)

    site.dc.answer = never
    late = asyncio.ensure_future(site.write("late", deadline_ms=100))
    assert await site.write("other", deadline_ms=20_000) == "other"
    with pytest.raises(Timeout):
        await late
    assert await site.write("more") == "more", "the call is still open"
    assert site.dc.opened == 1
    assert 0 < site.dc.deadlines["late"] <= 100
    assert 10_000 < site.dc.deadlines["other"] <= 20_000


async def test_failures_are_of_their_write_alone(site: Site) -> None:
    async def refuses(request: cib_pb2.PeerWriteRequest) -> cib_pb2.PeerWriteReply:
        if request.request_id == "bad":
            raise NoDc
        return await done(request)

    site.dc.answer = refuses
    bad, good = await asyncio.gather(site.write("bad"), site.write("good"), return_exceptions=True)
    assert isinstance(bad, HaError)
    assert bad.code is ErrorCode.NO_DC
    assert good == "good"
    assert site.dc.opened == 1


async def test_who_leaves_the_wait_keeps_no_other(site: Site) -> None:
    async def slow(request: cib_pb2.PeerWriteRequest) -> cib_pb2.PeerWriteReply:
        await asyncio.sleep(0.3)
        return await done(request)

    site.dc.answer = slow
    left, stays = (asyncio.ensure_future(site.write(name)) for name in ("left", "stays"))
    await asyncio.sleep(0.1)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    assert await stays == "stays"
    assert site.dc.opened == 1


async def test_other_certificates_mean_another_call(site: Site) -> None:
    """What is under way on the old one is still answered."""
    site.stream = WriteStream("ha-crm on n2", lambda: site.generation)
    free = asyncio.Event()

    async def old_waits(request: cib_pb2.PeerWriteRequest) -> cib_pb2.PeerWriteReply:
        if request.request_id == "old":
            await free.wait()
        return await done(request)

    site.dc.answer = old_waits
    old = asyncio.ensure_future(site.write("old"))
    async with asyncio.timeout(20):
        await until(lambda: "old" in site.dc.written)
        site.generation += 1
        assert await site.write("new") == "new"
        assert site.dc.opened == 2
        free.set()
        assert await old == "old"


async def test_who_may_not_call_any_more_is_answered_what_it_wrote(site: Site) -> None:
    """What was taken up before may be written: only what comes afterwards is refused."""
    free = asyncio.Event()

    async def waits(request: cib_pb2.PeerWriteRequest) -> cib_pb2.PeerWriteReply:
        await free.wait()
        return await done(request)

    site.dc.answer = waits
    before = asyncio.ensure_future(site.write("before"))
    async with asyncio.timeout(20):
        await until(lambda: "before" in site.dc.written)
        site.dc.denied.append("n1")
        after = asyncio.ensure_future(site.write("after"))
        await asyncio.sleep(0.2)
        assert not after.done()
        free.set()
        assert await before == "before"
        with pytest.raises(HaError) as caught:
            await after
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    assert "after" not in site.dc.written


async def test_all_that_wait_hear_of_the_end(site: Site) -> None:
    """Perhaps written, each of them: not a failure."""
    site.dc.answer = lambda _: asyncio.sleep(60, cib_pb2.PeerWriteReply())
    waiting = [asyncio.ensure_future(site.write(f"w{number}")) for number in range(5)]
    async with asyncio.timeout(20):
        await until(lambda: len(site.dc.written) == 5)
        await site.server.stop(0)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Unreachable] * 5
        with pytest.raises(Unreachable):
            await site.write("more")


async def test_a_bug_there_is_not_a_failure_of_the_writes(site: Site) -> None:
    async def breaks(request: cib_pb2.PeerWriteRequest) -> cib_pb2.PeerWriteReply:
        if request.request_id == "bug":
            raise ValueError("a bug")
        await asyncio.sleep(60)
        return await done(request)

    site.dc.answer = breaks
    outcomes = await asyncio.gather(site.write("w"), site.write("bug"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unreachable] * 2
    site.dc.answer = done
    assert await site.write("next") == "next"


async def test_who_stops_answers_what_it_has(site: Site) -> None:
    free = asyncio.Event()

    async def waits(request: cib_pb2.PeerWriteRequest) -> cib_pb2.PeerWriteReply:
        await free.wait()
        return await done(request)

    site.dc.answer = waits
    before = asyncio.ensure_future(site.write("before"))
    async with asyncio.timeout(20):
        await until(lambda: "before" in site.dc.written)
        assert site.dc.last is not None
        site.dc.last.end()
        await asyncio.sleep(0.1)
        assert not before.done()
        free.set()
        assert await before == "before"
        with contextlib.suppress(Unreachable):  # while its end is on the way
            await site.write("meanwhile")
        assert await site.write("after") == "after"
    assert site.dc.opened == 2


async def test_a_release_without_such_calls_is_asked_one_by_one(site: Site) -> None:
    site.dc.old = True
    names = [f"w{number}" for number in range(10)]
    base = known(BASE)
    written = await asyncio.gather(*(site.write(name, base=base) for name in names))
    assert written == names
    assert sorted(site.dc.single) == sorted(names)
    assert all(site.dc.written[name] == site.content(name) for name in names)
    assert await site.write("more") == "more"
    assert site.dc.opened == 1, "it is not asked again"


class Blocked:
    """A call whose other side takes nothing more."""

    async def write(self, _: cib_pb2.PeerWrites) -> None:
        await asyncio.Event().wait()

    async def read(self) -> None:
        await asyncio.Event().wait()


async def test_who_gives_up_before_it_was_sent_leaves_nothing_behind() -> None:
    """Its configuration would be kept for as long as the other side takes nothing."""
    call = _OpenCall("ha-crm on n1", cast(Call, Blocked()))
    until_s = asyncio.get_running_loop().time() + 10
    asked = []
    for _ in range(3):
        asked.append(asyncio.ensure_future(call.ask(cib_pb2.NumberedWrite(), until_s)))
        await asyncio.sleep(0.01)  # the first one is being sent
    assert len(call._queue) == 2
    for one in asked[1:]:
        one.cancel()
    await asyncio.gather(*asked[1:], return_exceptions=True)
    assert not call._queue
    for task in (asked[0], call.reading, call._sending):
        assert task is not None
        task.cancel()
    await asyncio.gather(asked[0], call.reading, return_exceptions=True)
