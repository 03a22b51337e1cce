"""gRPC service NodeFiles: translates, delegates, translates."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from grpc import aio

from hacluster import VERSION, rpc, shared_files
from hacluster.paths import Paths
from hacluster.v1 import files_pb2, files_pb2_grpc
from lrm.files.keeper import FilesKeeper, files_of, message_of

NAME: Final = "hacluster.v1.NodeFiles"

Context = aio.ServicerContext[Any, Any]


class NodeFilesService(files_pb2_grpc.NodeFilesServicer):
    """Translates, delegates, translates."""

    def __init__(self, keeper: FilesKeeper, paths: Paths, node: str) -> None:
        self._keeper, self._paths, self._node = keeper, paths, node

    async def Get(self, request: files_pb2.GetFilesRequest, context: Context) -> files_pb2.GetFilesReply:
        """What is here."""
        files = await self._keeper.read()
        found = await asyncio.to_thread(lambda: list(shared_files.problems(self._paths)))
        return files_pb2.GetFilesReply(
            node=self._node,
            revision=self._keeper.settings.revision,
            digest=files.digest,
            wall_ms=time.time_ns() // 1_000_000,
            version=VERSION,
            problems=found,
            files=message_of(files) if request.contents else None,
        )

    async def Put(self, request: files_pb2.PutFilesRequest, context: Context) -> files_pb2.PutFilesReply:
        """Take it, or say why not."""
        files = files_of(request.files)
        changed = await self._keeper.take(files, expected_digest=request.expected_digest)
        return files_pb2.PutFilesReply(revision=self._keeper.settings.revision, changed=changed)


def register(server: rpc.Server, keeper: FilesKeeper, paths: Paths, node: str) -> None:
    """Add the service to ha-lrm's server."""
    server.add(
        files_pb2_grpc.add_NodeFilesServicer_to_server,
        NodeFilesService(keeper, paths, node),
    )
