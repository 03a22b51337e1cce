"""ocf:hacluster:IPaddr on a real link: the kernel's table, and what a neighbour sees on the cable."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.agents_ground import DOORS, Ground, Resource, needs_root

pytestmark = [pytest.mark.netns, pytest.mark.skipif(bool(needs_root()), reason=needs_root() or "root")]

# Prints each frame of one type that arrives: milliseconds, destination, source, payload.
CAPTURE = """
import socket, sys, time
ethertype, seconds = int(sys.argv[1]), float(sys.argv[2])
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype)) as s:
    s.bind(("neigh0", ethertype))
    s.settimeout(0.05)
    print("ready", flush=True)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            frame, address = s.recvfrom(2048)
        except TimeoutError:
            continue
        if address[2] != socket.PACKET_OUTGOING:
            print(time.time_ns() // 1000000, frame[:6].hex(), frame[6:12].hex(), frame[14:].hex(), flush=True)
"""


class Frame:
    def __init__(self, line: str) -> None:
        at_ms, destination, source, payload = line.split()
        self.at_ms, self.destination, self.source = int(at_ms), destination, source
        self.payload = bytes.fromhex(payload)


class Pair:
    """A node with the interface node0, and a neighbour with neigh0."""

    def __init__(self, node: Ground, neighbour: Ground) -> None:
        self.node, self.neighbour = node, neighbour
        node.sh(f"ip link add node0 type veth peer name neigh0 netns {neighbour.pid}")
        for ground, name, last in ((node, "node0", 1), (neighbour, "neigh0", 2)):
            ground.sh(f"ip link set {name} up; ip address add 10.77.1.{last}/24 dev {name}")
            ground.sh(f"ip address add fd77::{last}/64 dev {name} nodad")

    def addresses(self) -> dict[str, dict[str, object]]:
        links = json.loads(self.node.sh("ip -j address show"))
        return {
            str(one["local"]): {**one, "nic": link["ifname"]} for link in links for one in link["addr_info"]
        }

    def mac(self) -> str:
        (link,) = json.loads(self.node.sh("ip -j link show node0"))
        return str(link["address"])

    def capture(self, ethertype: int, seconds: float) -> subprocess.Popen[str]:
        process = self.neighbour.spawn(sys.executable, "-c", CAPTURE, str(ethertype), str(seconds))
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Ground() as node, Ground() as neighbour:
        yield Pair(node, neighbour)


def an_address(pair: Pair, folder: Path, ip: str, *, door: str = "executable", **parameters: str) -> Resource:
    return Resource(
        ground=pair.node, kind="IPaddr", folder=folder, parameters={"ip": ip, **parameters}, door=door
    )


def frames_of(process: subprocess.Popen[str]) -> list[Frame]:
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    return [Frame(line) for line in out.splitlines()]


@pytest.mark.parametrize("door", DOORS)
def test_by_route(pair: Pair, tmp_path: Path, door: str) -> None:
    resource = an_address(pair, tmp_path, "10.77.1.50", door=door, iflabel="vip")
    assert resource.rc("start") == 0
    found = pair.addresses()["10.77.1.50"]
    assert (found["nic"], found["prefixlen"], found["broadcast"]) == ("node0", 24, "10.77.1.255")
    assert found["label"] == "node0:vip"
    pair.neighbour.sh("ping -c 1 -W 2 10.77.1.50")
    assert resource.rc("monitor", OCF_CHECK_LEVEL="10") == 0
    assert resource.rc("stop") == 0
    assert "10.77.1.50" not in pair.addresses()


def test_gratuitous_arp_is_seen_by_the_neighbour(pair: Pair, tmp_path: Path) -> None:
    mac = pair.mac().replace(":", "")
    capture = pair.capture(0x0806, 1.5)
    began = time.monotonic()
    started = an_address(pair, tmp_path, "10.77.1.51", arp_count="4", arp_interval="100").rc("start")
    took_s = time.monotonic() - began
    ended_ms = time.time_ns() // 1_000_000
    frames = [frame for frame in frames_of(capture) if frame.source == mac]
    assert started == 0
    assert took_s < 0.29, "start must not wait for the announcements"
    vip = ipaddress.ip_address("10.77.1.51").packed
    assert len(frames) == 8
    for number, frame in enumerate(frames):
        assert frame.destination == "ff" * 6
        assert int.from_bytes(frame.payload[6:8], "big") == number % 2 + 1, "request and reply in turn"
        assert frame.payload[8:14].hex() == mac
        assert frame.payload[14:18] == vip == frame.payload[24:28]
    assert frames[0].at_ms <= ended_ms, "the first is out before start has ended"
    gaps = [later.at_ms - sooner.at_ms for sooner, later in zip(frames[::2], frames[2::2], strict=False)]
    assert all(80 <= gap <= 250 for gap in gaps), gaps


def test_a_neighbour_that_knew_the_old_node_learns_at_once(pair: Pair, tmp_path: Path) -> None:
    pair.neighbour.sh("echo 0 >/proc/sys/net/ipv4/neigh/neigh0/locktime")
    pair.neighbour.sh("ip neighbour replace 10.77.1.52 lladdr 02:00:00:00:00:99 dev neigh0 nud reachable")
    assert an_address(pair, tmp_path, "10.77.1.52", arp_count="1").rc("start") == 0
    assert pair.mac() in pair.neighbour.sh("ip neighbour show 10.77.1.52")


def test_announcements_end_with_the_address(pair: Pair, tmp_path: Path) -> None:
    resource = an_address(pair, tmp_path, "10.77.1.53", arp_count="100", arp_interval="50")
    assert resource.rc("start") == 0
    assert resource.rc("stop") == 0
    pair.node.sh("sleep 0.1")
    capture = pair.capture(0x0806, 0.4)
    vip = ipaddress.ip_address("10.77.1.53").packed
    assert [frame for frame in frames_of(capture) if frame.payload[14:18] == vip] == []


def test_ipv6_without_waiting_and_its_advertisement(pair: Pair, tmp_path: Path) -> None:
    mac = pair.mac().replace(":", "")
    capture = pair.capture(0x86DD, 1.0)
    resource = an_address(pair, tmp_path, "fd77::50", arp_count="2", arp_interval="100")
    began = time.monotonic()
    assert resource.rc("start") == 0
    assert time.monotonic() - began < 0.5
    found = pair.addresses()["fd77::50"]
    assert (found["nic"], found["prefixlen"]) == ("node0", 64)
    assert "tentative" not in found
    advertised = [
        frame for frame in frames_of(capture) if frame.payload[6] == 58 and frame.payload[40] == 136
        and frame.payload[48:64] == ipaddress.ip_address("fd77::50").packed
    ]  # fmt: skip
    assert len(advertised) == 2
    assert advertised[0].payload[7] == 255, "hop limit"
    assert advertised[0].payload[44] & 0xE0 == 0x20, "override, neither solicited nor router"
    assert advertised[0].payload[66:72].hex() == mac
    assert [resource.rc(action) for action in ("monitor", "stop", "monitor")] == [0, 0, 7]


def test_duplicate_address_is_found_where_asked_for(pair: Pair, tmp_path: Path) -> None:
    pair.neighbour.sh("ip address add fd77::60/64 dev neigh0 nodad")
    resource = an_address(pair, tmp_path, "fd77::60", nodad="false")
    started = resource("start")
    assert started.rc == 1
    assert "another machine has fd77::60" in started.stderr
    assert "fd77::60" not in pair.addresses()
    assert an_address(pair, tmp_path, "fd77::61", nodad="false").rc("start") == 0


def test_nic_and_netmask_as_given(pair: Pair, tmp_path: Path) -> None:
    resource = an_address(pair, tmp_path, "192.0.2.7", nic="node0", cidr_netmask="255.255.255.240")
    pair.node.sh("ip link set node0 down")
    assert resource.rc("start") == 0, "start brings the interface up"
    found = pair.addresses()["192.0.2.7"]
    assert (found["nic"], found["prefixlen"], found["broadcast"]) == ("node0", 28, "192.0.2.15")
    pair.node.sh("ip link set node0 down")
    down = resource("monitor")
    assert down.rc == 1
    assert "is down" in down.stderr
    assert resource.rc("stop") == 0
    alone = an_address(pair, tmp_path, "192.0.2.8", nic="node0")
    assert alone.rc("start") == 0
    assert pair.addresses()["192.0.2.8"]["prefixlen"] == 32


def test_reasons_for_failure(pair: Pair, tmp_path: Path) -> None:
    no_route = an_address(pair, tmp_path, "192.0.2.1")("start")
    assert (no_route.rc, "no interface has a route" in no_route.stderr) == (1, True)
    no_nic = an_address(pair, tmp_path, "10.77.1.9", nic="none0")
    assert [no_nic.rc(action) for action in ("start", "monitor", "stop")] == [5, 7, 0]
    for wrong in (
        {"ip": "10.77.1"},
        {"ip": "224.0.0.1"},
        {"ip": "fe80::1"},
        {"cidr_netmask": "33"},
        {"cidr_netmask": "255.0.255.0"},
        {"broadcast": "x"},
        {"preferred_lft": "soon"},
    ):
        resource = an_address(pair, tmp_path, **{"ip": "10.77.1.9", **wrong})
        assert resource.rc("start") == 6, wrong


def test_carrier_counts_at_level_10(pair: Pair, tmp_path: Path) -> None:
    resource = an_address(pair, tmp_path, "10.77.1.54")
    assert resource.rc("start") == 0
    pair.neighbour.sh("ip link set neigh0 down")
    assert resource.rc("monitor") == 0
    assert resource.rc("monitor", OCF_CHECK_LEVEL="10") == 1


def test_other_addresses_of_the_network_stay(pair: Pair, tmp_path: Path) -> None:
    pair.node.sh("ip address flush dev node0; echo 0 >/proc/sys/net/ipv4/conf/node0/promote_secondaries")
    first = an_address(pair, tmp_path, "10.77.1.55", nic="node0", cidr_netmask="24")
    second = an_address(pair, tmp_path, "10.77.1.56")
    assert [first.rc("start"), second.rc("start"), first.rc("stop")] == [0, 0, 0]
    assert second.rc("monitor") == 0


def test_in_a_user_namespace(tmp_path: Path) -> None:
    """Without any privilege outside: root of a user namespace is enough."""
    agent = tmp_path / "try.sh"
    agent.write_text(
        "set -e; ip link add u0 type veth peer name u1; ip link set u0 up; ip link set u1 up; "
        "ip address add 10.77.2.1/24 dev u0; for action in start monitor stop; do "
        f'"{sys.executable}" -m agents IPaddr $action; done'
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "sh", str(agent)],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OCF_RESKEY_ip": "10.77.2.9"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "were not told" not in done.stderr
