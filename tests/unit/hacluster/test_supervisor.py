"""The supervisor's process with three small services in the daemons' places."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow

# A service that answers any health call on its socket, in the standard library only.
SERVICE = """
import os, pathlib, signal, socket, struct, sys, threading
name = pathlib.Path(__file__).stem
root = pathlib.Path(sys.argv[sys.argv.index("--root") + 1])
base = root / "run/hacluster"
base.mkdir(parents=True, exist_ok=True)
with open(root / "story", "a") as story:
    print("start", name, os.getpid(), file=story)
if (root / f"refuse-{name}").exists():
    sys.exit(6)
def stop(*_):
    with open(root / "story", "a") as story:
        print("stop", name, os.getpid(), file=story)
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload
def serve(peer):
    data = peer.recv(24)
    stream = 1
    while data:
        data = peer.recv(65536)
        if b"Health/Check" in data:
            answer = frame(1, 4, stream, b"\\x88") + frame(0, 0, stream, b"\\0\\0\\0\\0\\2\\x08\\x01")
            peer.sendall(answer + frame(1, 5, stream, b""))
            stream += 2
path = base / f"{name}.sock"
path.unlink(missing_ok=True)
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(path))
listener.listen()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


class Supervised:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("lrm", "messaging", "crm"):
            (folder / f"{name}.py").write_text(SERVICE)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "hacluster.supervisor",
            "--root",
            ".",
            "--node",
            "n",
            "--log-format",
            "json",
        ]
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )

    def events(self) -> list[tuple[str, str]]:
        records = [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]
        return [(record["event"].removeprefix("supervisor."), record.get("daemon", "")) for record in records]

    def story(self) -> list[list[str]]:
        path = self.folder / "story"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def pid(self, name: str) -> int:
        return int([line[2] for line in self.story() if line[:2] == ["start", name]][-1])

    def wait_for(self, event: str, count: int, *, within_s: float = 20) -> None:
        end = time.monotonic() + within_s
        while [name for name, _ in self.events()].count(event) < count:
            assert time.monotonic() < end, self.events()
            time.sleep(0.02)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    node = Supervised(tmp_path)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait()
        for line in node.story():
            if line[0] == "start" and Path(f"/proc/{line[2]}").exists():
                os.kill(int(line[2]), signal.SIGKILL)


def test_restart_and_orderly_stop(supervised: Supervised) -> None:
    supervised.start()
    supervised.wait_for("service_ready", 3)
    os.kill(supervised.pid("messaging"), signal.SIGKILL)
    supervised.wait_for("service_ready", 4)
    assert ("service_died", "ha-messaging") in supervised.events()
    assert supervised.process is not None
    supervised.process.terminate()
    assert supervised.process.wait(20) == 0
    assert [line[1] for line in supervised.story() if line[0] == "stop"] == ["crm", "messaging", "lrm"]


def test_configuration_error(supervised: Supervised) -> None:
    (supervised.folder / "refuse-crm").touch()
    supervised.start()
    supervised.wait_for("service_ready", 2)
    supervised.wait_for("service_refuses_configuration", 1)
    assert [line[:2] for line in supervised.story()].count(["start", "crm"]) == 1
    assert supervised.process is not None
    supervised.process.terminate()
    assert supervised.process.wait(20) == 0


def test_first_process_of_a_namespace_takes_all_with_it(supervised: Supervised) -> None:
    """Also as an ordinary user: a subreaper's descendants are ended by it."""
    supervised.start()
    supervised.wait_for("service_ready", 3)
    pids = [supervised.pid(name) for name in ("lrm", "messaging", "crm")]
    os.kill(pids[0], signal.SIGSTOP)  # will not obey SIGTERM
    assert supervised.process is not None
    supervised.process.terminate()
    supervised.wait_for("stopping", 1)
    supervised.process.terminate()
    assert supervised.process.wait(20) == 1
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
