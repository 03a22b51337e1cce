"""What an OCF tester asks of every agent, asked of each of ours through both of its doors."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.metadata import parse
from agents.resources import MODULES
from tests.live.agents_ground import DOORS, Ground, Resource, needs_root

pytestmark = [pytest.mark.netns, pytest.mark.skipif(bool(needs_root()), reason=needs_root() or "root")]

PORT = "8099"

ATTRIBUTES = {
    "Stateful": {"master-test-Stateful"},
    "Witness": {"master-test-Witness"},
    "HealthCPU": {"#health-cpu"},
    "ping": {"pingd"},
    "SysInfo": {
        *("arch", "os", "cpu_cores", "cpu_load", "ram_total", "ram_free", "free_swap"),
        *("root_free", "tmp_free", "#health_disk"),
    },
}

# Podman as far as the agent asks for it: a file for each container, with its state.
PODMAN = """#!/bin/sh
state="$(dirname "$0")/containers"; mkdir -p "$state"
for last; do :; done
case "$1" in
    image) [ "$3" = web ] || exit 1 ;;
    run) name=; for word; do case "$word" in --name=*) name="${word#--name=}" ;; esac; done
        echo running >"$state/$name" ;;
    start) echo running >"$state/$2" ;;
    stop|kill) echo exited >"$state/$last" ;;
    rm) rm -f "$state/$last" ;;
    exec) exit "$(cat "$state/../exec-code" 2>/dev/null || echo 0)" ;;
    logs) echo "last words" ;;
    inspect) [ -f "$state/$last" ] || { echo "Error: no such container $last" >&2; exit 125; }
        case "$*" in
            *json*) echo "{\\"Health\\": {\\"Status\\": \\"$(cat "$state/../health" 2>/dev/null)\\"}}" ;;
            *) cat "$state/$last" ;;
        esac ;;
    *) exit 125 ;;
esac
"""


class Answering:
    """ha-crm's end of the agents' socket: says yes to everything, for agents that set their scores."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[dict[str, object]] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Answering:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.requests.append(json.loads(await reader.readline()))
            writer.write(b'{"ok": true}\n')
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async def listen() -> asyncio.Server:
            return await asyncio.start_unix_server(answer, self.path)

        server = self._loop.run_until_complete(listen())
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(server.wait_closed())


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with Ground() as one:
        one.sh("ip link add nodea0 type veth peer name nodeb0; ip link set nodea0 up; ip link set nodeb0 up")
        one.sh("ip address add 10.77.0.1/24 dev nodea0; ip address add 10.77.0.2/24 dev nodea0")
        one.sh("ip route add default via 10.77.0.254 dev nodea0")
        yield one


def parameters_of(kind: str, folder: Path) -> dict[str, str]:
    (folder / "docroot").mkdir(exist_ok=True)
    (folder / "podman").write_text(PODMAN)
    (folder / "podman").chmod(0o755)
    return {
        "Container": {"image": "web", "engine": "podman"},
        "Delay": {"startdelay": "10ms"},
        "Filesystem": {"device": "tmpfs", "fstype": "tmpfs", "directory": str(folder / "mnt")},
        "IPaddr": {"ip": "10.77.0.50"},
        "IPsrcaddr": {"ipaddress": "10.77.0.2"},
        "MailTo": {"email": "root", "smtp": "127.0.0.1:9"},
        "Process": {"binfile": "/bin/sleep", "cmdline_options": "1000"},
        "Route": {"destination": "10.88.0.0/16", "gateway": "10.77.0.9"},
        "SysInfo": {"min_disk_free": "1K", "disks": "/tmp"},
        "WebServer": {"docroot": str(folder / "docroot"), "port": PORT},
        "Witness": {"socket": str(folder / "observer.sock")},
        "ping": {"host_list": "127.0.0.1 ::1", "multiplier": "100", "timeout": "1s"},
    }.get(kind, {})


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", sorted(MODULES))
def test_life_of_a_resource(kind: str, door: str, ground: Ground, tmp_path: Path) -> None:
    resource = Resource(
        ground=ground, kind=kind, folder=tmp_path, parameters=parameters_of(kind, tmp_path), door=door
    )
    with Answering(tmp_path / "agent.sock") as crm:
        metadata = resource("meta-data")
        assert metadata.rc == 0
        assert parse(metadata.stdout, kind).name == kind
        assert resource.rc("validate-all") == 0
        assert resource.rc("validate-all", OCF_CHECK_LEVEL="10") == 0
        assert resource.rc("stop") == 0, "stop of what never ran"
        assert resource.rc("monitor") == 7
        started = resource("start")
        assert (started.rc, started.stdout) == (0, ""), started.stderr
        assert resource.rc("start") == 0, "start of what runs"
        assert resource.rc("monitor") == 0
        assert resource.rc("monitor", OCF_RESKEY_CRM_meta_interval="10000") == 0
        if parse(metadata.stdout, kind).promotable:
            assert [resource.rc(action) for action in ("promote", "promote", "monitor")] == [0, 0, 8]
            assert [resource.rc(action) for action in ("demote", "demote", "monitor")] == [0, 0, 0]
        assert resource.rc("stop") == 0
        assert resource.rc("stop") == 0
        assert resource.rc("monitor") == 7
        assert resource.rc("no-such-action") == 3
    names = {request.get("name") for request in crm.requests}
    assert names == ATTRIBUTES.get(kind, set())


@pytest.mark.parametrize(
    "kind",
    ["Container", "Filesystem", "IPaddr", "IPsrcaddr", "MailTo", "Process", "Route", "Witness", "ping"],
)
def test_without_its_required_parameters(kind: str, ground: Ground, tmp_path: Path) -> None:
    resource = Resource(ground=ground, kind=kind, folder=tmp_path, parameters={})
    started = resource("start")
    assert started.rc == 6
    assert started.stderr.startswith("ocf-exit-reason:parameter ")
    assert [resource.rc(action) for action in ("validate-all", "monitor", "stop")] == [6, 7, 0]
