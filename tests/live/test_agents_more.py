"""IPsrcaddr, Route, Process, Container and ping: what they refuse, leave behind, and find out."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.agents_ground import DOORS, Ground, Resource, needs_root
from tests.live.test_agents_ipaddr import Pair, an_address
from tests.live.test_agents_ocf import PODMAN, Answering

pytestmark = [pytest.mark.netns, pytest.mark.skipif(bool(needs_root()), reason=needs_root() or "root")]

MONITOR = {"OCF_RESKEY_CRM_meta_interval": "10000"}


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Ground() as node, Ground() as neighbour:
        one = Pair(node, neighbour)
        node.sh("ip route add default via 10.77.1.2; ip -6 route add default via fd77::2")
        yield one


def resource(pair: Pair, agent: str, folder: Path, door: str = "sdk", **parameters: str) -> Resource:
    return Resource(ground=pair.node, kind=agent, folder=folder, parameters=parameters, door=door)


def source_of(pair: Pair, address: str) -> str:
    (route,) = json.loads(pair.node.sh(f"ip -j route get {address}"))
    return str(route["prefsrc"])


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("address", "far"), [("10.77.1.50", "192.0.2.1"), ("fd77::50", "2001:db8::1")])
def test_packets_leave_with_the_source_address(
    pair: Pair, tmp_path: Path, address: str, far: str, door: str
) -> None:
    family = "-6" if ":" in address else "-4"
    before = pair.node.sh(f"ip {family} route show default")
    vip = an_address(pair, tmp_path, address)
    source = resource(pair, "IPsrcaddr", tmp_path, door, ipaddress=address)
    assert source.rc("start") == 1, "the address is not there"
    assert vip.rc("start") == 0
    assert [source.rc(action) for action in ("monitor", "start", "start", "monitor")] == [7, 0, 0, 0]
    assert source_of(pair, far) == address
    assert [source.rc(action) for action in ("stop", "stop", "monitor")] == [0, 0, 7]
    assert pair.node.sh(f"ip {family} route show default") == before, "without a source: the kernel's choice"
    assert vip.rc("stop") == 0


def test_the_default_route_survives_its_source_address(pair: Pair, tmp_path: Path) -> None:
    """The kernel drops routes together with the address they prefer: stop brings the route back."""
    vip = an_address(pair, tmp_path, "10.77.1.50")
    source = resource(pair, "IPsrcaddr", tmp_path, ipaddress="10.77.1.50")
    assert [vip.rc("start"), source.rc("start"), vip.rc("stop")] == [0, 0, 0]
    assert pair.node.sh("ip route show default") == ""
    assert source.rc("monitor", **MONITOR) == 7
    assert source.rc("stop") == 0
    assert "via 10.77.1.2" in pair.node.sh("ip route show default")


@pytest.mark.parametrize("door", DOORS)
def test_routes(pair: Pair, tmp_path: Path, door: str) -> None:
    route = resource(pair, "Route", tmp_path, door, destination="10.99.0.0/16", gateway="10.77.1.2")
    assert [route.rc(action) for action in ("monitor", "start", "start", "monitor")] == [7, 0, 0, 0]
    assert "via 10.77.1.2" in pair.node.sh("ip route show 10.99.0.0/16")
    pair.node.sh("ip route replace 10.99.0.0/16 via 10.77.1.3")
    assert route.rc("monitor", **MONITOR) == 7, "it leads elsewhere"
    assert route.rc("stop") == 0
    assert "via 10.77.1.3" in pair.node.sh("ip route show 10.99.0.0/16"), "another's is left alone"
    black = resource(pair, "Route", tmp_path, door, destination="10.98.0.0/16", kind="blackhole")
    assert [black.rc(action) for action in ("start", "monitor", "stop", "monitor")] == [0, 0, 0, 7]
    six = resource(pair, "Route", tmp_path, door, destination="fd99::/64", gateway="fd77::2", device="node0")
    assert [six.rc(action) for action in ("start", "monitor", "stop", "monitor")] == [0, 0, 0, 7]
    unreachable = resource(pair, "Route", tmp_path, door, destination="10.97.0.0/16", gateway="192.0.2.9")
    started = unreachable("start")
    assert started.rc == 1
    assert "ocf-exit-reason:ip -4 route replace" in started.stderr
    assert resource(pair, "Route", tmp_path, door, destination="10.97.0.0/16").rc("start") == 6


def test_a_program(pair: Pair, tmp_path: Path) -> None:
    script = tmp_path / "program"
    script.write_text(
        '#!/bin/sh\ntrap "echo asked >>$0.log; exit 0" USR1\nsleep 1000 & while :; do wait; done\n'
    )
    script.chmod(0o755)
    program = resource(
        pair, "Process", tmp_path, binfile=str(script), stop_signal="SIGUSR1", workdir=str(tmp_path)
    )
    assert [program.rc(action) for action in ("start", "start", "monitor")] == [0, 0, 0]
    pid = int((tmp_path / "rsctmp/Process-test-Process.pid").read_text().split()[0])
    assert Path(f"/proc/{pid}/cwd").resolve() == tmp_path.resolve()
    assert program.rc("stop") == 0
    assert (tmp_path / "program.log").read_text() == "asked\n"
    assert program.rc("monitor") == 7
    assert program.rc("start") == 0
    pid = int((tmp_path / "rsctmp/Process-test-Process.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    died = program("monitor", **MONITOR)
    assert died.rc == 1, "its child lives on: a restart in place would find it"
    assert "left processes" in died.stderr
    assert [program.rc("stop"), program.rc("monitor")] == [0, 7]


def test_a_program_that_ends_at_once_or_is_not_well(pair: Pair, tmp_path: Path) -> None:
    ends = resource(pair, "Process", tmp_path, binfile="/bin/sh", cmdline_options="-c 'echo no room; exit 3'")
    started = ends("start")
    assert started.rc == 1
    assert "has ended at once: no room" in started.stderr
    flag = tmp_path / "well"
    flag.touch()
    program = resource(
        pair,
        "Process",
        tmp_path,
        binfile="/bin/sleep",
        cmdline_options="1000",
        monitor_hook=f"test -e {flag}",
        environment="COLOUR=red",
    )
    assert [program.rc("start"), program.rc("monitor", **MONITOR)] == [0, 0]
    flag.unlink()
    assert program.rc("monitor", **MONITOR) == 1
    assert program.rc("monitor") == 0, "a probe asks whether it runs"
    pid = int((tmp_path / "rsctmp/Process-test-Process.pid").read_text().split()[0])
    environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert b"COLOUR=red" in environ
    assert not [one for one in environ if one.startswith(b"OCF_RESKEY_CRM")]
    assert program.rc("stop") == 0
    missing = resource(pair, "Process", tmp_path, binfile="/no/such/program")
    assert [missing.rc("start"), missing.rc("monitor"), missing.rc("stop")] == [5, 7, 0]
    nobody = resource(pair, "Process", tmp_path, binfile="/bin/sleep", cmdline_options="1000", user="nobody")
    assert nobody.rc("start") == 0
    pid = int((tmp_path / "rsctmp/Process-test-Process.pid").read_text().split()[0])
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert nobody.rc("stop") == 0


def test_a_container(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "podman").write_text(PODMAN)
    (tmp_path / "podman").chmod(0o755)
    web = resource(pair, "Container", tmp_path, image="web", name="web1", monitor_cmd="curl localhost")
    assert [web.rc(action) for action in ("monitor", "start", "monitor")] == [7, 0, 0]
    (tmp_path / "exec-code").write_text("4")
    assert web.rc("monitor", **MONITOR) == 1
    (tmp_path / "exec-code").unlink()
    (tmp_path / "containers/web1").write_text("exited")
    assert web.rc("monitor", **MONITOR) == 7
    assert [web.rc("start"), web.rc("stop"), web.rc("stop")] == [0, 0, 0]
    assert not (tmp_path / "containers/web1").exists(), "the next start begins from the image"
    healthy = resource(pair, "Container", tmp_path, image="web", name="web2")
    assert healthy.rc("start") == 0
    (tmp_path / "health").write_text("unhealthy")
    assert healthy.rc("monitor", **MONITOR) == 1
    assert healthy.rc("stop") == 0
    missing = resource(pair, "Container", tmp_path, image="other")
    assert missing.rc("start") == 5
    docker = resource(pair, "Container", tmp_path, image="web", engine="docker")
    assert [docker.rc("start"), docker.rc("monitor"), docker.rc("stop")] == [5, 7, 0]


def test_ping_counts_who_answers(pair: Pair, tmp_path: Path) -> None:
    pair.node.sh("ip link set lo up")
    hosts = "10.77.1.2 fd77::2 10.77.1.99 no.such.host.invalid"
    ping = resource(
        pair,
        "ping",
        tmp_path,
        host_list=hosts,
        multiplier="100",
        timeout="300ms",
        dampen="1s",
        failure_score="200",
    )
    with Answering(tmp_path / "agent.sock") as crm:
        began = time.monotonic()
        started = ping("start")
        assert started.rc == 0, started.stderr
        assert time.monotonic() - began < 5, "all are asked at once"
        assert "10.77.1.99 does not answer" in started.stderr
        request = crm.requests[-1]
        assert (request["name"], request["value"], request["dampen_ms"]) == ("pingd", "200", 1_000)
        pair.neighbour.sh("ip address del 10.77.1.2/24 dev neigh0")
        failed = ping("monitor", **MONITOR)
        assert failed.rc == 1
        assert "pingd is 100, below 200" in failed.stderr
        assert ping.rc("stop") == 0
        assert crm.requests[-1]["command"] == "delete"
        assert ping.rc("monitor") == 7


def test_neighbours_are_told_again_after_a_heal(pair: Pair, tmp_path: Path) -> None:
    vip = an_address(pair, tmp_path, "10.77.1.50", arp_count="1")
    assert vip.rc("start") == 0
    quiet = pair.capture(0x0806, 1.0)
    assert vip.rc("monitor", **MONITOR) == 0
    out, _ = quiet.communicate(timeout=20)
    assert not [line for line in out.splitlines() if "0a4d0132" in line], "nothing has happened"
    pair.neighbour.sh("ip link set neigh0 down")
    assert vip.rc("monitor", **MONITOR) == 0, "the address is still the kernel's"
    pair.neighbour.sh("ip link set neigh0 up")
    deadline = time.monotonic() + 10
    while "LOWER_UP" not in pair.node.sh("ip -o link show node0"):
        assert time.monotonic() < deadline
    capture = pair.capture(0x0806, 2.0)
    healed = vip("monitor", **MONITOR)
    assert healed.rc == 0
    assert "carrier back" in healed.stderr
    out, _ = capture.communicate(timeout=20)
    assert [line for line in out.splitlines() if "0a4d0132" in line], "a gratuitous ARP of 10.77.1.50"
    assert vip.rc("stop") == 0
