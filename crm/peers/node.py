"""The client of another node's ha-crm for what each node owns: its attributes, and its leaving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import grpc

from crm import wire
from crm.fencing.history import FencingRecord
from hacluster import rpc
from hacluster.v1 import node_pb2, node_pb2_grpc
from hacluster.vocabulary.ids import Term, ViewId

INTEGRATE_TIMEOUT_MS: Final = 1_000
CALL_TIMEOUT_MS: Final = 3_000


class CrmPeer:
    """ha-crm of one other node."""

    def __init__(self, node: str, channel: grpc.aio.Channel) -> None:
        self.node = node
        self._who = f"ha-crm on {node}"
        self._stub = node_pb2_grpc.CrmNodeStub(channel)

    async def integrate(self, term: Term, dc: str, view: ViewId) -> node_pb2.NodeAttributes:
        """Fetch the node's attributes. Raises HaError."""
        request = node_pb2.IntegrateRequest(term=wire.term_to(term), dc=dc, view=wire.view_id_to(view))
        return await self._call(self._stub.Integrate, request, INTEGRATE_TIMEOUT_MS)

    async def change_attributes(self, term: Term, changes: Mapping[str, str]) -> node_pb2.NodeAttributes:
        """Have the node keep other values. Raises HaError."""
        request = node_pb2.ChangeAttributesRequest(term=wire.term_to(term))
        for name, value in changes.items():
            request.changes.add(name=name, value=value)
        return await self._call(self._stub.ChangeAttributes, request, CALL_TIMEOUT_MS)

    async def push_attributes(self, attributes: node_pb2.NodeAttributes) -> None:
        """Tell the DC our own. Raises HaError."""
        await rpc.call(self._stub.PushAttributes, attributes, timeout_ms=CALL_TIMEOUT_MS, who=self._who)

    async def tell_fencing(self, term: Term, records: Sequence[FencingRecord]) -> None:
        """What became of fencings. Raises HaError."""
        request = node_pb2.TellFencingRequest(
            term=wire.term_to(term), records=[wire.fencing_record_to(record) for record in records]
        )
        await rpc.call(self._stub.TellFencing, request, timeout_ms=CALL_TIMEOUT_MS, who=self._who)

    async def succeed_dc(self, term: Term) -> None:
        """Be the next DC. Raises HaError."""
        request = node_pb2.SucceedDcRequest(term=wire.term_to(term))
        await rpc.call(self._stub.SucceedDc, request, timeout_ms=CALL_TIMEOUT_MS, who=self._who)

    async def leave_cluster(self, term: Term) -> None:
        """Its resources are gone. Raises HaError."""
        request = node_pb2.LeaveClusterRequest(term=wire.term_to(term))
        await rpc.call(self._stub.LeaveCluster, request, timeout_ms=CALL_TIMEOUT_MS, who=self._who)

    async def _call(self, method: object, request: object, timeout_ms: int) -> node_pb2.NodeAttributes:
        reply = await rpc.call(method, request, timeout_ms=timeout_ms, who=self._who)
        assert isinstance(reply, node_pb2.NodeAttributes)
        return reply
