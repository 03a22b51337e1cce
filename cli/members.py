"""The nodes of the cluster as hacli reaches them: NodeFiles of each node's ha-lrm, over mTLS.

A change goes to the DC's node first: of two that are made at one moment the later one is refused there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import grpc

from hacluster import certificates, cluster_toml, rpc, shared_files
from hacluster.errors import Conflict, ErrorCode, HaError, InvalidRequest
from hacluster.paths import Paths
from hacluster.settings import Node, Settings
from hacluster.shared_files import SharedFiles
from hacluster.v1 import crm_pb2, crm_pb2_grpc, files_pb2, files_pb2_grpc, lrm_pb2, lrm_pb2_grpc

CALL_MS: Final = 8_000
AGREE_S: Final = 20.0
AGREE_PAUSE_S: Final = 0.5
LEAVE_MS: Final = 90_000
HEADING: Final = "Kept by hacli; the same file lies on every node."


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributed:
    """Who has the new files, and who was away: it takes them when it comes back."""

    files: SharedFiles
    revision: int
    done: tuple[str, ...]
    away: tuple[str, ...]


class Members:
    """`me` is the node that this runs on."""

    def __init__(self, paths: Paths, me: str) -> None:
        """Raises HaError when the files of this node cannot be read."""
        self._paths, self.me = paths, me
        self.files = shared_files.read(paths)
        self.settings = self.files.settings(str(paths.cluster_toml))
        if self.settings.node(me) is None:
            raise InvalidRequest(
                what=f"{paths.cluster_toml} has no node {me}", remedy="run it on a member, or give --node"
            )
        self._tls = rpc.read_tls(paths.tls)

    def channel(self, node: Node, port: int) -> grpc.aio.Channel:
        """To a service of a node."""
        return rpc.tcp_channel(
            node.addresses[0], port, self._tls, server_name=node.name, others=node.addresses[1:]
        )

    async def get(self, name: str, *, contents: bool = False) -> files_pb2.GetFilesReply:
        """What a node has. Raises HaError."""
        node = self._node(name)
        async with self.channel(node, self.settings.ports.lrm) as channel:
            stub = files_pb2_grpc.NodeFilesStub(channel)
            request = files_pb2.GetFilesRequest(contents=contents)
            reply = await rpc.call(stub.Get, request, timeout_ms=CALL_MS, who=f"ha-lrm on {name}")
            assert isinstance(reply, files_pb2.GetFilesReply)
            return reply

    async def put(self, name: str, files: SharedFiles, expected_digest: str = "") -> None:
        """Have a node take them. Raises HaError."""
        message = files_pb2.Files(
            cluster_toml=files.cluster_toml,
            authkeys=files.authkeys,
            crl=files.crl,
            nodes_pem=files.nodes_pem,
        )
        request = files_pb2.PutFilesRequest(files=message, expected_digest=expected_digest)
        node = self._node(name)
        async with self.channel(node, self.settings.ports.lrm) as channel:
            stub = files_pb2_grpc.NodeFilesStub(channel)
            await rpc.call(stub.Put, request, timeout_ms=CALL_MS, who=f"ha-lrm on {name}")

    async def stop_node(self, name: str) -> None:
        """Have a node leave cleanly: its services may be stopped afterwards. Raises HaError."""
        async with self.channel(self._node(name), self.settings.ports.crm) as channel:
            stub = crm_pb2_grpc.CrmStub(channel)
            request = crm_pb2.StopNodeRequest()
            await rpc.call(stub.StopNode, request, timeout_ms=LEAVE_MS, who=f"ha-crm on {name}")

    async def agent_metadata(self, name: str, agent: str, within_s: float) -> str:
        """What an agent of that node says of itself, as XML. Raises NotFound without it, and HaError."""
        async with self.channel(self._node(name), self.settings.ports.lrm) as channel:
            stub = lrm_pb2_grpc.LrmStub(channel)
            request = lrm_pb2.MetadataRequest(agent=agent)
            timeout_ms = int(within_s * 1_000)
            reply = await rpc.call(stub.Metadata, request, timeout_ms=timeout_ms, who=f"ha-lrm on {name}")
            assert isinstance(reply, lrm_pb2.MetadataReply)
            return reply.xml

    def _node(self, name: str) -> Node:
        node = self.settings.node(name)
        if node is None:
            raise InvalidRequest(what=f"there is no node {name} in {self._paths.cluster_toml}")
        return node

    async def change(
        self, change: Callable[[Settings, SharedFiles], SharedFiles], *, first: str
    ) -> Distributed:
        """Make the next revision of the files and put it on every node that is there, `first` first.

        `change` gets the settings with the next revision, and the files; `rendered` makes a cluster.toml.
        Raises Conflict when `first` has other files than this node, and HaError when a node that answers
        refuses; those before it have them then, and the same command again goes on.
        """
        files = shared_files.read(self._paths)
        settings = replace(files.settings(), revision=files.settings().revision + 1)
        theirs = await self.get(first)
        if theirs.digest != files.digest:
            raise Conflict(
                what=f"{self.me} has revision {settings.revision - 1} of the cluster's files, {first} has "
                f"{theirs.revision}: not the same"
                + (" (ask again in ten seconds)" if theirs.revision >= settings.revision else "")
            )
        after = change(settings, files)
        after = replace(after, nodes_pem=known_certificates(after, self._tls))
        await self._put_patiently(first, after, files.digest)
        wanted = after.settings()
        others = [node.name for node in wanted.nodes if node.name != first and self.settings.node(node.name)]
        outcomes = await asyncio.gather(*(self._put_if_there(name, after) for name in others))
        self.files, self.settings = after, wanted
        done = [first, *(name for name, there in zip(others, outcomes, strict=True) if there)]
        away = [node.name for node in wanted.nodes if node.name not in done]
        return Distributed(files=after, revision=wanted.revision, done=tuple(done), away=tuple(away))

    async def _put_if_there(self, name: str, files: SharedFiles) -> bool:
        try:
            await self._put_patiently(name, files, "")
        except HaError as error:
            if error.code in (ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT):
                return False
            raise
        return True

    async def _put_patiently(self, name: str, files: SharedFiles, expected: str) -> None:
        """ha-messaging refuses keys until heartbeats have said that others know them: soon they do."""
        loop = asyncio.get_running_loop()
        end = loop.time() + AGREE_S
        while True:
            try:
                return await self.put(name, files, expected)
            except HaError as error:
                if error.code is not ErrorCode.INVALID_REQUEST or loop.time() > end:
                    raise
            await asyncio.sleep(AGREE_PAUSE_S)


def known_certificates(files: SharedFiles, tls: rpc.Tls) -> bytes:
    """nodes.pem without those of former nodes, and those that were revoked. Raises InvalidDocument."""
    names = {str(node.name) for node in files.settings().nodes}
    revoked = certificates.revoked_serials(files.crl, tls.ca, source="crl.pem") if files.crl else frozenset()
    kept = [one for name, one in certificates.named_certificates(files.nodes_pem, revoked) if name in names]
    return b"".join(dict.fromkeys(kept))


def rendered(settings: Settings) -> bytes:
    """The text of cluster.toml."""
    return cluster_toml.render(settings, heading=HEADING).encode()


def with_votes(
    settings: Settings, voters: dict[int, int], *, two_node: bool, wait_for_all: bool | None
) -> Settings:
    """The votes as the DC's log has them, and what two voters need beside.

    `wait_for_all`: None when the DC does not say: then it comes and goes with `two_node`, unless the file has
    chosen otherwise.
    """
    nodes = tuple(replace(node, votes=voters.get(node.id, 0)) for node in settings.nodes)
    quorum = settings.quorum
    both = two_node and sum(1 for node in nodes if node.votes) == 2
    if both != quorum.two_node:
        chosen = quorum.wait_for_all != quorum.two_node
        as_before = quorum.wait_for_all if chosen else both
        waits = as_before if wait_for_all is None else wait_for_all
        quorum = replace(quorum, two_node=both, wait_for_all=waits)
    if quorum.tiebreak and all(node.name != quorum.tiebreak for node in nodes if node.votes):
        quorum = replace(quorum, tiebreak=None)
    if isinstance(quorum.tie_breakers, tuple):
        voting = {node.name for node in nodes if node.votes}
        quorum = replace(quorum, tie_breakers=tuple(n for n in quorum.tie_breakers if n in voting))
    return replace(settings, nodes=nodes, quorum=quorum)
