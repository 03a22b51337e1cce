"""ICMP echo: what is asked is what a reply is recognised by."""

from __future__ import annotations

import asyncio
import socket

from hypothesis import given
from hypothesis import strategies as st

from hacluster.settings import Link
from messaging.transport.ping import Pinger, checksum, echo_reply, echo_request


@given(st.integers(0, 65_535), st.integers(0, 65_535), st.binary(max_size=64))
def test_a_request_turned_into_a_reply_is_recognised(identifier: int, sequence: int, payload: bytes) -> None:
    for family, kind in ((socket.AF_INET, 0), (socket.AF_INET6, 129)):
        request = echo_request(family, identifier, sequence, payload)
        assert echo_reply(family, request) is None
        reply = bytes([kind]) + request[1:]
        assert echo_reply(family, reply) == (identifier, sequence, payload)
    assert checksum(echo_request(socket.AF_INET, identifier, sequence, payload)) == 0


@given(st.binary(max_size=40))
def test_other_packets_are_none(packet: bytes) -> None:
    reply = echo_reply(socket.AF_INET, packet)
    assert reply is None or packet[:2] == b"\0\0"


def test_groups_count_once() -> None:
    links = (
        Link(kind="udp"),
        Link(kind="ping", targets=("192.0.2.1",)),
        Link(kind="ping_group", targets=("192.0.2.2", "192.0.2.3")),
    )
    pinger = Pinger(links, keepalive_ms=100, deadping_ms=500, changed=lambda _count: None)
    assert pinger.count() == 0
    for target in pinger.targets:
        target.alive = True
    assert pinger.count() == 2


async def test_without_targets_there_is_nothing_to_run() -> None:
    pinger = Pinger((Link(kind="udp"),), keepalive_ms=100, deadping_ms=500, changed=lambda _count: None)
    await asyncio.wait_for(pinger.run(), 1)
