"""Our fence agents as processes: the interface, faults on demand, namespaces, QMP, a switch elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.catalog import Catalog, our_fence_folder, our_ocf_root
from agents.metadata import parse
from hacluster.vocabulary.agent import AgentName
from tests.ports import free_port


def run(agent: str, **options: str) -> tuple[int, str, str]:
    lines = "".join(f"{name}={value}\n" for name, value in options.items())
    done = subprocess.run(
        [str(our_fence_folder() / agent)],
        input=f"# a comment\n{lines}",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("agent", ["fence_netns", "fence_qemu", "fence_qdisk"])
def test_meta_data_and_the_catalog(agent: str) -> None:
    code, out, _ = run(agent, action="metadata")
    assert code == 0
    metadata = parse(out, agent)
    assert metadata.name == agent
    assert {action.name for action in metadata.actions} >= {
        "on",
        "off",
        "reboot",
        "status",
        "list",
        "monitor",
    }
    assert metadata.parameter("plug") is not None
    catalog = Catalog(ours=our_ocf_root(), fence_folder=Path("/nonexistent"))
    assert catalog.resolve(AgentName("stonith", "", agent)).path == str(our_fence_folder() / agent)
    assert AgentName("stonith", "", agent) in catalog.list("stonith")


def test_what_is_wrong_is_said() -> None:
    assert run("fence_netns", action="explode", plug="x")[0] == 1
    code, _, err = run("fence_netns", action="off")
    assert code == 1
    assert "needs a plug" in err
    assert "ignored: colour" in run("fence_netns", action="monitor", colour="red")[2]
    assert run("fence_netns", action="off", plug="../x")[0] == 1


def test_faults_on_demand(tmp_path: Path) -> None:
    state, log = tmp_path / "state", tmp_path / "log"
    options = {"plug": "agents-none", "statefile": str(state), "log": str(log)}
    codes = [run("fence_netns", action="off", fail="2", **options)[0] for _ in range(3)]
    assert codes == [1, 1, 0], "it fails twice, then works"
    assert [line.split()[1:] for line in log.read_text().splitlines()] == [
        ["off", "agents-none", "1"],
        ["off", "agents-none", "1"],
        ["off", "agents-none", "0"],
    ]
    began = time.monotonic()
    assert run("fence_netns", action="off", plug="agents-none", delay="0.3")[0] == 0
    assert time.monotonic() - began >= 0.3
    assert run("fence_netns", action="on", plug="agents-none", lie="yes")[0] == 0
    assert run("fence_netns", action="on", plug="agents-none")[0] == 1
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(
            [str(our_fence_folder() / "fence_netns")],
            input="action=off\nplug=agents-none\nhang=off\n",
            text=True,
            timeout=1,
            check=False,
        )


@pytest.fixture
def namespace() -> Iterator[str]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and ip(8)")
    name = f"agents-fence-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode != 0:
        pytest.skip("network namespaces cannot be made here")
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def test_a_namespace_loses_power(namespace: str) -> None:
    prefix, plug = namespace.rsplit("-", 1)
    inside = [
        subprocess.Popen(["nsenter", f"--net=/run/netns/{namespace}", "sleep", "100"]) for _ in range(3)
    ]
    bystander = subprocess.Popen(["sleep", "100"])
    try:
        options = {"prefix": f"{prefix}-", "plug": plug}
        assert run("fence_netns", action="list", **options)[1].splitlines() == [f"{plug},"]
        deadline = time.monotonic() + 10
        while run("fence_netns", action="status", **options)[0] != 0:
            assert time.monotonic() < deadline
        assert run("fence_netns", action="off", **options)[0] == 0
        assert [process.wait(5) for process in inside] == [-9, -9, -9]
        assert bystander.poll() is None
        assert not Path(f"/run/netns/{namespace}").exists()
        assert run("fence_netns", action="status", **options)[0] == 2
        assert run("fence_netns", action="off", **options)[0] == 0, "it is off already"
    finally:
        for process in (*inside, bystander):
            process.kill()
            process.wait()


def serve(path: Path | str, talk: Callable[[socket.socket], None]) -> Callable[[], None]:
    """Answers each connection, to a path or to a port of 127.0.0.1, until the returned function is called."""
    listener = socket.socket(socket.AF_UNIX if isinstance(path, Path) else socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(str(path) if isinstance(path, Path) else ("127.0.0.1", int(path)))
    listener.listen()

    def loop() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                talk(connection)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()

    def stop() -> None:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        if isinstance(path, Path):
            path.unlink(missing_ok=True)

    return stop


def test_a_switch_behind_a_socket(tmp_path: Path) -> None:
    asked: list[str] = []
    answers = {"off": "ok", "status": "ok on", "list": "ok n1 n2", "on": "no such plug"}

    def talk(connection: socket.socket) -> None:
        line = connection.makefile(encoding="utf-8").readline().strip()
        asked.append(line)
        connection.sendall(answers[line.split()[0]].encode() + b"\n")

    stop = serve(tmp_path / "switch", talk)
    options = {"switch": str(tmp_path / "switch"), "plug": "n1"}
    assert run("fence_netns", action="off", **options)[0] == 0
    assert run("fence_netns", action="status", **options)[0] == 0
    code, _, err = run("fence_netns", action="on", **options)
    assert (code, "no such plug" in err) == (1, True)
    assert run("fence_netns", action="list", **options)[1] == "n1,\nn2,\n"
    code, _, err = run("fence_netns", action="reboot", **options)
    assert code == 0, "off has worked: that on failed is only said"
    assert "stays off" in err
    assert asked == ["off n1", "status n1", "on n1", "list", "off n1", "on n1"]
    stop()
    assert run("fence_netns", action="off", **options)[0] == 1, "no switch, no success"


class Machine:
    """QEMU's side of QMP."""

    def __init__(self, path: Path | str) -> None:
        self.commands: list[str] = []
        self.status = "running"
        self.refuses = False
        self.quit = threading.Event()
        self._stop = serve(path, self._talk)

    def _talk(self, connection: socket.socket) -> None:
        stream = connection.makefile("rw", encoding="utf-8")

        def send(message: object) -> None:
            stream.write(json.dumps(message) + "\n")
            stream.flush()

        try:
            send({"QMP": {"version": {}, "capabilities": []}})
            for line in stream:
                command = json.loads(line)["execute"]
                self.commands.append(command)
                send({"event": "STOP", "timestamp": {}})
                if command == "quit" and not self.refuses:
                    threading.Thread(target=self._stop, daemon=True).start()
                    return
                if self.refuses:
                    send({"error": {"class": "GenericError", "desc": "not now"}})
                else:
                    send({"return": {"status": self.status} if command == "query-status" else {}})
        except (BrokenPipeError, ConnectionResetError):
            return


def test_qemu(tmp_path: Path) -> None:
    started = tmp_path / "started"
    options = {"socket": f"{tmp_path}/%s.qmp", "plug": "vm1", "start": f"touch {started}.%s"}
    machine = Machine(tmp_path / "vm1.qmp")
    assert run("fence_qemu", action="list", **options)[1] == "vm1,\n"
    assert run("fence_qemu", action="status", **options)[0] == 0
    assert run("fence_qemu", action="reboot", **options)[0] == 0
    assert "system_reset" in machine.commands
    machine.status = "guest-panicked"
    assert run("fence_qemu", action="status", **options)[0] == 2
    machine.refuses = True
    code, _, err = run("fence_qemu", action="off", **options)
    assert (code, "not now" in err) == (1, True)
    machine.refuses = False
    assert run("fence_qemu", action="off", **options)[0] == 0
    assert machine.commands[-1] == "quit"
    for action in ("status", "off"):
        code, _, err = run("fence_qemu", action=action, **options)
        assert (code, "there is no socket" in err) == (1, True), (
            "it may run elsewhere, under this name or another"
        )
    trusting = {**options, "trust-absence": "true"}
    assert run("fence_qemu", action="status", **trusting)[0] == 2
    assert run("fence_qemu", action="off", **trusting)[0] == 0, "it is off already"
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(tmp_path / "vm1.qmp"))
    left.close()
    assert run("fence_qemu", action="off", **options)[0] == 0, "its process has ended, its socket is left"
    assert run("fence_qemu", action="on", **options)[0] == 0
    assert Path(f"{started}.vm1").exists()
    assert run("fence_qemu", action="off", socket=f"{tmp_path}/%s.qmp", plug="a/b")[0] == 1


def test_qemu_on_another_host() -> None:
    port = str(free_port())
    options = {"socket": f"tcp:127.0.0.1:{port}", "plug": "vm1"}
    machine = Machine(port)
    assert run("fence_qemu", action="status", **options)[0] == 0
    assert run("fence_qemu", action="off", **options)[0] == 0
    assert machine.commands[-1] == "quit"
    code, _, err = run("fence_qemu", action="off", **options)
    assert (code, "cannot be said" in err) == (1, True), "the port may be a wrong one"
    assert run("fence_qemu", action="off", **options, **{"trust-absence": "true"})[0] == 0
    assert run("fence_qemu", action="off", socket="tcp:nowhere", plug="vm1")[0] == 1
