"""UDP links over loopback: own addresses, arrival times, groups, and what is not there yet."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable

from hacluster.settings import Link
from messaging.packet import TO_ALL
from messaging.transport.udp import UdpLink

Got = list[tuple[int, bytes, int, str]]


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def a_link(own: str, peers: dict[int, str], got: Got, link: Link) -> UdpLink:
    return UdpLink(0, link, own, peers, lambda *taken: got.append(taken))


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110 - the link tells nobody but its own callback
            await asyncio.sleep(0)


async def exchange(own: str, other: str, link: Link) -> tuple[Got, Got]:
    """Two links that say one thing to all and one to the other."""
    loop = asyncio.get_running_loop()
    ours: Got = []
    theirs: Got = []
    one, two = a_link(own, {2: other}, ours, link), a_link(other, {1: own}, theirs, link)
    try:
        one.open(loop)
        two.open(loop)
        one.send(b"to all", TO_ALL)
        await until(lambda: bool(theirs))
        two.send(b"to one", 1)
        await until(lambda: any(entry[1] == b"to one" for entry in ours))
    finally:
        one.close()
        two.close()
    return ours, theirs


async def test_each_node_binds_its_own_address() -> None:
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    ours, theirs = await exchange("127.0.91.1", "127.0.91.2", Link(kind="udp", port=free_port()))
    assert [entry[1] for entry in theirs] == [b"to all"]
    assert [entry[3] for entry in theirs] == ["127.0.91.1"]
    assert [entry[1] for entry in ours] == [b"to one"]
    assert before_ns <= theirs[0][2] <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


async def test_multicast_over_loopback() -> None:
    link = Link(kind="mcast", group="225.0.91.1", port=free_port(), interface="")
    _, theirs = await exchange("127.0.91.1", "127.0.91.2", link)
    assert (theirs[0][1], theirs[0][3]) == (b"to all", "127.0.91.1")


async def test_ipv6() -> None:
    got: Got = []
    link = a_link("::1", {2: "::1"}, got, Link(kind="udp", port=free_port("::1")))
    try:
        link.open(asyncio.get_running_loop())
        link.send(b"six", 2)
        await until(lambda: bool(got))
    finally:
        link.close()
    assert got[0][1] == b"six"


async def test_an_address_that_is_not_there_is_tried_again() -> None:
    got: Got = []
    link = a_link("192.0.2.77", {2: "192.0.2.78"}, got, Link(kind="udp", port=free_port()))
    link.open(asyncio.get_running_loop())
    link.send(b"lost", 2)
    link.drain()
    assert link.sent == 0
    link.close()


async def test_a_port_that_is_taken_says_so() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.91.3", port))
        link = a_link("127.0.91.3", {}, [], Link(kind="udp", port=port))
        link.open(asyncio.get_running_loop())
        assert link._complained == "Address already in use"
        assert errno.EADDRINUSE
        link.close()


def test_unknown_destinations_are_nobodys() -> None:
    link = a_link("127.0.91.1", {2: "127.0.91.2"}, [], Link(kind="udp", port=1))
    link.send(b"x", 9)
    assert link.sent == 0
    assert link.address_of(2) == "127.0.91.2"
    assert link.address_of(9) == ""
