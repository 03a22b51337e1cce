"""What all nodes share, as this node has it. Written here, because ha-lrm is root.

A change is put on every member by who makes it; a node that was away asks the others when it comes back, and
one of them every ten seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from hacluster import certificates, rpc, shared_files
from hacluster.errors import Conflict, ErrorCode, HaError, InvalidRequest
from hacluster.paths import Paths
from hacluster.settings import Settings
from hacluster.shared_files import SharedFiles
from hacluster.tls import TlsFolder
from hacluster.v1 import files_pb2, files_pb2_grpc, membership_pb2, membership_pb2_grpc
from lrm import log_events

RELOAD_MS: Final = 5_000
ASK_MS: Final = 3_000
ASK_EVERY_S: Final = 10.0
ASK_AT_START: Final = 5
START_PAUSE_S: Final = 1.0
FILE_BYTES_MAX: Final = 1024 * 1024

log = structlog.get_logger()


class Messaging(Protocol):
    """ha-messaging of this node. Each raises HaError and then goes on with what it had."""

    async def reload_keys(self) -> None:
        """authkeys anew."""
        ...

    async def reload_nodes(self) -> None:
        """cluster.toml anew."""
        ...


class GrpcMessaging:
    """The real one. One that does not run will read the files when it starts."""

    def __init__(self, paths: Paths) -> None:
        self._socket = paths.messaging_socket

    async def reload_keys(self) -> None:
        """See Messaging."""
        await self._call("ReloadKeys", membership_pb2.ReloadKeysRequest())

    async def reload_nodes(self) -> None:
        """See Messaging."""
        await self._call("ReloadNodes", membership_pb2.ReloadNodesRequest())

    async def _call(self, method: str, request: object) -> None:
        async with rpc.unix_channel(self._socket) as channel:
            stub = membership_pb2_grpc.MembershipStub(channel)
            try:
                await rpc.call(getattr(stub, method), request, timeout_ms=RELOAD_MS, who="ha-messaging here")
            except HaError as error:
                if error.code is not ErrorCode.UNREACHABLE:
                    raise


class FilesKeeper:
    """This node's files: judged before they are taken, whole or not at all."""

    def __init__(self, paths: Paths, node: str, settings: Settings, messaging: Messaging) -> None:
        self._paths, self._node, self._messaging = paths, node, messaging
        self._busy = asyncio.Lock()
        self.settings = settings
        self.changed: Callable[[Settings], None] = lambda _settings: None

    @property
    def names(self) -> frozenset[str]:
        """Of the cluster's nodes, as of now."""
        return frozenset(node.name for node in self.settings.nodes)

    async def read(self) -> SharedFiles:
        """As they are on the disk. Raises HaError."""
        return await asyncio.to_thread(shared_files.read, self._paths)

    async def take(self, files: SharedFiles, *, expected_digest: str = "") -> tuple[str, ...]:
        """Go on with these; names of what has changed. Raises HaError, and nothing is different then."""
        async with self._busy:
            mine = await self.read()
            if files.digest == mine.digest:
                return ()
            after = self._judged(files, mine, expected_digest)
            changed = await asyncio.to_thread(shared_files.write, self._paths, files)
            try:
                if "authkeys" in changed:
                    await self._messaging.reload_keys()
                await self._messaging.reload_nodes()
            except BaseException:
                await asyncio.to_thread(shared_files.write, self._paths, mine)
                if "authkeys" in changed:
                    await self._back()
                raise
            self.settings = after
            self.changed(after)
            log.info(log_events.FILES_TAKEN, revision=after.revision, files=" ".join(changed))
            return changed

    async def _back(self) -> None:
        try:
            await self._messaging.reload_keys()
        except HaError as error:
            log.error(log_events.FILES_KEPT, reason=f"the former authkeys are not taken back: {error}")

    def _judged(self, files: SharedFiles, mine: SharedFiles, expected_digest: str) -> Settings:
        """Their settings. Raises Conflict, InvalidRequest, InvalidDocument."""
        for name in ("cluster_toml", "authkeys", "crl", "nodes_pem"):
            if len(getattr(files, name)) > FILE_BYTES_MAX:
                raise InvalidRequest(what=f"{name} has more than {FILE_BYTES_MAX} bytes")
        before, after = mine.settings(), files.settings("the new cluster.toml")
        if after.cluster_id != before.cluster_id:
            raise InvalidRequest(what=f"these are files of another cluster ({after.cluster_name})")
        if expected_digest not in ("", mine.digest):
            raise Conflict(what=f"the files on {self._node} are not those that were changed: begin again")
        if after.revision <= before.revision:
            raise Conflict(
                what=f"{self._node} has revision {before.revision} of the cluster's files, and this is "
                f"{after.revision}"
            )
        me, was = after.node(self._node), before.node(self._node)
        if me is None or was is None or (me.id, me.addresses) != (was.id, was.addresses):
            raise InvalidRequest(
                what=f"{self._node} is not in it as it is here", remedy="stop a node before it is removed"
            )
        if not files.authkeys.strip():
            raise InvalidRequest(what="authkeys is empty")
        ca = (self._paths.tls / "ca.pem").read_bytes()
        if files.crl:
            certificates.revoked_serials(files.crl, ca, source="the new crl.pem")
        try:
            check_issued(files.nodes_pem, ca)
        except ValueError as error:
            raise InvalidRequest(what=f"nodes.pem: {error}") from None
        return after


def check_issued(pem: bytes, ca: bytes) -> None:
    """Raises ValueError unless all of them are certificates of that CA: they will be trusted as it is."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    issuer = x509.load_pem_x509_certificate(ca)
    for one in x509.load_pem_x509_certificates(pem) if pem.strip() else ():
        try:
            one.verify_directly_issued_by(issuer)
        except (TypeError, ValueError, InvalidSignature):
            raise ValueError(f"certificate {one.serial_number:x} is not of this cluster's CA") from None


def message_of(files: SharedFiles) -> files_pb2.Files:
    """To protobuf."""
    return files_pb2.Files(
        cluster_toml=files.cluster_toml,
        authkeys=files.authkeys,
        crl=files.crl,
        nodes_pem=files.nodes_pem,
    )


def files_of(message: files_pb2.Files) -> SharedFiles:
    """From protobuf."""
    return SharedFiles(
        cluster_toml=message.cluster_toml,
        authkeys=message.authkeys,
        crl=message.crl,
        nodes_pem=message.nodes_pem,
    )


class Follower:
    """Asks the other nodes whether there is something newer."""

    def __init__(self, keeper: FilesKeeper, node: str, tls: TlsFolder) -> None:
        self._keeper, self._node, self._tls = keeper, node, tls
        self._turn = 0

    async def run(self) -> None:
        """All of them at the start, then one in turn, until cancelled."""
        for _ in range(ASK_AT_START):
            others = self._others()
            heard = await asyncio.gather(*(self.ask(name) for name in others))
            if all(heard):
                break
            await asyncio.sleep(START_PAUSE_S)
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            if others := self._others():
                self._turn += 1
                await self.ask(others[self._turn % len(others)])

    def _others(self) -> list[str]:
        return sorted(self._keeper.names - {self._node})

    async def ask(self, name: str) -> bool:
        """Take what is newer there. Whether the node answered."""
        settings = self._keeper.settings
        node = settings.node(name)
        if node is None:
            return True
        channel = rpc.tcp_channel(
            node.addresses[0],
            settings.ports.lrm,
            self._tls.current,
            server_name=name,
            others=node.addresses[1:],
        )
        async with channel:
            stub = files_pb2_grpc.NodeFilesStub(channel)
            try:
                reply = await self._get(stub, name, contents=False)
                mine = await self._keeper.read()
                if reply.revision == settings.revision and reply.digest != mine.digest:
                    log.warning(log_events.FILES_DIFFER, peer=name, revision=settings.revision)
                if reply.revision <= settings.revision:
                    return True
                reply = await self._get(stub, name, contents=True)
            except HaError:
                return False
        try:
            await self._keeper.take(files_of(reply.files))
        except (HaError, OSError) as error:
            log.error(log_events.FILES_KEPT, peer=name, reason=str(error))
        return True

    @staticmethod
    async def _get(
        stub: files_pb2_grpc.NodeFilesStub, name: str, *, contents: bool
    ) -> files_pb2.GetFilesReply:
        request = files_pb2.GetFilesRequest(contents=contents)
        reply = await rpc.call(stub.Get, request, timeout_ms=ASK_MS, who=f"ha-lrm on {name}")
        assert isinstance(reply, files_pb2.GetFilesReply)
        return reply
