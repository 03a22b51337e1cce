"""Nodes on loopback addresses, each below a root folder of its own: real daemons without namespaces."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from hacluster.paths import Paths
from hacluster.v1 import crm_pb2
from tests.certificates import make
from tests.ports import loopback_net

SERVICES = ("lrm", "messaging", "crm")
ROOT = Path(__file__).parents[2]
UDP_PORT = 16_940

Reply = TypeVar("Reply", bound=Message)


class LocalNode:
    """One node: its root, its address, its three daemons."""

    def __init__(self, name: str, address: str, root: Path) -> None:
        self.name, self.address, self.root = name, address, root
        self.paths = Paths(root)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.modules: dict[str, str] = {}  # benchmarks run a service by a module of theirs
        self.environment: dict[str, str] = {}
        self.arguments: list[str] = []
        self._starts = 0

    def start(self, *services: str) -> None:
        """Start daemons (all three by default); their logs grow in ROOT/SERVICE.log."""
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        for service in services or SERVICES:
            with (self.root / f"{service}.log").open("ab") as log:
                self.processes[service] = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        self.modules.get(service, service),
                        "--root",
                        str(self.root),
                        "--node",
                        self.name,
                        *self.arguments,
                    ],
                    cwd=ROOT,
                    env={**os.environ, **self.environment, "PYTHONPATH": path},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def kill(self, *services: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to daemons and wait for their end."""
        for service in services or SERVICES:
            process = self.processes.pop(service, None)
            if process is not None:
                process.send_signal(number)
                process.wait(30)

    def power_cut(self) -> None:
        """Everything of the node ends at once, agents and all; its run folder is emptied as by a reboot."""
        self.kill()
        until(lambda: not self._killed(), 20, f"an end of all processes of {self.root}")
        for path in sorted((self.root / "run").glob("**/*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def _killed(self) -> int:
        """Kill what names the root in its words or its environment: so many, zombies have neither."""
        marker, killed = str(self.root).encode(), 0
        for number in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
            try:
                pidfd = os.pidfd_open(number)
            except OSError:
                continue
            try:
                said = b"".join(
                    Path(f"/proc/{number}/{name}").read_bytes() for name in ("cmdline", "environ")
                )
                if marker in said and number != os.getpid():
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    killed += 1
            except OSError:
                continue
            finally:
                os.close(pidfd)
        return killed

    def call(self, method: str, request: Message, reply: type[Reply], within_s: float = 5.0) -> Reply:
        """Call its ha-crm. Raises grpc.RpcError."""
        with grpc.insecure_channel(f"unix:{self.paths.crm_socket}") as channel:
            call: grpc.UnaryUnaryMultiCallable[Message, Reply] = channel.unary_unary(
                f"/hacluster.v1.Crm/{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=reply.FromString,
            )
            return call(request, timeout=within_s)

    def status(self, *, local: bool = True) -> crm_pb2.ClusterStatus | None:
        """What its ha-crm says, None when it does not answer."""
        request = crm_pb2.ClusterStatusRequest(local=local)
        try:
            return self.call("Status", request, crm_pb2.ClusterStatus, 2)
        except grpc.RpcError:
            return None

    def log(self, service: str) -> str:
        """All it has logged."""
        path = self.root / f"{service}.log"
        return path.read_text() if path.exists() else ""


class LocalCluster:
    """`count` nodes; timers in ms."""

    def __init__(
        self,
        folder: Path,
        count: int = 3,
        *,
        keepalive_ms: int = 100,
        deadtime_ms: int = 1_000,
        initdead_ms: int = 30_000,
        cib: str = "",
    ) -> None:
        net = loopback_net()
        self.nodes = [LocalNode(f"node{n}", f"{net}.{n}", folder / f"n{n}") for n in range(1, count + 1)]
        text = self._toml(keepalive_ms, deadtime_ms, initdead_ms)
        key = secrets.token_hex(32)
        certificates = make(node.name for node in self.nodes)
        for node in self.nodes:
            etc = node.paths.etc
            (etc / "tls").mkdir(parents=True)
            etc.chmod(0o755)  # whatever the umask
            node.paths.cluster_toml.write_text(text)
            for name, data in (
                ("ca.pem", certificates[node.name].ca),
                ("node.pem", certificates[node.name].certificate),
                ("node.key", certificates[node.name].key),
            ):
                (etc / "tls" / name).write_bytes(data)
                (etc / "tls" / name).chmod(0o600)
            node.paths.authkeys.write_text(f"auth 1\n1 sha256 {key}\n")
            node.paths.authkeys.chmod(0o600)
            if cib:
                (etc / "initial-cib.xml").write_text(cib)
                (etc / "initial-cib.xml").chmod(0o600)

    def _toml(self, keepalive_ms: int, deadtime_ms: int, initdead_ms: int) -> str:
        lines = [
            "[cluster]",
            'name = "local"',
            f'id = "{secrets.token_hex(16)}"',
            "[timers]",
            f'keepalive = "{keepalive_ms}ms"',
            f'deadtime = "{deadtime_ms}ms"',
            f'initdead = "{initdead_ms}ms"',
            "[quorum]",
            f"two_node = {str(len(self.nodes) == 2).lower()}",
            "[[link]]",
            'kind = "udp"',
            f"port = {UDP_PORT}",
        ]
        for number, node in enumerate(self.nodes, 1):
            lines += [
                "[[node]]",
                f"id = {number}",
                f'name = "{node.name}"',
                f'addresses = ["{node.address}"]',
            ]
        return "\n".join(lines) + "\n"

    def start(self) -> None:
        """All daemons of all nodes."""
        for node in self.nodes:
            node.start()

    def stop(self) -> None:
        """End everything, the hard way."""
        for node in self.nodes:
            node.power_cut()

    def dc(self) -> LocalNode | None:
        """The node that all who answer call DC."""
        names = {status.dc for node in self.nodes if (status := node.status()) is not None}
        return next((node for node in self.nodes if names == {node.name}), None)


def until(what: Callable[[], object], within_s: float, why: str) -> float:
    """Poll until true; returns the seconds it took. Raises AssertionError with `why`."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < within_s, f"not within {within_s:g} s: {why}"
        time.sleep(0.02)
    return time.monotonic() - begun
