"""Who connects to crm.sock, as the kernel knows it, for the server behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from crm.api.public_socket import (
    CONNECTIONS_MAX,
    RESERVED,
    USER_CONNECTIONS_MAX,
    PublicSocket,
    groups_of,
    may_connect,
    user_name,
)
from hacluster import rpc
from hacluster.v1 import lrm_pb2, lrm_pb2_grpc

LINES = 5_000


class WhoAmI:
    """A service that says who calls it."""

    def __getattr__(self, name: str) -> Any:
        return self.Accept

    async def Accept(self, request: lrm_pb2.AcceptRequest, context: Any) -> lrm_pb2.AcceptReply:
        caller = rpc.caller_of(context)
        return lrm_pb2.AcceptReply(node=f"{caller.local} {caller.uid} {len(request.dc)}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that other users may pass through."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
async def public(folder: Path) -> AsyncIterator[Path]:
    inner = folder / "c/s"
    inner.parent.mkdir(mode=0o700)
    server = rpc.Server(names=("hacluster.v1.Lrm",))
    server.add(lrm_pb2_grpc.add_LrmServicer_to_server, WhoAmI())
    server.listen_unix(inner)
    await server.start()
    path = folder / "crm.sock"
    path.touch()  # what a former run left
    public = PublicSocket(path, inner)
    public.listen()
    task = asyncio.create_task(public.serve())
    yield path
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await server.stop(0)


async def test_the_server_knows_the_user(public: Path) -> None:
    assert os.stat(public).st_mode & 0o777 == 0o660  # noqa: PTH116 - pathlib is for synchronous code
    for size in (0, 3_000_000):
        async with rpc.unix_channel(public) as channel:
            request = lrm_pb2.AcceptRequest(dc="x" * size)
            reply = await rpc.call(lrm_pb2_grpc.LrmStub(channel).Accept, request, timeout_ms=10_000, who="it")
            assert reply.node == f"True {os.geteuid()} {size}"
    async with asyncio.timeout(10):
        while os.listdir(public.parent / "c") != ["s"]:  # noqa: ASYNC110, PTH208 - its end goes, too
            await asyncio.sleep(0.01)


async def test_who_is_not_relayed_is_nobody_in_particular(public: Path) -> None:
    async with rpc.unix_channel(public.parent / "c/s") as channel:
        stub = lrm_pb2_grpc.LrmStub(channel)
        reply = await rpc.call(stub.Accept, lrm_pb2.AcceptRequest(), timeout_ms=10_000, who="it")
        assert reply.node == "True None 0"


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
async def test_other_users_are_turned_away(public: Path) -> None:
    os.chmod(public, 0o666)  # noqa: PTH101 - as if somebody had been careless
    script = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        "s.settimeout(10); s.connect(sys.argv[1]); sys.exit(len(s.recv(1)))"
    )
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, str(public)], timeout=30, check=False
    )
    assert ended.returncode == 0, "closed without a byte"


def test_connections_of_one_user_keep_nobody_out(tmp_path: Path) -> None:
    public, ours = PublicSocket(tmp_path / "a", tmp_path / "b"), os.geteuid()
    public._open[54_321] = USER_CONNECTIONS_MAX - 1
    assert public._has_room(54_321)
    public._open[54_321] += 1
    assert not public._has_room(54_321)
    assert public._has_room(54_322)
    for uid in range(60_001, 60_004):
        public._open[uid] = USER_CONNECTIONS_MAX
    assert not public._has_room(54_322), "many users share what root and we do not need"
    public._open[60_003] -= RESERVED
    assert public._has_room(0)
    assert public._has_room(ours)
    public._open[0] = CONNECTIONS_MAX
    assert not public._has_room(0)


def test_who_may() -> None:
    assert may_connect(0, frozenset())
    assert may_connect(os.geteuid(), frozenset())
    assert not may_connect(54_321, frozenset({"users"}))
    assert may_connect(54_321, frozenset({"users", "haclient"}))
    assert (user_name(0), user_name(54_321)) == ("root", "54321")
    assert groups_of(54_321) == frozenset()
    assert "root" in groups_of(0)
