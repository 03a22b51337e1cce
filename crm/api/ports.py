"""The TCP ports of ha-crm: one for the cluster's nodes, and, where it is wanted, one for users from afar."""

from __future__ import annotations

import asyncio
from typing import Final

from crm.api.access import AccessControl
from crm.service import NAME, CrmService
from hacluster import rpc
from hacluster.errors import Unavailable
from hacluster.settings import Node
from hacluster.tls import TlsFolder
from hacluster.v1 import crm_pb2_grpc

BIND_ATTEMPTS: Final = 25
BIND_RETRY_MS: Final = 200


def server_for_users(api: CrmService, acls: AccessControl, keepalive_ms: int) -> rpc.Server:
    """Its connections are not the nodes': nobody can keep those out. It serves nothing but the client API."""
    server = rpc.Server(keepalive_ms=keepalive_ms, names=[NAME], access=acls.judge_user)
    server.add(crm_pb2_grpc.add_CrmServicer_to_server, api)
    return server


async def listen(server: rpc.Server, node: Node, port: int, tls: TlsFolder) -> None:
    """On each of the node's addresses; one not yet configured is waited for. Raises Unavailable."""
    for address in dict.fromkeys(node.addresses):
        for attempt in range(BIND_ATTEMPTS):
            try:
                server.listen_tcp(address, port, tls)
                break
            except Unavailable:
                if attempt == BIND_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(BIND_RETRY_MS / 1_000)
