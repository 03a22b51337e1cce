"""Appends to one node on a call that stays open: a call for each would cost twice as much at both ends.

The next request is sent when the one before is answered, so an answer needs no name. Whatever goes wrong ends
the call, and with it all that is under way at the other end; the next request opens another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from hacluster import rpc
from hacluster.errors import HaError, Timeout, Unreachable
from hacluster.v1 import cib_pb2, cib_pb2_grpc


class AppendStream:
    """`who`: the other side, for messages. `generation`: of our certificates and those that were revoked."""

    def __init__(self, who: str, generation: Callable[[], int] = lambda: 0) -> None:
        self._who, self._generation = who, generation
        self._opened = 0  # in which generation
        self._turn = asyncio.Lock()
        self._speaking = asyncio.Lock()  # gRPC takes one message of a call at a time
        self._call: grpc.aio.StreamStreamCall[cib_pb2.AppendRequest, cib_pb2.AppendReply] | None = None
        self._single = False  # the other side is of a release without such calls

    async def exchange(
        self, stub: cib_pb2_grpc.CrmPeerStub, request: cib_pb2.AppendRequest, timeout_ms: int
    ) -> cib_pb2.AppendReply:
        """One request and its answer. Raises the HaError the other side raised, Unreachable or Timeout."""
        try:
            async with asyncio.timeout(timeout_ms / 1_000), self._turn:
                if not self._single:
                    return await self._exchange(stub, request)
        except TimeoutError:
            raise Timeout(what=self._who, after_ms=timeout_ms) from None
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.INTERNAL:  # gRPC's own: the call ended while we spoke
                raise Unreachable(who=self._who, remedy="the call was ended") from None
            self._single = error.code() is grpc.StatusCode.UNIMPLEMENTED
            if not self._single:
                raise rpc.error_of(error, who=self._who, timeout_ms=timeout_ms) from None
        except asyncio.InvalidStateError:  # the same, a moment earlier
            raise Unreachable(who=self._who, remedy="the call was ended") from None
        except asyncio.CancelledError:
            if rpc.is_cancelled():
                raise
            raise Unreachable(who=self._who, remedy="the connection was given up") from None
        try:
            reply = await rpc.call(stub.Append, request, timeout_ms=timeout_ms, who=self._who)
        except Unreachable:
            self._single = False  # it may come back as another release
            raise
        assert isinstance(reply, cib_pb2.AppendReply)
        return reply

    async def _exchange(
        self, stub: cib_pb2_grpc.CrmPeerStub, request: cib_pb2.AppendRequest
    ) -> cib_pb2.AppendReply:
        if self._opened != (generation := self._generation()):
            self.end()
            self._opened = generation
        call = self._call
        if call is None or call.done():
            call = self._call = stub.Appends()
        answered = False
        try:
            async with self._speaking:
                await call.write(request)
            reply = await call.read()
            answered = isinstance(reply, cib_pb2.AppendReply)
            if not isinstance(reply, cib_pb2.AppendReply):
                raise Unreachable(who=self._who, remedy="it ended the call, as it does when it stops")
            return reply
        finally:
            if not answered:
                self.end()

    async def tell(
        self, stub: cib_pb2_grpc.CrmPeerStub, request: cib_pb2.AppendRequest, timeout_ms: int
    ) -> None:
        """Without an answer. It is lost when no call is open, and nothing is raised."""
        call = self._call
        try:
            if self._single:
                request.told = False
                await self.exchange(stub, request, timeout_ms)
            elif call is not None and not call.done():
                async with asyncio.timeout(timeout_ms / 1_000), self._speaking:
                    await call.write(request)
        except (HaError, TimeoutError, asyncio.InvalidStateError, grpc.aio.AioRpcError):
            return  # the call has ended
        except asyncio.CancelledError:
            if rpc.is_cancelled():
                raise

    def end(self) -> None:
        """The next request opens another call."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
