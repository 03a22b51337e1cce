"""Serial links over pty pairs whose masters are joined: a null-modem cable."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from hacluster.settings import Link
from messaging.packet import Kind
from messaging.transport.serial import Budget, SerialLink
from tests.unit.messaging.lab import a_datagram, a_sealer

Got = list[tuple[int, bytes, int, str]]
SECOND = 1_000_000_000


@asynccontextmanager
async def cable() -> AsyncIterator[tuple[str, str]]:
    """Two ttys: what is written to one is read from the other."""
    loop = asyncio.get_running_loop()
    (one, tty_one), (two, tty_two) = os.openpty(), os.openpty()

    def relay(source: int, target: int) -> None:
        with contextlib.suppress(OSError):
            os.write(target, os.read(source, 4_096))

    for source, target in ((one, two), (two, one)):
        os.set_blocking(source, False)
        loop.add_reader(source, relay, source, target)
    try:
        yield os.ttyname(tty_one), os.ttyname(tty_two)
    finally:
        for descriptor in (one, two):
            loop.remove_reader(descriptor)
        for descriptor in (one, two, tty_one, tty_two):
            os.close(descriptor)


def a_link(device: str, got: Got, baud: int = 115_200) -> SerialLink:
    link = Link(kind="serial", device=device, baud=baud)
    return SerialLink(1, link, lambda *taken: got.append(taken))


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110 - the link tells nobody but its own callback
            await asyncio.sleep(0)


async def test_heartbeats_cross_the_cable_and_nothing_else_does() -> None:
    ours: Got = []
    theirs: Got = []
    loop = asyncio.get_running_loop()
    heartbeat = a_datagram(7)
    propose = a_sealer().seal(Kind.PROPOSE, b"body", link=1, sequence=8)
    probe = a_sealer().seal(Kind.PROBE, b"", link=1, sequence=9)
    async with cable() as (first, second):
        one, two = a_link(first, ours), a_link(second, theirs)
        one.open(loop)
        two.open(loop)
        try:
            for datagram in (heartbeat, propose, probe):
                one.send(datagram, 2)
                await until(lambda: not one._unwritten)
            await until(lambda: len(theirs) == 2)
            two.send(heartbeat, 1)
            await until(lambda: len(ours) == 1)
        finally:
            one.close()
            two.close()
    assert [datagram for _, datagram, _, _ in theirs] == [heartbeat, probe]
    assert theirs[0][0] == 1
    assert theirs[0][3] == second
    assert one.address_of(5) == first


async def test_what_is_above_the_budget_is_not_sent() -> None:
    got: Got = []
    async with cable() as (first, _):
        link = a_link(first, got, baud=9_600)
        link.open(asyncio.get_running_loop())
        for number in range(50):
            link.send(a_datagram(number), 2)
        assert link.sent + link.send_failures == 50
        assert link.sent <= 3
        link.close()


def test_the_budget() -> None:
    budget = Budget(1_000, 0)
    assert budget.take(200, 0)
    assert not budget.take(200, 0)
    assert budget.take(200, SECOND // 4)
    assert budget.take(400, SECOND)  # longer than what can be saved up: it may go, on credit
    assert not budget.take(10, SECOND)
    taken = sum(200 for step in range(1, 1_001) if budget.take(200, SECOND + step * SECOND // 100))
    assert 9_000 <= taken <= 10_000


async def test_a_device_that_is_not_there_is_tried_again(tmp_path: Path) -> None:
    link = a_link(str(tmp_path / "ttyS9"), [])
    link.open(asyncio.get_running_loop())
    assert link._fd is None
    assert link._retry is not None
    link.send(a_datagram(1), 2)
    link.close()
    plain = tmp_path / "file"
    plain.write_bytes(b"")
    other = a_link(str(plain), [])
    other.open(asyncio.get_running_loop())
    assert other._fd is None
    other.close()


async def test_a_cable_that_is_pulled_is_tried_again() -> None:
    loop = asyncio.get_running_loop()
    master, tty = os.openpty()
    link = a_link(os.ttyname(tty), [])
    link.open(loop)
    os.close(tty)
    os.close(master)
    await until(lambda: link._fd is None)
    assert link._retry is not None
    link.close()
