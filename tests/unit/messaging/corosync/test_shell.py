"""The shell on corosync: what it has begun to write is written before it ends."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

import pytest

from hacluster.clock import SystemClock
from messaging.corosync.core import CorosyncCore
from messaging.corosync.shell import CorosyncShell
from messaging.membership.events import Durable, Persist
from messaging.store import Store


class SlowStore:
    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.kept: list[Durable] = []

    def keep(self, durable: Durable) -> None:
        self.begun.set()
        assert self.may_end.wait(20)
        self.kept.append(durable)


async def test_a_write_that_has_begun_is_waited_for() -> None:
    """The next run of this process reads and writes the same files."""
    store = SlowStore()
    shell = CorosyncShell(
        cast(CorosyncCore, None),
        node_id=1,
        store=cast(Store, store),
        clock=SystemClock(),
        keepalive_s=1,
        restart=lambda _why: None,
        end_run=lambda _why: None,
    )
    writing = asyncio.create_task(shell.write())
    shell._writes.put_nowait(Persist(Durable(promised=7), 1))
    await asyncio.to_thread(store.begun.wait, 20)
    writing.cancel()
    asyncio.get_running_loop().call_later(0.05, store.may_end.set)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(writing, 20)
    assert store.kept == [Durable(promised=7)]
