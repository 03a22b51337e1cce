"""The shell: persist before you speak, bad packets are counted, slow watchers are told."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from hacluster.clock import SystemClock
from hacluster.errors import InvalidRequest, NotFound, ResourceExhausted, Unavailable
from hacluster.v1 import membership_pb2
from hacluster.vocabulary.ids import BootToken, NodeId, NodeName
from hacluster.vocabulary.membership import QuorumConfig
from messaging.membership.core import MembershipCore
from messaging.membership.events import (
    Bar,
    Bars,
    CommittedQuorum,
    Config,
    ConfiguredNode,
    ConnectivityChanged,
    Deliver,
    Durable,
    Leave,
    Lost,
    Start,
    Status,
)
from messaging.membership.shell import DELIVERY_QUEUE, WATCH_QUEUE, MembershipShell, Watcher
from messaging.packet import Gate, Sealer
from messaging.store import Store
from messaging.transport.udp import UdpLink
from messaging.wire import authority_to
from tests.unit.messaging.lab import CLUSTER, a_datagram, a_keyring

MS = 1_000_000


class FakeStore:
    """A disk that waits for permission, or fails."""

    def __init__(self) -> None:
        self.kept: list[Durable] = []
        self.may_write = threading.Event()
        self.may_write.set()
        self.broken = False
        self.full = False
        self.marked = 0
        self.met: frozenset[int] = frozenset()

    def keep(self, durable: Durable) -> None:
        assert self.may_write.wait(10)
        if self.broken:
            raise OSError(5, "Input/output error")
        self.kept.append(durable)

    def keep_met(self, nodes: frozenset[int]) -> None:
        self.met = nodes

    def mark_all_seen(self) -> None:
        self.marked += 1
        if self.full:
            raise OSError(28, "No space left on device")


class Wire:
    """A link whose packets reach the other shells at once."""

    def __init__(self) -> None:
        self.others: list[MembershipShell] = []
        self.sent: list[bytes] = []

    def send(self, datagram: bytes, _destination: int) -> None:
        self.sent.append(datagram)
        loop = asyncio.get_running_loop()
        for shell in self.others:
            loop.call_soon(shell.taken, 0, datagram, SystemClock().now_ns(), "wire")

    def drain(self) -> None:
        """Nothing is ever waiting."""


def a_shell(node: int, count: int) -> tuple[MembershipShell, FakeStore, Wire]:
    configured = tuple(ConfiguredNode(id=NodeId(n), name=NodeName(f"n{n}")) for n in range(1, count + 1))
    config = Config(
        node_id=NodeId(node),
        nodes=configured,
        links=1,
        keepalive_ns=50 * MS,
        warntime_ns=1_000 * MS,
        deadtime_ns=4_000 * MS,
        initdead_ns=30_000 * MS,
        quorum=QuorumConfig(voters=tuple((each.id, 1) for each in configured)),
    )
    start = Start(
        incarnation=1, boot_token=BootToken(f"{node:02d}" * 32), durable=Durable(), first_sequence=10
    )
    clock, store, wire = SystemClock(), FakeStore(), Wire()
    shell = MembershipShell(
        core=MembershipCore(config, start, random.Random(node), clock.now_ns()),
        gate=Gate(
            cluster_id=CLUSTER, node_id=node, nodes=[each.id for each in configured], keyring=a_keyring()
        ),
        sealer=Sealer(
            cluster_id=CLUSTER,
            node_id=node,
            session=node.to_bytes(16, "big"),
            incarnation=1,
            keyring=a_keyring(),
        ),
        store=cast(Store, store),
        clock=clock,
        restart=lambda _why: None,
        end_run=lambda _why: None,
        store_timeout_s=0.2,
    )
    shell.links = [cast(UdpLink, wire)]
    return shell, store, wire


@asynccontextmanager
async def running(*shells: MembershipShell) -> AsyncIterator[None]:
    writers = [asyncio.create_task(shell.write()) for shell in shells]
    for shell in shells:
        shell.begin()
    try:
        yield
    finally:
        for shell in shells:
            for _, handle in shell._timers.values():
                handle.cancel()
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)


async def until(shell: MembershipShell, watcher: Watcher, holds: Any) -> Status:
    async with asyncio.timeout(10):
        while True:
            status = await shell.next_update(watcher)
            if holds(status):
                return status


def wire_of(status: Status) -> Sequence[membership_pb2.NodeStatus]:
    return authority_to(status, {}).nodes


def members(status: Status) -> list[str]:
    return [member.name for member in status.authority.view.members]


async def test_two_shells_form_a_view_through_real_packets() -> None:
    (one, disk, wire), (two, _, other) = a_shell(1, 2), a_shell(2, 2)
    wire.others, other.others = [two], [one]
    watcher = one.watch("", 0)
    async with running(one, two):
        status = await until(one, watcher, lambda s: s.authority.quorate)
        assert members(status) == ["n1", "n2"]
        for _ in range(10_000):  # news do not wait for the disk
            if disk.kept[-1].view.id == status.authority.view.id:
                break
            await asyncio.sleep(0.001)
        assert disk.kept[-1].view.id == status.authority.view.id
        assert (disk.marked, sorted(disk.met)) == (1, [1, 2])
        await one.leave(Leave(clean=True), by=7)
        status = await until(one, watcher, lambda s: members(s) == [])
        assert not status.authority.quorate


async def test_a_barred_node_is_in_no_view_and_knows_it() -> None:
    (one, disk, wire), (two, _, other) = a_shell(1, 2), a_shell(2, 2)
    wire.others, other.others = [two], [one]
    watcher, barred = one.watch("", 0), two.watch("", 0)
    async with running(one, two):
        await until(one, watcher, lambda s: s.authority.quorate)
        await one.set_barred(2, "02" * 32)
        assert disk.kept[-1].bars == Bars(((2, Bar(1, b"\2" * 8)),))
        status = await until(one, watcher, lambda s: members(s) == ["n1"])
        assert [node.state for node in wire_of(status)] == ["member", "barred"]
        status = await until(two, barred, lambda s: wire_of(s)[1].state == "barred")
        assert members(status) == []
        await one.set_barred(2, "")
        await until(two, barred, lambda s: wire_of(s)[1].state == "joining")
        with pytest.raises(NotFound):
            await one.set_barred(3, "02" * 32)
        for no_token in ("02", "x" * 16):
            with pytest.raises(InvalidRequest):
                await one.set_barred(2, no_token)
        disk.may_write.clear()
        with pytest.raises(Unavailable):
            await one.set_barred(2, "03" * 8)
        disk.may_write.set()


async def test_how_well_a_node_is_connected_is_known_to_the_others() -> None:
    (one, _, wire), (two, _, other) = a_shell(1, 2), a_shell(2, 2)
    wire.others, other.others = [two], [one]
    watcher = one.watch("", 0)
    async with running(one, two):
        status = await until(one, watcher, lambda s: s.authority.quorate)
        assert [node.connectivity for node in status.nodes] == [None, None]
        assert [node.connectivity for node in wire_of(status)] == [0, 0], "not known"
        one.dispatch(ConnectivityChanged(2))
        two.dispatch(ConnectivityChanged(0))
        status = await until(one, watcher, lambda s: s.nodes[1].connectivity is not None)
        assert [node.connectivity for node in status.nodes] == [2, 0]
        assert [node.connectivity for node in wire_of(status)] == [3, 1]
        assert one.core.authority.witness.score == 2
        assert one.core.detector.peers[2].heartbeat is not None


async def test_long_messages_travel_in_fragments_and_in_order() -> None:
    (one, _, wire), (two, _, other) = a_shell(1, 2), a_shell(2, 2)
    wire.others, other.others = [two], [one]
    watcher, listener, deaf = one.watch("", 0), two.listen("news"), two.listen("else")
    async with running(one, two):
        await until(one, watcher, lambda s: s.authority.quorate)
        before = len(wire.sent)
        long = bytes(range(256)) * 100
        first = await one.say(topic="news", payload=long, destination=0, any_view=False)
        second = await one.say(topic="news", payload=b"short", destination=2, any_view=False)
        assert (first.number, second.number) == (1, 2)
        assert not first.refusal
        async with asyncio.timeout(10):
            got = [await two.next_delivery(listener) for _ in range(2)]
        assert [news.data.payload for news in got if isinstance(news, Deliver)] == [long, b"short"]
        assert deaf.news.empty()
        assert all(len(datagram) <= 1_400 for datagram in wire.sent[before:])
        refused = await one.say(topic="news", payload=bytes(70_000), destination=0, any_view=False)
        assert "more than" in refused.refusal
        unknown = await one.say(topic="news", payload=b"", destination=9, any_view=False)
        assert "no other node" in unknown.refusal


async def test_a_listener_that_does_not_read_is_told() -> None:
    shell, _, _ = a_shell(1, 2)
    listener = shell.listen("news")
    for number in range(DELIVERY_QUEUE + 1):
        shell._deliver(Lost(NodeId(2), 1, number, number))
    with pytest.raises(ResourceExhausted):
        await shell.next_delivery(listener)
    shell.unlisten(listener)


async def test_a_flag_that_cannot_be_written_is_no_reason_to_end() -> None:
    shell, store, _ = a_shell(1, 1)
    store.full = True
    async with running(shell):
        watcher = shell.watch("", 0)
        await until(shell, watcher, lambda status: status.authority.quorate)
        assert store.marked == 1


async def test_nothing_is_said_before_the_disk_has_it() -> None:
    shell, disk, _ = a_shell(1, 1)
    disk.may_write.clear()
    watcher = shell.watch("", 0)
    async with running(shell):
        for _ in range(20):  # the loop turns, the disk does not
            await asyncio.sleep(0)
        assert not disk.kept
        said = [watcher.updates.get_nowait() for _ in range(watcher.updates.qsize())]
        assert all(members(status) == [] for status in said)
        disk.may_write.set()
        status = await until(shell, watcher, lambda s: s.authority.quorate)
        assert members(status) == ["n1"]
        assert disk.kept[0].promised == status.authority.view.id.counter


async def test_a_failed_disk_keeps_the_node_out() -> None:
    shell, disk, _ = a_shell(1, 1)
    disk.broken = True
    async with running(shell):
        with pytest.raises(Unavailable, match="disk"):
            await shell.set_quorum(
                CommittedQuorum(config=QuorumConfig(voters=((NodeId(1), 2),)), log_index=3)
            )
        assert members(shell.core.status(SystemClock().now_ns())) == []


async def test_bad_packets_are_counted_by_reason() -> None:
    shell, _, _ = a_shell(2, 2)
    good = a_datagram(50)
    for datagram in (b"", good[:-1], b"X" + good[1:], good[:60] + b"\xff" + good[61:], good, good):
        shell.taken(0, datagram, 1, "stranger")
    counted = {reason: count for reason, count in shell.figures.dropped.items() if count}
    assert counted == {"bad_length": 2, "bad_magic": 1, "bad_tag": 1, "replayed": 1}
    assert shell.core.detector.peers[1].links[0].duplicates == 1
    for _, handle in shell._timers.values():
        handle.cancel()


async def test_a_watcher_that_does_not_read_is_told() -> None:
    shell, _, _ = a_shell(1, 2)
    watcher = shell.watch("", 0)
    for _ in range(WATCH_QUEUE + 1):
        shell.republish()
    with pytest.raises(ResourceExhausted):
        await shell.next_update(watcher)
    shell.unwatch(watcher)
    for _, handle in shell._timers.values():
        handle.cancel()
