"""ha-lrm's end of the socket to lrm-exec, at the other end's death."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from hacluster.paths import Paths
from lrm.exec.protocol import Message, Ping, Started, encode
from lrm.link import ExecLink

STARTED = Started(token="1", pid=7, start_ticks=8, started_ns=9)
WITHIN_S = 10.0


async def heard_of(paths: Paths, *, writes_first: bool) -> list[Message]:
    """What ha-lrm hears of an lrm-exec that says one word and dies with something unread."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    heard: list[Message] = []
    down = asyncio.Event()

    def up() -> None:
        link.send(Ping())
        for packet in encode(STARTED):
            theirs.send(packet)
        theirs.close()
        if writes_first:  # before there was time to read
            link.send(Ping())

    def ended() -> None:
        down.set()
        running.cancel()  # or it starts a real lrm-exec and waits for that

    link = ExecLink(paths, "node1", on_up=up, on_down=ended, on_message=heard.append)
    running = asyncio.create_task(link.run(ours))
    await asyncio.wait((running,), timeout=WITHIN_S)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert down.is_set(), "the end was noticed"
    return heard


async def test_its_last_words_are_read(tmp_path: Path) -> None:
    """The kernel says first that the connection was reset; what lrm-exec had said comes after that."""
    assert await heard_of(Paths(tmp_path), writes_first=False) == [STARTED]


async def test_its_last_words_are_read_also_by_one_who_writes(tmp_path: Path) -> None:
    assert await heard_of(Paths(tmp_path), writes_first=True) == [STARTED]
