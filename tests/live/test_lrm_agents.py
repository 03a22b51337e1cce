"""Agents of Debian's resource-agents, unchanged, run by ha-lrm in a namespace of the test's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hacluster.vocabulary.operation import ExecutionStatus
from tests.live.lrm_node import LrmNode, until

AGENTS = Path("/usr/lib/ocf/resource.d/heartbeat")
NAMESPACE = "lrm-agents"

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not (AGENTS / "Dummy").exists(), reason="resource-agents is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="these agents need root"),
]


def command(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30).stdout


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"{NAMESPACE}-{os.getpid()}"
    command("ip", "netns", "add", name)
    command("ip", "-n", name, "link", "set", "lo", "up")
    command("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    command("ip", "-n", name, "addr", "add", "10.77.0.1/24", "dev", "eth0")
    for device in ("eth0", "eth1"):
        command("ip", "-n", name, "link", "set", device, "up")
    yield name
    command("ip", "netns", "delete", name)


@pytest.fixture
def root() -> Iterator[Path]:
    """Short, for the sockets' sake."""
    with tempfile.TemporaryDirectory(prefix="lrm-") as folder:
        yield Path(folder)


@pytest.fixture
async def networked(root: Path, namespace: str) -> AsyncIterator[LrmNode]:
    async with LrmNode(root, prefix=("nsenter", f"--net=/run/netns/{namespace}")) as node:
        await node.accept()
        yield node


@pytest.fixture
async def mounting(root: Path) -> AsyncIterator[LrmNode]:
    async with LrmNode(root, prefix=("unshare", "--mount", "--propagation", "private")) as node:
        await node.accept()
        yield node


async def life_of(node: LrmNode, resource: str, agent: str, **parameters: str) -> dict[str, int]:
    """Return codes of a start, monitors and a stop, each of them twice."""
    codes = {}
    for number, action in enumerate(("monitor", "start", "start", "monitor", "stop", "stop", "monitor")):
        result = await node.run(resource, action, agent, timeout_ms=30_000, **parameters)
        assert result.status == ExecutionStatus.DONE, result
        codes[f"{number} {action}"] = result.rc
    return codes


LIFE = {
    "0 monitor": 7,
    "1 start": 0,
    "2 start": 0,
    "3 monitor": 0,
    "4 stop": 0,
    "5 stop": 0,
    "6 monitor": 7,
}


@pytest.mark.parametrize("agent", ["ocf:heartbeat:Dummy", "ocf:hacluster:Dummy"])
async def test_dummies_are_alike(networked: LrmNode, agent: str) -> None:
    assert await life_of(networked, "d", agent) == LIFE


async def test_an_address_comes_and_goes(networked: LrmNode, namespace: str) -> None:
    await networked.run("ip", "start", "ocf:heartbeat:IPaddr2", ip="10.77.0.9", cidr_netmask="24")
    assert "10.77.0.9/24" in command("ip", "-n", namespace, "addr", "show", "dev", "eth0")
    await networked.run("ip", "stop", "ocf:heartbeat:IPaddr2", ip="10.77.0.9", cidr_netmask="24")
    assert "10.77.0.9" not in command("ip", "-n", namespace, "addr", "show")
    assert await life_of(networked, "ip", "ocf:heartbeat:IPaddr2", ip="10.77.0.9") == LIFE


async def test_announcing_an_address_does_not_delay_the_start(networked: LrmNode) -> None:
    """IPaddr2 leaves send_arp behind, which holds the agent's output open for as long as it announces."""
    parameters = {"ip": "10.77.0.9", "arp_count": "60", "arp_interval": "500"}
    result = await networked.run("ip", "start", "ocf:heartbeat:IPaddr2", **parameters)
    assert result.rc == 0
    assert result.executed_ms < 5_000, "30 seconds of announcements go on meanwhile"
    assert (await networked.run("ip", "stop", "ocf:heartbeat:IPaddr2", **parameters)).rc == 0


async def test_what_an_agent_says_of_itself_and_of_a_failure(networked: LrmNode) -> None:
    result = await networked.run("ip", "start", "ocf:heartbeat:IPaddr2", ip="not-an-address")
    assert result.status == ExecutionStatus.DONE
    assert result.rc == 6
    assert result.exit_reason


@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="mkfs.ext4 is not installed")
async def test_a_file_system_on_an_image(mounting: LrmNode, root: Path) -> None:
    image, folder = root / "image", root / "mnt"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    command("mkfs.ext4", "-q", str(image))
    parameters = {"device": str(image), "directory": str(folder), "fstype": "ext4", "options": "loop"}
    assert await life_of(mounting, "fs", "ocf:heartbeat:Filesystem", **parameters) == LIFE


async def test_a_bind_mount(mounting: LrmNode, root: Path) -> None:
    source, folder = root / "source", root / "mnt"
    source.mkdir()
    folder.mkdir()
    parameters = {"device": str(source), "directory": str(folder), "fstype": "none", "options": "bind"}
    assert await life_of(mounting, "fs", "ocf:heartbeat:Filesystem", **parameters) == LIFE


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
async def test_a_web_server(networked: LrmNode, root: Path, namespace: str) -> None:
    """start returns when it serves; the monitor finds the killed server; its leftovers go with the stop."""
    configuration = root / "nginx.conf"
    configuration.write_text(
        f"error_log {root}/error.log;\npid {root}/nginx.pid;\nworker_processes 1;\nevents {{\n}}\n"
        "http {\naccess_log off;\nserver {\nlisten 10.77.0.1:80;\nlocation / {\nreturn 200 here;\n}\n}\n}\n"
    )
    parameters = {"configfile": str(configuration), "status10url": "http://10.77.0.1/"}
    start = await networked.run("web", "start", "ocf:heartbeat:nginx", timeout_ms=30_000, **parameters)
    assert (start.status, start.rc) == (ExecutionStatus.DONE, 0), start
    page = command("ip", "netns", "exec", namespace, "curl", "-s", "http://10.77.0.1/")
    assert page == "here"
    call = await networked.execute(
        "web", "monitor", "ocf:heartbeat:nginx", interval_ms=300, parameters=parameters
    )
    assert (await networked.result(call.call_id)).rc == 0
    master = int((root / "nginx.pid").read_text())
    os.kill(master, 9)
    await until(
        lambda: "lrm.recurring_changed" in networked.log().rpartition(" rc=0 ")[2], "the monitor fails"
    )
    stop = await networked.run("web", "stop", "ocf:heartbeat:nginx", timeout_ms=30_000, **parameters)
    assert stop.rc == 0
    again = await networked.run("web", "start", "ocf:heartbeat:nginx", timeout_ms=10_000, **parameters)
    if "cgroups=true" in networked.log().lower():
        assert again.rc == 0, "the worker that kept the port was killed"
    await networked.run("web", "stop", "ocf:heartbeat:nginx", timeout_ms=30_000, **parameters)
