"""The Lrm service: translates, delegates, translates."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from typing import Any

from grpc import aio

from hacluster.errors import PermissionDenied
from hacluster.rpc import Caller
from hacluster.v1 import lrm_pb2, lrm_pb2_grpc
from hacluster.vocabulary.operation import OperationResult
from lrm import wire
from lrm.alerts import Alert, Alerts
from lrm.executor import Executor
from lrm.queue.events import CancelAnswer, PublishForgotten
from lrm.shell import HistoryItem, LrmShell

NAME = "hacluster.v1.Lrm"

Context = aio.ServicerContext[Any, Any]


class LrmService(lrm_pb2_grpc.LrmServicer):
    """Knows protobuf and nothing else; `hacluster.rpc` turns HaError into a status."""

    def __init__(self, shell: LrmShell, executor: Executor, alerts: Alerts) -> None:
        self._shell = shell
        self._executor = executor
        self._alerts = alerts

    async def Accept(self, request: lrm_pb2.AcceptRequest, context: Context) -> lrm_pb2.AcceptReply:
        """A DC takes over."""
        event = wire.accept_from(request)
        before = self._shell.accept(event, event.term, request.dc)
        return lrm_pb2.AcceptReply(
            node=self._shell.node,
            boot_token=self._shell.boot_token,
            instance=self._shell.instance,
            max_term=wire.term_to(self._shell.queue.ledger.max_term),
            history_sequence=before,
        )

    async def Execute(self, request: lrm_pb2.ExecuteRequest, context: Context) -> lrm_pb2.ExecuteReply:
        """Run one operation; the result comes through History."""
        answer = await self._shell.execute(wire.execute_from(request))
        result = wire.result_to(answer.result) if answer.result is not None else None
        return lrm_pb2.ExecuteReply(call_id=answer.call_id, result=result)

    async def Cancel(self, request: lrm_pb2.CancelRequest, context: Context) -> lrm_pb2.CancelReply:
        """End a recurring operation."""
        answer = self._shell.handle(wire.cancel_from(request))
        assert isinstance(answer, CancelAnswer)
        return lrm_pb2.CancelReply(was_known=answer.was_known)

    async def DeleteHistory(
        self, request: lrm_pb2.DeleteHistoryRequest, context: Context
    ) -> lrm_pb2.DeleteHistoryReply:
        """Forget results."""
        self._shell.handle(wire.forget_from(request))
        return lrm_pb2.DeleteHistoryReply()

    async def History(
        self, request: lrm_pb2.HistoryRequest, context: Context
    ) -> AsyncIterator[lrm_pb2.HistoryEvent]:
        """What is recorded, then every new result."""
        async for item in self._shell.history():
            yield _event(item)

    async def Metadata(self, request: lrm_pb2.MetadataRequest, context: Context) -> lrm_pb2.MetadataReply:
        """Meta-data of an agent as its XML."""
        described = await self._executor.metadata.describe(wire.agent_name_from(request.agent))
        return lrm_pb2.MetadataReply(xml=described.xml)

    async def ListAgents(
        self, request: lrm_pb2.ListAgentsRequest, context: Context
    ) -> lrm_pb2.ListAgentsReply:
        """Agents that exist here."""
        names = self._executor.list_agents(request.standard, request.provider)
        return lrm_pb2.ListAgentsReply(agents=[str(name) for name in names])

    async def RunAlert(self, request: lrm_pb2.RunAlertRequest, context: Context) -> lrm_pb2.RunAlertReply:
        """An alert agent of the administrator's."""
        self._alerts.add(
            Alert(
                alert=request.alert,
                path=request.path,
                environment=dict(request.environment),
                timeout_ms=request.timeout_ms,
            )
        )
        return lrm_pb2.RunAlertReply()

    async def Status(self, request: lrm_pb2.LrmStatusRequest, context: Context) -> lrm_pb2.LrmStatusReply:
        """What is queued and running."""
        queue, now_ns = self._shell.queue, self._shell.now_ns()
        return lrm_pb2.LrmStatusReply(
            node=self._shell.node,
            boot_token=self._shell.boot_token,
            max_term=wire.term_to(queue.ledger.max_term),
            running=[wire.result_to(result) for result in queue.running_results()],
            recurring=[wire.recurring_to(flight, now_ns) for flight in queue.ledger.recurring.values()],
            queued=queue.queued(),
            load_1min=os.getloadavg()[0],
            cpus=os.cpu_count() or 1,
            left=[wire.result_to(result) for result in queue.ledger.forgotten()],
        )


def access(nodes: Callable[[], frozenset[str]]) -> Any:
    """Who may call: local callers (the socket's mode sees to that) and the cluster's nodes, as of now."""

    def check(method: str, caller: Caller) -> None:
        if not caller.local and method.endswith("/RunAlert"):
            raise PermissionDenied(what=f"{method} is for this node's ha-crm")
        if not caller.local and not nodes() & set(caller.names):
            raise PermissionDenied(what=f"{method} is for nodes of the cluster, not for {caller.names}")

    return check


def _event(item: HistoryItem) -> lrm_pb2.HistoryEvent:
    match item.item:
        case OperationResult() as result:
            message = wire.result_to(result)
            if wire.is_pending(result):
                return lrm_pb2.HistoryEvent(running=message, initial=item.initial, sequence=item.sequence)
            return lrm_pb2.HistoryEvent(result=message, initial=item.initial, sequence=item.sequence)
        case PublishForgotten() as forgotten:
            return lrm_pb2.HistoryEvent(forgotten=wire.forgotten_to(forgotten), sequence=item.sequence)
        case _:
            return lrm_pb2.HistoryEvent(synced=True, initial=True, sequence=item.sequence)
