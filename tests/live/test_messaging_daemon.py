"""ha-messaging's daemon over loopback addresses: its service, a restart, new keys, what stops its start."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from hacluster import rpc
from hacluster.errors import HaError
from hacluster.paths import Paths
from hacluster.supervision import EXIT_CONFIG
from hacluster.v1 import membership_pb2, membership_pb2_grpc

pytestmark = pytest.mark.netns

ROOT = Path(__file__).resolve().parents[2]
KEY = "auth 1\n1 sha256 0123456789abcdef0123456789abcdef\n"
TOML = """\
[cluster]
name = "loop"
id = "9f86d081884c7d659a2feaa0c55ad015"
[timers]
keepalive = "100ms"
warntime = "400ms"
deadtime = "1500ms"
initdead = "3s"
[[link]]
kind = "udp"
port = {port}
[[link]]
kind = "ping"
targets = ["127.0.0.1"]
"""
NODE = '[[node]]\nid = {number}\nname = "n{number}"\naddresses = ["127.0.92.{number}"]\n'

Status = membership_pb2.MessagingStatus


class Host:
    """One node: a root of its own, an address of its own."""

    def __init__(self, folder: Path, number: int, toml: str) -> None:
        self.name = f"n{number}"
        self.paths = Paths(folder / self.name)
        self.paths.etc.mkdir(parents=True)
        self.paths.cluster_toml.write_text(toml)
        self.key(KEY)
        self.process: subprocess.Popen[bytes] | None = None
        self.waited: dict[int, float] = {}
        self.log = folder / f"{self.name}.log"

    def key(self, text: str, mode: int = 0o600) -> None:
        self.paths.authkeys.write_text(text)
        self.paths.authkeys.chmod(mode)

    def start(self) -> None:
        command = [sys.executable, "-m", "messaging", "--root", str(self.paths.root), "--node", self.name]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=log, stdout=log)

    def waited_s(self) -> float:
        """For how long it could have run and other programs had the processors, since the last call."""
        assert self.process is not None
        pid = self.process.pid
        waited_s = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
        before, self.waited[pid] = self.waited.get(pid, 0.0), waited_s
        return waited_s - before

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.send(number)
        code = self.process.wait(10)
        self.process = None
        return code

    async def ask(self, method: str, request: object) -> object:
        channel = rpc.unix_channel(self.paths.messaging_socket)
        try:
            stub = membership_pb2_grpc.MembershipStub(channel)
            return await rpc.call(getattr(stub, method), request, timeout_ms=2_000, who=self.name)
        finally:
            await channel.close()

    async def status(self) -> Status:
        answer = await self.ask("Status", membership_pb2.MessagingStatusRequest())
        assert isinstance(answer, Status)
        return answer

    async def members(self) -> dict[str, int]:
        try:
            view = (await self.status()).authority.view
        except HaError:
            return {}
        return {member.name: member.incarnation for member in view.members}

    async def until(self, holds: Callable[[Status], bool], within_s: float = 8.0) -> Status:
        end = time.monotonic() + within_s
        while True:
            try:
                status = await self.status()
                if holds(status):
                    return status
            except HaError:
                status = Status()
            assert time.monotonic() < end, (
                f"not within {within_s} s: {status}\n{self.log.read_text()[-3_000:]}"
            )
            await asyncio.sleep(0.02)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.92.1", 0))
        toml = TOML.format(port=probe.getsockname()[1])
    toml += "".join(NODE.format(number=number) for number in (1, 2))
    pair = [Host(tmp_path, number, toml) for number in (1, 2)]
    yield pair
    for host in pair:
        if host.process is not None:
            host.process.kill()
            host.process.wait(10)


@pytest.fixture
async def running(hosts: list[Host]) -> list[Host]:
    for host in hosts:
        host.start()
    for host in hosts:
        await host.until(lambda s: len(s.authority.view.members) == 2 and s.authority.quorate)
    return hosts


async def test_a_killed_daemon_is_back_within_a_second_and_nobody_was_lost(running: list[Host]) -> None:
    one, two = running
    seen: list[set[str]] = []

    async def watch() -> None:
        channel = rpc.unix_channel(one.paths.messaging_socket)
        try:
            stub = membership_pb2_grpc.MembershipStub(channel)
            async for update in stub.Watch(membership_pb2.WatchRequest(), timeout=20):
                seen.append({member.name for member in update.view.members})  # noqa: PERF401
        except grpc.aio.AioRpcError:
            pass
        finally:
            await channel.close()

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.1)
    two.end(signal.SIGKILL)
    one.waited_s()
    began = time.monotonic()
    two.start()
    status = await one.until(
        lambda s: {m.name: m.incarnation for m in s.authority.view.members} == {"n1": 1, "n2": 2}
    )
    took_s = time.monotonic() - began - one.waited_s() - two.waited_s()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    own = await two.until(lambda s: s.incarnation == 2)  # its gRPC comes after its heartbeats
    assert status.authority.view.members[1].boot_token == own.authority.nodes[1].boot_token
    assert seen
    assert all(members == {"n1", "n2"} for members in seen)
    assert took_s < 1.0, f"{took_s:.2f} s until the others have it in a view again"


async def test_daemons_that_watch_are_advertised_to_all(running: list[Host]) -> None:
    one, two = running
    channel = rpc.unix_channel(one.paths.messaging_socket)
    stub = membership_pb2_grpc.MembershipStub(channel)
    request = membership_pb2.WatchRequest(daemon=membership_pb2.WatchRequest.DAEMON_CRM, instance=77)
    call = stub.Watch(request, timeout=20)
    first = await call.read()
    assert isinstance(first, membership_pb2.AuthorityUpdate)
    assert [member.name for member in first.view.members] == ["n1", "n2"]
    await two.until(lambda s: s.authority.view.members[0].crm_instance == 77)
    call.cancel()
    await two.until(lambda s: s.authority.view.members[0].crm_instance == 0)
    with pytest.raises(HaError):
        await _first(channel, membership_pb2.WatchRequest(daemon=membership_pb2.WatchRequest.DAEMON_CRM))
    await channel.close()
    status = await one.until(lambda s: s.authority.attributes.get("pingd") == "1")
    assert status.pings[0].alive


async def _first(channel: grpc.aio.Channel, request: membership_pb2.WatchRequest) -> object:
    try:
        async for update in membership_pb2_grpc.MembershipStub(channel).Watch(request, timeout=5):
            return update
    except grpc.aio.AioRpcError as error:
        raise rpc.error_of(error, who="n1") from None
    return None


async def test_a_committed_quorum_configuration_counts_and_survives(running: list[Host]) -> None:
    one, two = running
    voter = membership_pb2.QuorumConfig.Voter
    config = membership_pb2.QuorumConfig(
        voters=[voter(node_id=1, votes=3), voter(node_id=2, votes=1)], log_index=5
    )
    await one.ask("SetQuorumConfig", config)
    older = membership_pb2.QuorumConfig(voters=[voter(node_id=2, votes=9)], log_index=4)
    await one.ask("SetQuorumConfig", older)
    status = await one.status()
    assert [member.votes for member in status.authority.view.members] == [3, 1]
    with pytest.raises(rpc.RemoteFailure, match="voters"):
        await one.ask("SetQuorumConfig", membership_pb2.QuorumConfig(log_index=6))
    one.end(signal.SIGKILL)
    one.start()
    # The restarted one read it from its disk; the other learned it when it accepted the new view.
    for host in (one, two):
        await host.until(lambda s: [member.votes for member in s.authority.view.members] == [3, 1])
    two.end(signal.SIGKILL)
    await one.until(lambda s: len(s.authority.view.members) == 1 and s.authority.quorate)


async def test_leave_is_seen_at_once(running: list[Host]) -> None:
    one, two = running
    await two.ask("Leave", membership_pb2.LeaveRequest(clean=True))
    began = time.monotonic()
    status = await one.until(lambda s: [m.name for m in s.authority.view.members] == ["n1"])
    assert time.monotonic() - began < 1.0, "no deadtime has to pass"
    assert (status.authority.nodes[1].state, status.authority.nodes[1].clean_leave) == ("left", True)
    assert two.end() == 0


async def test_keys_are_rotated_without_a_gap(running: list[Host]) -> None:
    one, two = running
    view = (await one.status()).authority.view.id
    second = "2 sha256 fedcba9876543210fedcba9876543210\n"
    first = KEY.splitlines()[1] + "\n"
    for text in ("auth 1\n" + first + second, "auth 2\n" + first + second, "auth 2\n" + second):
        for host in (one, two):
            host.key(text)
            host.send(signal.SIGHUP)
            await asyncio.sleep(0.3)
    one.key("auth 9\n", 0o600)
    one.send(signal.SIGHUP)
    await asyncio.sleep(1.0)
    assert "messaging.keys_kept" in one.log.read_text()
    for host in (one, two):
        status = await host.status()
        assert status.authority.view.id == view, "nobody was lost on the way"
        assert sum(status.dropped.values()) == 0
        assert status.authority.nodes[0].state == status.authority.nodes[1].state == "member"


async def test_keys_that_a_member_cannot_verify_are_refused_by_name(running: list[Host]) -> None:
    one, _ = running
    first = KEY.splitlines()[1] + "\n"
    one.key("auth 2\n" + first + "2 sha256 fedcba9876543210fedcba9876543210\n")
    with pytest.raises(HaError, match="n2 does not list key 2"):
        await one.ask("ReloadKeys", membership_pb2.ReloadKeysRequest())
    status = await one.status()
    assert status.signing_key == 1
    assert [list(node.key_ids) for node in status.authority.nodes if node.name == "n2"] == [[1]]
    one.key(KEY)
    reply = await one.ask("ReloadKeys", membership_pb2.ReloadKeysRequest())
    assert isinstance(reply, membership_pb2.ReloadKeysReply)
    assert (reply.signing_key, list(reply.key_ids)) == (1, [1])


async def test_messages_reach_the_other_daemon(running: list[Host]) -> None:
    one, two = running
    channel = rpc.unix_channel(two.paths.messaging_socket)
    call = membership_pb2_grpc.MembershipStub(channel).Receive(membership_pb2.ReceiveRequest(topic="news"))
    heard = asyncio.create_task(call.read())
    long = bytes(range(256)) * 200
    async with asyncio.timeout(20):
        while not heard.done():  # the stream may be younger than the first message
            request = membership_pb2.SendRequest(topic="news", payload=long)
            await one.ask("Send", request)
            await asyncio.wait([heard], timeout=0.2)
    delivery = heard.result()
    assert isinstance(delivery, membership_pb2.Delivery)
    assert (delivery.sender, delivery.payload) == (1, long)
    call.cancel()
    await channel.close()
    status = await one.status()
    assert status.counters["data_sent"] >= 1


async def test_a_serial_link_carries_heartbeats(tmp_path: Path) -> None:
    """A null-modem cable of two ptys; the daemons' other link is the usual one."""
    (left, tty_left), (right, tty_right) = os.openpty(), os.openpty()
    stop = threading.Event()

    def relay(source: int, target: int) -> None:
        while not stop.is_set():
            if select.select([source], [], [], 0.1)[0]:
                os.write(target, os.read(source, 4_096))

    wires = [threading.Thread(target=relay, args=ends) for ends in ((left, right), (right, left))]
    for wire in wires:
        wire.start()
    try:
        hosts = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.92.1", 0))
            port = probe.getsockname()[1]
        for number, tty in ((1, tty_left), (2, tty_right)):
            serial = f'[[link]]\nkind = "serial"\ndevice = "{os.ttyname(tty)}"\nbaud = 115200\n'
            toml = TOML.format(port=port) + serial + "".join(NODE.format(number=n) for n in (1, 2))
            hosts.append(Host(tmp_path, number, toml))
        for host in hosts:
            host.start()
        try:
            for host in hosts:
                status = await host.until(
                    lambda s: [one.state for one in s.links if one.kind == "serial"] == ["up"]
                )
                assert len(status.links) == 2
        finally:
            for host in hosts:
                host.end()
    finally:
        stop.set()
        for wire in wires:
            wire.join()
        for descriptor in (left, right, tty_left, tty_right):
            os.close(descriptor)


async def test_a_third_node_comes_and_goes_while_two_run(running: list[Host], tmp_path: Path) -> None:
    one = running[0]
    view = (await one.status()).authority.view.id
    before = one.paths.cluster_toml.read_text()
    after = before + NODE.format(number=3)
    three = Host(tmp_path / "three", 3, after)
    three.start()
    try:
        for host in running:
            host.paths.cluster_toml.write_text(after)
            reply = await host.ask("ReloadNodes", membership_pb2.ReloadNodesRequest())
            assert isinstance(reply, membership_pb2.ReloadNodesReply)
            assert list(reply.nodes) == ["n1", "n2", "n3"]
        status = await three.until(lambda s: len(s.authority.view.members) == 3)
        assert status.authority.view.id.counter == view.counter + 1, "nobody was lost on the way"
        one.paths.cluster_toml.write_text(before)
        with pytest.raises(HaError, match="n3 is still in the view: stop it first"):
            await one.ask("ReloadNodes", membership_pb2.ReloadNodesRequest())
        await three.ask("Leave", membership_pb2.LeaveRequest(clean=True))
        await one.until(lambda s: len(s.authority.view.members) == 2)
        for host in running:
            host.paths.cluster_toml.write_text(before)
            await host.ask("ReloadNodes", membership_pb2.ReloadNodesRequest())
        one.paths.cluster_toml.write_text(before.replace('"100ms"', '"120ms"'))
        with pytest.raises(HaError, match="timers"):
            await one.ask("ReloadNodes", membership_pb2.ReloadNodesRequest())
        await asyncio.sleep(2.0)
        status = await one.status()
        assert [node.state for node in status.authority.nodes] == ["member", "member"]
        assert status.authority.view.id.counter == view.counter + 2
    finally:
        three.end()


async def test_with_a_witness_one_of_two_goes_on(tmp_path: Path) -> None:
    """ha-qnet on a third address: the survivor has its vote; a restarted witness remembers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.92.1", 0))
        port = probe.getsockname()[1]
    toml = TOML.format(port=port) + f'[witness]\naddress = "127.0.92.9"\nport = {port}\n'
    hosts = [Host(tmp_path, n, toml + "".join(NODE.format(number=m) for m in (1, 2))) for n in (1, 2)]
    third = Paths(tmp_path / "third")
    third.etc.mkdir(parents=True)
    keyfile = third.etc / "loop.authkeys"
    keyfile.write_text(KEY)
    keyfile.chmod(0o600)
    (third.etc / "qnet.toml").write_text(
        f'address = "127.0.92.9"\nport = {port}\n[[cluster]]\nid = "9f86d081884c7d659a2feaa0c55ad015"\n'
        f'nodes = [1, 2]\nauthkeys = "{keyfile}"\n'
    )

    def qnet() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "messaging.witness", "--root", str(third.root), "--node", "w"]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    witness = qnet()
    try:
        for host in hosts:
            host.start()
        one, two = hosts
        await one.until(lambda s: len(s.authority.view.members) == 2 and s.witness.granted, 15)
        two.end(signal.SIGKILL)
        status = await one.until(lambda s: len(s.authority.view.members) == 1 and s.authority.quorate, 15)
        assert status.witness.granted
        witness.kill()
        witness.wait(10)
        await one.until(lambda s: not s.authority.quorate, 15)
        witness = qnet()
        await one.until(lambda s: s.authority.quorate, 15)
    finally:
        witness.kill()
        witness.wait(10)
        for host in hosts:
            if host.process is not None:
                host.end()


async def test_what_stops_the_start(hosts: list[Host]) -> None:
    one, two = hosts
    one.key(KEY, 0o644)
    one.start()
    assert one.process is not None
    assert one.process.wait(10) == EXIT_CONFIG
    assert f"chmod 600 {one.paths.authkeys}" in one.log.read_text()
    two.start()
    await two.until(lambda s: s.node == "n2")
    second = Host.__new__(Host)
    second.__dict__.update(two.__dict__)
    second.start()
    assert second.process is not None
    assert second.process.wait(10) == 1
    assert "another ha-messaging runs on this node" in two.log.read_text()
    assert two.paths.messaging_socket.exists()
