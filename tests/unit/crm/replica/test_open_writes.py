"""The DC's end of an open call: how many writes are under way, and in what order things end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import chain

import pytest

from crm.cib.model import element
from crm.replica.open_writes import OpenWrites
from crm.replica.recent import Recent
from hacluster.errors import NoDc, PermissionDenied
from hacluster.v1 import cib_pb2


def message(numbers: Iterable[int]) -> cib_pb2.PeerWrites:
    return cib_pb2.PeerWrites(writes=[cib_pb2.NumberedWrite(number=number) for number in numbers])


class Call:
    """Answers when it is told to, and notes what is sent."""

    def __init__(self, at_once: int = 64) -> None:
        self.begun: list[int] = []
        self.free = asyncio.Event()
        self.sent: list[list[int]] = []
        self.read = 0
        self.writes = OpenWrites(self._answer, self._send, at_once=at_once)

    async def _answer(self, write: cib_pb2.NumberedWrite) -> cib_pb2.NumberedAnswer:
        self.begun.append(write.number)
        await self.free.wait()
        if write.number == 13:
            raise NoDc
        return cib_pb2.NumberedAnswer(reply=cib_pb2.PeerWriteReply(outcome="ok"))

    async def _send(self, answers: cib_pb2.PeerWriteAnswers) -> None:
        for one in answers.answers:
            assert one.WhichOneof("what") == ("error" if one.number == 13 else "reply")
        await asyncio.sleep(0)
        self.sent.append([one.number for one in answers.answers])

    async def requests(
        self, *messages: cib_pb2.PeerWrites, refused: bool = False
    ) -> AsyncIterator[cib_pb2.PeerWrites]:
        for one in messages:
            self.read += 1
            yield one
        if refused:
            raise PermissionDenied(what="it is no node of this cluster any more")


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_they_begin_in_their_order_and_are_answered_together() -> None:
    call = Call()
    serving = asyncio.ensure_future(call.writes.serve(call.requests(message([3, 1]), message([2]))))
    await settle()
    assert call.begun == [3, 1, 2]
    call.free.set()
    await serving
    assert call.sent == [[3, 1, 2]]


async def test_no_more_are_under_way_than_may_be() -> None:
    call = Call(at_once=4)
    messages = [message(range(at, at + 3)) for at in (20, 23, 26, 29)]
    serving = asyncio.ensure_future(call.writes.serve(call.requests(*messages)))
    await settle()
    assert call.begun == [20, 21, 22, 23]
    assert call.read == 2, "the rest waits at its sender"
    call.free.set()
    await serving
    assert call.begun == list(range(20, 32))
    assert sorted(chain.from_iterable(call.sent)) == call.begun


async def test_a_failure_is_its_write_s() -> None:
    call = Call()
    call.free.set()
    await call.writes.serve(call.requests(message([12, 13, 14])))
    assert sorted(chain.from_iterable(call.sent)) == [12, 13, 14]


async def test_what_was_taken_up_is_answered_before_the_call_fails() -> None:
    call = Call()
    serving = asyncio.ensure_future(call.writes.serve(call.requests(message([1, 2]), refused=True)))
    await settle()
    assert not serving.done()
    call.free.set()
    with pytest.raises(PermissionDenied):
        await serving
    assert call.sent == [[1, 2]]


async def test_what_is_forgotten_is_not_found() -> None:
    recent = Recent(kept=2)
    contents = {f"d{number}": element("configuration", {"n": str(number)}) for number in range(3)}
    for digest in ("d0", "d1", "d0", "d2"):
        recent.add(digest, contents[digest])
    assert recent.get("d1") is None
    assert [recent.get(digest) for digest in ("d0", "d2")] == [contents["d0"], contents["d2"]]
    assert recent.get("") is None
