"""A follower's writes on a call that stays open: each is answered as soon as it can be, with others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from hacluster import rpc
from hacluster.errors import HaError
from hacluster.v1 import cib_pb2, common_pb2

Answer = Callable[[cib_pb2.NumberedWrite], Awaitable[cib_pb2.NumberedAnswer]]
Send = Callable[[cib_pb2.PeerWriteAnswers], Awaitable[None]]


class OpenWrites:
    """One such call. As many writes as there could be calls are under way; more are not read before."""

    def __init__(self, answer: Answer, send: Send, *, at_once: int = rpc.STREAMS_MAX) -> None:
        """`answer` may raise HaError: then that is the write's answer."""
        self._answer, self._send = answer, send
        self._room = asyncio.Semaphore(at_once)
        self._answers: list[cib_pb2.NumberedAnswer] = []
        self._speaking = asyncio.Lock()  # gRPC takes one message of a call at a time
        self._reading: asyncio.Task[HaError | None] | None = None

    async def serve(self, requests: AsyncIterator[cib_pb2.PeerWrites]) -> None:
        """Until there are no more, or `end`. Raises what reading raises, when what was read is answered."""
        async with asyncio.TaskGroup() as group:
            self._reading = group.create_task(self._read(requests, group), name="writes of a follower")
        if not self._reading.cancelled() and (error := self._reading.result()) is not None:
            raise error

    def end(self) -> None:
        """Read no more; what was taken up is still answered."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(
        self, requests: AsyncIterator[cib_pb2.PeerWrites], group: asyncio.TaskGroup
    ) -> HaError | None:
        try:
            async for request in requests:
                for write in request.writes:
                    await self._room.acquire()
                    group.create_task(self._take(write, group))
        except HaError as error:
            return error
        return None

    async def _take(self, write: cib_pb2.NumberedWrite, group: asyncio.TaskGroup) -> None:
        try:
            answer = await self._answer(write)
        except HaError as error:
            told = common_pb2.ErrorDetail.FromString(rpc.detail(error))
            answer = cib_pb2.NumberedAnswer(error=told)
        finally:
            self._room.release()
        answer.number = write.number
        self._answers.append(answer)
        if len(self._answers) == 1:
            group.create_task(self._tell())

    async def _tell(self) -> None:
        async with self._speaking:  # what is answered meanwhile goes with it
            answers, self._answers = self._answers, []
            await self._send(cib_pb2.PeerWriteAnswers(answers=answers))
