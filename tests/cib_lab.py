"""Real replicas in one process, with real disks, gRPC and TLS on loopback; views are given by hand."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from crm.cib.model import Element
from crm.peers.crm import GrpcCrmPeers
from crm.replica.assemble import replica_shell
from crm.replica.effects import TellWitness, WitnessSaid
from crm.replica.service import SERVICE_NAME, CrmPeerService, register
from crm.replica.shell import ReplicaShell
from hacluster import rpc, settings
from hacluster.clock import SystemClock
from hacluster.paths import Paths
from hacluster.vocabulary.ids import NO_TERM, BootToken, NodeId, NodeName, ViewId
from hacluster.vocabulary.membership import Authority, Member, MembershipView
from tests import certificates
from tests.ports import free_ports

TOML = """
[cluster]
name = "lab"
id = "00112233445566778899aabbccddeeff"
[quorum]
two_node = {two_node}
[[link]]
kind = "udp"
port = {port}
"""
NODE = """
[[node]]
id = {id}
name = "n{id}"
addresses = ["127.0.0.{id}"]
"""


async def until(holds: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(timeout_s):
        while True:
            if holds():
                return
            await asyncio.sleep(0.005)


def accept_all(_configuration: Element) -> str:
    """Validation that finds nothing wrong."""
    return ""


async def no_witness(told: TellWitness) -> WitnessSaid:
    """There is none."""
    return WitnessSaid(told, None, NO_TERM)


@dataclass
class LabNode:
    """One node: its root, its boot, and its daemon while it runs."""

    id: int
    root: Path
    boot: int = 1
    instance: int = 0
    shell: ReplicaShell | None = None
    task: asyncio.Task[None] | None = None
    server: rpc.Server | None = None
    service: CrmPeerService | None = None
    peers: GrpcCrmPeers | None = None

    @property
    def boot_token(self) -> BootToken:
        return BootToken(hashlib.sha256(f"{self.id}/{self.boot}".encode()).hexdigest())


@dataclass
class Lab:
    """The cluster. `view` tells the nodes who is here, as ha-messaging would."""

    settings: settings.Settings
    nodes: dict[int, LabNode]
    ports: dict[int, int]
    tls: dict[str, rpc.Tls]
    counter: int = 0
    current: dict[int, tuple[MembershipView, bool]] = field(default_factory=dict)

    def shell(self, node_id: int) -> ReplicaShell:
        shell = self.nodes[node_id].shell
        assert shell is not None
        return shell

    async def start(self, node_id: int) -> ReplicaShell:
        """Start the node's daemon."""
        node = self.nodes[node_id]
        name = f"n{node_id}"
        node.instance += 1
        node.peers = GrpcCrmPeers(self.settings, self.tls[name], node_id, ports=self.ports)
        node.shell = replica_shell(
            self.settings,
            Paths(node.root),
            name,
            boot_token=node.boot_token,
            instance=node.instance,
            peers=node.peers,
            clock=SystemClock(),
            witness=no_witness,
            validate=accept_all,
        )
        node.server = rpc.Server(names=(SERVICE_NAME,))
        node.service = CrmPeerService(node.shell, self.settings)
        register(node.server, node.service)
        node.server.listen_tcp(f"127.0.0.{node_id}", self.ports[node_id], self.tls[name])
        await node.server.start()
        node.task = asyncio.create_task(node.shell.run(), name=f"replica {name}")
        return node.shell

    async def stop(self, node_id: int) -> None:
        """Stop it; nothing when it does not run."""
        node = self.nodes[node_id]
        if node.task is not None:
            node.task.cancel()
            await asyncio.gather(node.task, return_exceptions=True)
        if node.server is not None:
            await node.server.stop(0)
        if node.peers is not None:
            await node.peers.close()
        node.shell = node.task = node.server = node.service = node.peers = None

    def view(self, ids: Iterable[int], *, quorate: bool = True) -> None:
        """A new view at its members."""
        self.counter += 1
        members = sorted(ids)
        view = MembershipView(
            id=ViewId(self.counter, members[0]), members=tuple(self._member(node) for node in members)
        )
        for node in members:
            shell = self.nodes[node].shell
            if shell is not None:
                shell.set_authority(Authority(view=view, quorate=quorate))

    def _member(self, node_id: int) -> Member:
        node = self.nodes[node_id]
        return Member(
            id=NodeId(node_id),
            name=NodeName(f"n{node_id}"),
            incarnation=node.boot,
            boot_token=node.boot_token,
            crm_instance=node.instance if node.shell is not None else 0,
        )

    async def dc(self, *ids: int, timeout_s: float = 10.0) -> int:
        """The DC that all these nodes agree on, once it is established."""

        def agreed() -> bool:
            states = [self.shell(node).dc for node in ids]
            known = {state.dc_node_id for state in states}
            return len(known) == 1 and None not in known and all(state.established for state in states)

        await until(agreed, timeout_s=timeout_s)
        return self.shell(ids[0]).dc.dc_node_id or 0

    async def agree(self, *ids: int, timeout_s: float = 10.0) -> str:
        """The digest that all these nodes have."""
        await until(
            lambda: (
                len({self.shell(node).digest for node in ids} - {""}) == 1
                and all(self.shell(node).digest for node in ids)
            ),
            timeout_s=timeout_s,
        )
        return self.shell(ids[0]).digest


@asynccontextmanager
async def lab(root: Path, count: int = 3, *, two_node: bool = False) -> AsyncIterator[Lab]:
    """A cluster of `count` nodes, all started, no view yet."""
    ports = free_ports(count + 1)
    text = TOML.format(port=ports[-1], two_node="true" if two_node else "false")
    text += "".join(NODE.format(id=node) for node in range(1, count + 1))
    made = Lab(
        settings=settings.parse(text),
        nodes={node: LabNode(node, root / f"n{node}") for node in range(1, count + 1)},
        ports={node: ports[node - 1] for node in range(1, count + 1)},
        tls=certificates.make(f"n{node}" for node in range(1, count + 1)),
    )
    try:
        for node in made.nodes:
            await made.start(node)
        yield made
    finally:
        for node in made.nodes:
            await made.stop(node)
