"""ha-qnet: `python -m messaging.witness [--root DIR]`. The witness of one or more clusters, elsewhere.

Configured by etc/hacluster/qnet.toml; state below var/lib/hacluster/qnet, on disk before any answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import secrets
import socket
import sys
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from hacluster import logging as ha_logging
from hacluster.clock import SystemClock
from hacluster.errors import HaError, InvalidDocument
from hacluster.paths import Paths
from hacluster.supervision import (
    Notifier,
    end_on_bugs,
    keep_to_ourselves,
    options_from,
    parser,
    report_and_code,
    until_stopped,
)
from hacluster.vocabulary.ids import NodeId, ViewId
from messaging import keys, log_events
from messaging.membership import durable as slots
from messaging.membership.runs import Run
from messaging.packet import HEADER
from messaging.witness.arbiter import Arbiter
from messaging.witness.core import WitnessState

log = structlog.get_logger()

PORT: Final = 5_562
LOG_EVERY_S: Final = 60.0
DATAGRAMS_A_PASS: Final = 256
_CLUSTER_AT: Final = slice(12, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A [[cluster]] of qnet.toml."""

    name: str
    id: bytes
    nodes: tuple[int, ...]
    authkeys: Path


def configuration(file: Path) -> tuple[str, int, tuple[Served, ...]]:
    """Address, port, clusters. Raises InvalidDocument."""

    def wrong(what: str, remedy: str) -> InvalidDocument:
        return InvalidDocument(source=str(file), line=0, what=what, remedy=remedy)

    try:
        data: dict[str, Any] = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise wrong(str(error), "write it: docs/manual/messaging.md, Witness") from None
    address, port = str(data.get("address", "0.0.0.0")), data.get("port", PORT)  # noqa: S104 - as configured
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise wrong(f"address {address!r} is no IP address", 'address = "0.0.0.0"') from None
    if not isinstance(port, int) or not 1 <= port <= 65_535:
        raise wrong(f"port {port!r} is out of bounds", f"port = {PORT}")
    served = []
    for item in data.get("cluster", []):
        id_, nodes = str(item.get("id", "")), item.get("nodes", [])
        if not re.fullmatch(r"[0-9a-fA-F]{32}", id_):
            raise wrong("a [[cluster]] has no valid id", "copy `id` from its cluster.toml")
        if not nodes or not all(isinstance(node, int) and 1 <= node <= 65_534 for node in nodes):
            raise wrong(f"cluster {id_} names no nodes", "nodes = [1, 2]: the ids of its cluster.toml")
        authkeys = Path(str(item.get("authkeys", "")))
        if not authkeys.is_absolute():
            raise wrong(f"cluster {id_} names no authkeys", 'authkeys = "/etc/hacluster/qnet/NAME.authkeys"')
        name = str(item.get("name", id_))
        served.append(Served(name=name, id=bytes.fromhex(id_), nodes=tuple(nodes), authkeys=authkeys))
    if not served or len({one.id[:4] for one in served}) != len(served):
        raise wrong("no [[cluster]], or two with the same id", "one [[cluster]] for each cluster")
    return address, port, tuple(served)


class StateFile:
    """Two slots, the newer valid one counts; each replaced whole and synced."""

    def __init__(self, folder: Path, cluster_id: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name = folder, cluster_id.hex()
        content, self.trusted = slots.newest(
            [path.read_bytes() if path.exists() else None for path in map(self._path, range(slots.SLOTS))]
        )
        self._serial = int(content["serial"]) if content is not None else 0
        self.state = _state_from(content) if content is not None else WitnessState()

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._name}.{number % slots.SLOTS}"

    def keep(self, state: WitnessState) -> None:
        """On disk when this returns. Raises OSError."""
        self._serial += 1
        fresh = self._folder / f".{self._name}.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(slots.encode_slot(self._serial, _content(state)))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self._path(self._serial))
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _content(state: WitnessState) -> dict[str, Any]:
    return {**asdict(state), "last": [state.last.counter, state.last.coordinator]}


def _state_from(content: dict[str, Any]) -> WitnessState:
    counter, coordinator = content["last"]
    return WitnessState(
        last=ViewId(counter, NodeId(coordinator)),
        members=tuple(content["members"]),
        lease_ms=content["lease_ms"],
        config_index=content["config_index"],
        in_sync=tuple(content["in_sync"]),
        term=(content["term"][0], content["term"][1]),
        serial=content.get("serial", 0),
        runs=tuple(Run(node, incarnation) for node, incarnation, _ in content.get("runs", ())),
    )


class Qnet:
    """One socket, one arbiter a cluster."""

    def __init__(self, paths: Paths) -> None:
        self._address, self._port, served = configuration(paths.etc / "qnet.toml")
        clock = SystemClock()
        self._now_ns = clock.now_ns
        self._arbiters: dict[bytes, tuple[str, Arbiter]] = {}
        self._logged: dict[tuple[str, str], float] = {}
        for one in served:
            keyring, warnings = keys.load(one.authkeys, cluster_id=one.id)
            for warning in warnings:
                log.warning(log_events.KEY_WARNING, what=warning)
            file = StateFile(paths.var / "qnet", one.id)
            if not file.trusted:
                raise InvalidDocument(
                    source=str(paths.var / "qnet" / one.id.hex()),
                    line=0,
                    what="the witness's memory is damaged: what it granted last is not known",
                    remedy="have all nodes of that cluster in one view, or stopped, and remove the two files",
                )
            arbiter = Arbiter(
                cluster_id=one.id,
                nodes=one.nodes,
                keyring=keyring,
                state=file.state,
                incarnation=int(time.time()) << 20,
                session=secrets.token_bytes(16),
                keep=file.keep,
                secret=lambda: secrets.token_bytes(16),
                now_ns=self._now_ns(),
            )
            self._arbiters[one.id[:4]] = (one.name, arbiter)

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until `stop`. An OSError of the disk ends it: what is not stored is not said."""
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        loop = asyncio.get_running_loop()
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sock:
            sock.bind((self._address, self._port))
            loop.add_reader(sock, self._drain, sock)
            Notifier().tell("READY=1")
            log.info(log_events.WITNESS, address=self._address, port=self._port, clusters=len(self._arbiters))
            try:
                await stop.wait()
            finally:
                loop.remove_reader(sock)

    def _drain(self, sock: socket.socket) -> None:
        for _ in range(DATAGRAMS_A_PASS):
            try:
                datagram, source = sock.recvfrom(65_536)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error about an earlier answer
            found = self._arbiters.get(datagram[_CLUSTER_AT]) if len(datagram) > HEADER.size else None
            if found is None:
                self._complain(source[0], "wrong_cluster", "")
                continue
            name, arbiter = found
            answer = arbiter.taken(datagram, self._now_ns())
            if isinstance(answer, str):
                self._complain(source[0], answer, name)
                continue
            try:
                sock.sendto(answer[1], source)
            except OSError as error:
                self._complain(source[0], error.strerror or "not sent", name)

    def _complain(self, source: str, reason: str, cluster: str) -> None:
        now = time.monotonic()
        if reason != "released" and now - self._logged.get((source, reason), -LOG_EVERY_S) >= LOG_EVERY_S:
            if len(self._logged) > 1_024:
                self._logged.clear()
            self._logged[source, reason] = now
            log.warning(log_events.PACKET_DROPPED, source=source, reason=reason, cluster=cluster)


def main() -> int:
    """Run until SIGTERM. Exit codes: see hacluster.supervision."""
    keep_to_ourselves()
    options = options_from(parser("ha-qnet", "the witness of clusters, on a third machine").parse_args())
    ha_logging.configure(
        format=options.log_format, level=options.log_level, service="qnet", node=options.node
    )
    try:
        qnet = Qnet(options.paths)
        asyncio.run(_serve(qnet))
    except HaError as error:
        print(f"ha-qnet: {error}", file=sys.stderr)
        return report_and_code(error)
    except OSError as error:
        print(f"ha-qnet: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(qnet: Qnet) -> None:
    end_on_bugs(asyncio.get_running_loop())
    await until_stopped(qnet.run)


if __name__ == "__main__":
    sys.exit(main())
