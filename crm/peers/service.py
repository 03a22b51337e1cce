"""gRPC service CrmNode: what the DC asks of this node, and what other nodes tell the DC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import grpc
import structlog

from crm import log_events, wire
from crm.api.cluster import Cluster
from crm.attributes import AttributeKeeper
from crm.fencing.history import FencingRecord
from hacluster import rpc
from hacluster.errors import HaError, NoDc, PermissionDenied, StaleTerm
from hacluster.v1 import node_pb2, node_pb2_grpc
from hacluster.vocabulary.ids import Term, ViewId

Context = grpc.aio.ServicerContext[Any, Any]
NAME: Final = "hacluster.v1.CrmNode"
log = structlog.get_logger()


def attributes_message(node: str, boot_token: str, keeper: AttributeKeeper) -> node_pb2.NodeAttributes:
    """This node's attributes as they are published."""
    return node_pb2.NodeAttributes(
        node=node,
        boot_token=boot_token,
        instance=keeper.instance,
        sequence=keeper.sequence,
        values=dict(keeper.published),
    )


class LocalPeer:
    """This node's own side of CrmNode, for the DC on the same node and for the service."""

    def __init__(
        self,
        cluster: Cluster,
        boot_token: str,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    ) -> None:
        self._cluster, self._boot_token, self._spawn = cluster, boot_token, spawn

    def attributes(self) -> node_pb2.NodeAttributes:
        """As they are published."""
        return attributes_message(self._cluster.local.node, self._boot_token, self._cluster.keeper)

    async def integrate(self, term: Term, dc: str, view: ViewId) -> node_pb2.NodeAttributes:
        """Hand over the attributes."""
        self.check_term(term)
        return self.attributes()

    async def change_attributes(self, term: Term, changes: Mapping[str, str]) -> node_pb2.NodeAttributes:
        """Keep other values."""
        self.check_term(term)
        self._cluster.keeper.change(changes)
        return self.attributes()

    async def tell_fencing(self, term: Term, records: Sequence[FencingRecord]) -> None:
        """The DC says what became of fencings."""
        self.check_term(term)
        self._cluster.fencing.records.take(records)

    async def succeed_dc(self, term: Term) -> None:
        """Be the next DC, if the others agree within some seconds."""
        self.check_term(term)
        self._cluster.succession.want()

    async def leave_cluster(self, term: Term) -> None:
        """Leave, after this call was answered."""
        self.check_term(term)
        self._spawn(self._leave(), "leave")

    async def _leave(self) -> None:
        try:
            await self._cluster.leave_by_order()
        except HaError as error:
            log.warning(log_events.ACTION_REFUSED, operation="leave", reason=str(error))

    def check_term(self, term: Term) -> None:
        """Raises StaleTerm when a newer DC is known here."""
        current = self._cluster.replica.dc.term
        if term < current:
            raise StaleTerm(term=term, current=current)


class CrmNodeService(node_pb2_grpc.CrmNodeServicer):
    """Knows protobuf and who calls."""

    def __init__(self, cluster: Cluster, here: LocalPeer) -> None:
        self._cluster, self._here = cluster, here

    async def Integrate(
        self, request: node_pb2.IntegrateRequest, context: Context
    ) -> node_pb2.NodeAttributes:
        """See node.proto."""
        return await self._here.integrate(
            wire.term_from(request.term), request.dc, wire.view_id_from(request.view)
        )

    async def ChangeAttributes(
        self, request: node_pb2.ChangeAttributesRequest, context: Context
    ) -> node_pb2.NodeAttributes:
        """See node.proto."""
        changes = {change.name: change.value for change in request.changes}
        return await self._here.change_attributes(wire.term_from(request.term), changes)

    async def PushAttributes(
        self, request: node_pb2.NodeAttributes, context: Context
    ) -> node_pb2.PushAttributesReply:
        """See node.proto."""
        if request.node not in rpc.caller_of(context).names:
            raise PermissionDenied(what=f"only {request.node} keeps its attributes")
        if not self._cluster.is_dc:
            raise NoDc
        if self._cluster.orders.take_attributes(request):
            self._cluster.dc.attributes_changed(request.node)
        return node_pb2.PushAttributesReply()

    async def TellFencing(
        self, request: node_pb2.TellFencingRequest, context: Context
    ) -> node_pb2.TellFencingReply:
        """See node.proto."""
        records = [wire.fencing_record_from(message) for message in request.records]
        await self._here.tell_fencing(wire.term_from(request.term), records)
        return node_pb2.TellFencingReply()

    async def SucceedDc(
        self, request: node_pb2.SucceedDcRequest, context: Context
    ) -> node_pb2.SucceedDcReply:
        """See node.proto."""
        await self._here.succeed_dc(wire.term_from(request.term))
        return node_pb2.SucceedDcReply()

    async def LeaveCluster(
        self, request: node_pb2.LeaveClusterRequest, context: Context
    ) -> node_pb2.LeaveClusterReply:
        """See node.proto."""
        await self._here.leave_cluster(wire.term_from(request.term))
        return node_pb2.LeaveClusterReply()
