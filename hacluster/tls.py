"""Certificates that are renewed, or revoked, while the daemons run.

Servers take what the folder holds at each handshake, channels are made anew when it has changed; what is
connected stays so. A certificate on the list `crl.pem` (signed by the CA) may call nothing any more, on
connections that exist as well. gRPC does not show a client the server's certificate; so while the list is
not empty a channel trusts, instead of the CA, the certificates of its node in `nodes.pem` that are not on it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import grpc
import structlog

from hacluster import rpc
from hacluster.errors import InvalidDocument

LOOK_EVERY_S: Final = 2.0
LINGER_S: Final = 30.0
FILES: Final = ("ca.pem", "node.pem", "node.key", "crl.pem", "nodes.pem")
RELOADED: Final = "tls.reloaded"
KEPT: Final = "tls.kept_the_old"

log = structlog.get_logger()


class TlsFolder:
    """A node's tls folder. `current` is what it holds, or held when it could be used last."""

    def __init__(self, folder: Path) -> None:
        """Raises InvalidDocument when it cannot be used now."""
        self._folder = folder
        self._lock = threading.Lock()  # gRPC asks from threads of its own
        self._seen = self._stamps()
        self.current = rpc.read_tls(folder)
        self.generation = 1

    def look(self) -> bool:
        """Read it again if a file has changed; whether there is something new. What is wrong is logged."""
        with self._lock:
            stamps = self._stamps()
            if stamps == self._seen:
                return False
            self._seen = stamps
            try:
                self.current = rpc.read_tls(self._folder)
            except InvalidDocument as error:
                log.error(KEPT, reason=str(error))
                return False
            self.generation += 1
            log.info(RELOADED, folder=str(self._folder), revoked=len(self.current.revoked))
            return True

    async def watch(self) -> None:
        """Look every two seconds, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.to_thread(self.look)

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        stamps = []
        for name in FILES:
            try:
                status = (self._folder / name).stat()
                stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
            except OSError:
                stamps.append((0, 0, 0))
        return tuple(stamps)


class ReloadingChannel(grpc.aio.Channel):
    """Stands for a channel of `make`, which is made anew for the first call after the folder has changed."""

    def __init__(self, source: TlsFolder, make: Callable[[rpc.Tls], grpc.aio.Channel]) -> None:
        self._source, self._make = source, make
        self._generation = source.generation
        self._channel = make(source.current)
        self._closing: set[asyncio.Task[None]] = set()

    def _now(self) -> grpc.aio.Channel:
        if self._generation != self._source.generation:
            self._generation = self._source.generation
            old, self._channel = self._channel, self._make(self._source.current)
            closing = asyncio.get_running_loop().create_task(old.close(LINGER_S), name="close old channel")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return self._channel

    def _calls(self, kind: str, *arguments: Any, **more: Any) -> Callable[..., Any]:
        def call(*request: Any, **options: Any) -> Any:
            return getattr(self._now(), kind)(*arguments, **more)(*request, **options)

        return call

    def unary_unary(self, *arguments: Any, **more: Any) -> Any:
        """As grpc.aio.Channel's, of the present channel."""
        return self._calls("unary_unary", *arguments, **more)

    def unary_stream(self, *arguments: Any, **more: Any) -> Any:
        """As `unary_unary`."""
        return self._calls("unary_stream", *arguments, **more)

    def stream_unary(self, *arguments: Any, **more: Any) -> Any:
        """As `unary_unary`."""
        return self._calls("stream_unary", *arguments, **more)

    def stream_stream(self, *arguments: Any, **more: Any) -> Any:
        """As `unary_unary`."""
        return self._calls("stream_stream", *arguments, **more)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Of the present channel."""
        return self._now().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of the present channel."""
        await self._now().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Of the present channel."""
        await self._now().channel_ready()

    async def __aenter__(self) -> ReloadingChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """All of them."""
        for task in list(self._closing):
            task.cancel()
        await self._channel.close(grace)
