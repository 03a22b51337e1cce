"""Writes for the DC on a call that stays open: a call for each would cost more than all else of it.

Those that come together go together, each says only what it changes in a configuration that the DC has, too,
and each is answered by its number. Whatever goes wrong ends the call: who has no answer by then asks by the
request id what became of it, as after a call of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import grpc

from crm.cib import codec, diff
from crm.cib.model import Element
from crm.replica.recent import Known
from hacluster import rpc
from hacluster.errors import HaError, Timeout, Unreachable
from hacluster.v1 import cib_pb2, cib_pb2_grpc

BATCH_BYTES_MAX: Final = 1024 * 1024  # of writes in one message, unless one alone has more
MESSAGE_BYTES_MAX: Final = rpc.MESSAGE_BYTES_MAX - 4096  # what is around one write is less
SLACK_MS: Final = 1_000
"""The DC answers at a write's deadline; so long after it that answer is waited for."""

Call = grpc.aio.StreamStreamCall[cib_pb2.PeerWrites, cib_pb2.PeerWriteAnswers]


class _OldRelease(Exception):
    """The other side knows no such call, and so has taken up nothing."""


class WriteStream:
    """`who`: the other side, for messages. `generation`: of our certificates and those that were revoked."""

    def __init__(self, who: str, generation: Callable[[], int] = lambda: 0) -> None:
        self._who, self._generation = who, generation
        self._opened = 0  # in which generation
        self._call: _OpenCall | None = None
        self._reading: set[asyncio.Task[None]] = set()  # of a call that finishes, too
        self._single = False  # the other side is of a release without such calls

    async def write(
        self,
        stub: cib_pb2_grpc.CrmPeerStub,
        request: cib_pb2.PeerWriteRequest,
        configuration: Element,
        base: Known | None = None,
    ) -> cib_pb2.PeerWriteReply:
        """`request` without its configuration, and the answer.

        `base`: one that the DC has, perhaps. Raises the HaError that the DC raised, Unreachable or Timeout.
        """
        timeout_ms = request.deadline_ms + SLACK_MS
        until_s = asyncio.get_running_loop().time() + request.deadline_ms / 1_000
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                if not self._single:
                    reply = await self._by_call(stub, request, configuration, base, until_s)
                    if reply is not None:
                        return reply
        except TimeoutError:
            raise Timeout(what=self._who, after_ms=timeout_ms) from None
        except _OldRelease:
            self._single = True
        request.configuration_xml = codec.canonical(configuration)
        try:
            alone = await rpc.call(stub.Write, request, timeout_ms=timeout_ms, who=self._who)
        except Unreachable:
            self._single = False  # it may come back as another release
            raise
        assert isinstance(alone, cib_pb2.PeerWriteReply)
        return alone

    async def _by_call(
        self,
        stub: cib_pb2_grpc.CrmPeerStub,
        request: cib_pb2.PeerWriteRequest,
        configuration: Element,
        base: Known | None,
        until_s: float,
    ) -> cib_pb2.PeerWriteReply | None:
        """None when it is too large for it, and nothing was sent."""
        if base is not None:
            patch = diff.diff(base.content, configuration, base=base.digest, result=base.digest)
            write = cib_pb2.NumberedWrite(request=request, base_digest=base.digest, patch=diff.encode(patch))
            if write.ByteSize() <= MESSAGE_BYTES_MAX:
                answer = await self._open(stub).ask(write, until_s)
                if not answer.unknown_base:
                    return _reply(answer)
        request.configuration_xml = codec.canonical(configuration)
        write = cib_pb2.NumberedWrite(request=request)
        if write.ByteSize() > MESSAGE_BYTES_MAX:
            return None
        return _reply(await self._open(stub).ask(write, until_s))

    def _open(self, stub: cib_pb2_grpc.CrmPeerStub) -> _OpenCall:
        generation = self._generation()
        if self._call is not None and self._opened != generation:
            self._call.finish()
            self._call = None
        if self._call is None or self._call.ended:
            self._call, self._opened = _OpenCall(self._who, stub.Writes()), generation
            self._reading.add(self._call.reading)
            self._call.reading.add_done_callback(self._reading.discard)
        return self._call


def _reply(answer: cib_pb2.NumberedAnswer) -> cib_pb2.PeerWriteReply:
    if answer.HasField("error"):
        raise rpc.error_from_detail(answer.error.SerializeToString())
    return answer.reply


class _OpenCall:
    """One call and those who wait for its answers."""

    def __init__(self, who: str, call: Call) -> None:
        self._who, self._call = who, call
        self._last = 0
        self._waiting: dict[int, asyncio.Future[cib_pb2.NumberedAnswer]] = {}
        self._queue: deque[tuple[cib_pb2.NumberedWrite, float]] = deque()
        self._finishing = False
        self._sending: asyncio.Task[None] | None = None
        self.reading = asyncio.get_running_loop().create_task(self._read(), name="answers to writes")

    @property
    def ended(self) -> bool:
        """No answer comes any more."""
        return self.reading.done()

    async def ask(self, write: cib_pb2.NumberedWrite, until_s: float) -> cib_pb2.NumberedAnswer:
        """One write, which has until then (in the loop's time), and its answer."""
        number = write.number = self._last = self._last + 1
        future: asyncio.Future[cib_pb2.NumberedAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._queue.append((write, until_s))
        self._send_soon()
        try:
            return await future
        finally:
            del self._waiting[number]
            if self._queue and self._queue[0][0].number <= number:  # not sent: nobody waits for it any more
                self._queue = deque(one for one in self._queue if one[0].number != number)

    def finish(self) -> None:
        """Nothing more is asked; who waits still gets an answer."""
        self._finishing = True
        self._send_soon()

    def _send_soon(self) -> None:
        """What else is asked in this pass of the loop goes with it."""
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send(), name="writes to the DC")

    async def _send(self) -> None:
        try:
            while self._queue:
                if writes := self._batch():
                    await self._call.write(cib_pb2.PeerWrites(writes=writes))
            if self._finishing:
                await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            self._call.cancel()  # nothing when it has ended already
        except asyncio.CancelledError:
            if rpc.is_cancelled():
                raise

    def _batch(self) -> list[cib_pb2.NumberedWrite]:
        now_s = asyncio.get_running_loop().time()
        batch: list[cib_pb2.NumberedWrite] = []
        size = 0
        while self._queue:
            write, until_s = self._queue[0]
            size += write.ByteSize()
            if batch and size > BATCH_BYTES_MAX:
                break
            self._queue.popleft()
            if write.number in self._waiting:
                write.request.deadline_ms = max(int((until_s - now_s) * 1_000), 1)
                batch.append(write)
        return batch

    async def _read(self) -> None:
        error: Exception = Unreachable(who=self._who, remedy="the call was ended")
        try:
            while isinstance(answers := await self._call.read(), cib_pb2.PeerWriteAnswers):
                for answer in answers.answers:
                    future = self._waiting.get(answer.number)
                    if future is not None and not future.done():
                        future.set_result(answer)
            error = Unreachable(who=self._who, remedy="it ended the call, as it does when it stops")
        except grpc.aio.AioRpcError as failed:
            error = self._meaning(failed)
        except asyncio.InvalidStateError:
            pass
        except asyncio.CancelledError:
            if rpc.is_cancelled():
                raise
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(error)

    def _meaning(self, failed: grpc.aio.AioRpcError) -> HaError | _OldRelease:
        """Of what is unanswered: by its own failures the other side says that nothing of it was taken up."""
        if failed.code() is grpc.StatusCode.UNIMPLEMENTED:
            return _OldRelease()
        if any(key == rpc.ERROR_METADATA for key, _ in failed.trailing_metadata() or ()):
            return rpc.error_of(failed, who=self._who)
        return Unreachable(who=self._who, remedy=failed.details() or "the call was ended")
