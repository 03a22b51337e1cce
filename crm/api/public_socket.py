"""crm.sock as clients see it: asks the kernel who connects, and hands the connection on to the gRPC server.

grpcio shows a server nothing of a peer's credentials. So this accepts, reads SO_PEERCRED, and relays to the
server's own socket in a folder that nobody else may enter, from a socket bound to a path that names the user:
that path is what the server sees as its peer (cluster-protocol.md 3.5).
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import struct
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from crm import log_events
from hacluster import rpc

GROUP: Final = "haclient"
CONNECTIONS_MAX: Final = 256
RESERVED: Final = 32  # of these, for root and us
USER_CONNECTIONS_MAX: Final = 64
"""Of a user who is neither root nor us: nobody may keep the others out."""

CONNECT_S: Final = 5.0
_CHUNK_BYTES: Final = 64 * 1024
_CREDENTIALS: Final = struct.Struct("3i")

log = structlog.get_logger()


def user_name(uid: int) -> str:
    """The user's name; its number when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def name_of(caller: rpc.Caller) -> str:
    """Who asks: the user of a certificate or of this node, a node, or "local"."""
    if caller.uid is not None:
        return user_name(caller.uid)
    return caller.user or (caller.names[0] if caller.names else "local")


def groups_of(uid: int) -> frozenset[str]:
    """The names of all groups the user is in."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return frozenset()
    names = set()
    for gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        with suppress(KeyError):  # a group without a name is nobody's to give rights to
            names.add(grp.getgrgid(gid).gr_name)
    return frozenset(names)


def may_connect(uid: int, groups: frozenset[str]) -> bool:
    """root, the user that ha-crm runs as, and the members of group haclient."""
    return uid in (0, os.geteuid()) or GROUP in groups


class PublicSocket:
    """Relays from `public` to the server that listens on `inner`, until cancelled."""

    def __init__(self, public: Path, inner: Path) -> None:
        self.inner = inner
        self._public = public
        self._groups: dict[int, frozenset[str]] = {}
        self._listener: socket.socket | None = None
        self._count = 0
        self._open: Counter[int] = Counter()

    def groups_of(self, uid: int) -> frozenset[str]:
        """The groups that a user was in who is connected, or was."""
        return self._groups.get(uid, frozenset())

    async def serve(self) -> None:
        """Accept until cancelled; after `listen`."""
        assert self._listener is not None, "listen first"
        server = await asyncio.start_unix_server(self._accept, sock=self._listener)
        async with server:
            await server.serve_forever()

    def listen(self) -> None:
        """Make the socket: who connects from now on is served. Raises OSError."""
        self._public.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o777 & ~0o660)
        try:
            listener.bind(str(self._public))
        finally:
            os.umask(before)
        listener.listen(CONNECTIONS_MAX)
        self._listener = listener

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client: socket.socket = writer.get_extra_info("socket")
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(credentials)
        try:
            groups = self._groups[uid] = await asyncio.to_thread(groups_of, uid)  # a directory may be slow
            if not may_connect(uid, groups):
                log.warning(log_events.CLIENT_REFUSED, user=user_name(uid), pid=pid)
            elif not self._has_room(uid):
                log.warning(log_events.CLIENT_REFUSED, user=user_name(uid), reason="too many connections")
            else:
                await self._relay(uid, reader, writer)
        except (OSError, TimeoutError) as error:
            log.info(log_events.CLIENT_LOST, user=user_name(uid), reason=str(error))
        finally:
            writer.close()

    def _has_room(self, uid: int) -> bool:
        ours = uid in (0, os.geteuid())
        within = ours or self._open[uid] < USER_CONNECTIONS_MAX
        return within and self._open.total() < CONNECTIONS_MAX - (0 if ours else RESERVED)

    async def _relay(self, uid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count += 1
        path = rpc.path_of_user(self.inner.parent, uid, self._count)
        self._open[uid] += 1
        inside: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                answers, inside = await asyncio.open_unix_connection(sock=self._bound(path))
            copies = [
                asyncio.ensure_future(_copy(reader, inside)),
                asyncio.ensure_future(_copy(answers, writer)),
            ]
            try:
                await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for copy in copies:
                    copy.cancel()
                await asyncio.gather(*copies, return_exceptions=True)
        finally:
            self._open[uid] -= 1
            if inside is not None:
                inside.close()
            path.unlink(missing_ok=True)

    def _bound(self, path: Path) -> socket.socket:
        path.unlink(missing_ok=True)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.bind(str(path))
            connection.setblocking(False)
            connection.connect(str(self.inner))
        except OSError:
            connection.close()
            raise
        return connection


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of the one, or the other is gone."""
    with suppress(ConnectionError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
