"""Model to protobuf and back, for the Lrm service and for what ha-messaging tells.

What other daemons say just so is `hacluster.wire`'s, and here only passed on.
"""

from __future__ import annotations

from hacluster import wire
from hacluster.errors import InvalidRequest
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import BootToken, ResourceId
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult
from hacluster.wire import authority_from, operation_id_from, result_to, term_from, term_to, view_id_from
from lrm.journal.model import Flight
from lrm.queue.events import Accept, Cancel, Execute, Forget, PublishForgotten

__all__ = [
    "accept_from",
    "agent_name_from",
    "authority_from",
    "cancel_from",
    "execute_from",
    "forget_from",
    "forgotten_to",
    "is_pending",
    "operation_from",
    "operation_id_from",
    "recurring_to",
    "result_to",
    "term_from",
    "term_to",
    "view_id_from",
]


def operation_from(message: lrm_pb2.Operation) -> Operation:
    """An operation. Raises InvalidRequest for a name that is none."""
    if not message.resource or "/" in message.resource or "\0" in message.resource:
        raise InvalidRequest(what=f"{message.resource!r} is not the id of a resource")
    return wire.operation_from(message, agent_name_from(message.agent))


def agent_name_from(text: str) -> AgentName:
    """An agent's name. Raises InvalidRequest."""
    try:
        return AgentName.parse(text)
    except ValueError as error:
        raise InvalidRequest(what=str(error)) from None


def execute_from(message: lrm_pb2.ExecuteRequest) -> Execute:
    """The queue's event. Raises InvalidRequest."""
    return Execute(
        id=operation_id_from(message.id),
        view=view_id_from(message.view),
        boot_token=BootToken(message.boot_token),
        operation=operation_from(message.operation),
        without_quorum=message.without_quorum,
    )


def accept_from(message: lrm_pb2.AcceptRequest) -> Accept:
    """The queue's event."""
    return Accept(term=term_from(message.term))


def cancel_from(message: lrm_pb2.CancelRequest) -> Cancel:
    """The queue's event."""
    return Cancel(
        term=term_from(message.term),
        resource=ResourceId(message.resource),
        action=message.action,
        interval_ms=message.interval_ms,
    )


def forget_from(message: lrm_pb2.DeleteHistoryRequest) -> Forget:
    """The queue's event."""
    return Forget(
        term=term_from(message.term),
        resource=ResourceId(message.resource),
        action=message.action,
        interval_ms=message.interval_ms,
        failures_only=message.failures_only,
    )


def forgotten_to(forgotten: PublishForgotten) -> lrm_pb2.ResourceForgotten:
    """History that was deleted."""
    return lrm_pb2.ResourceForgotten(
        resource=forgotten.resource,
        action=forgotten.action,
        interval_ms=forgotten.interval_ms,
        failures_only=forgotten.failures_only,
    )


def is_pending(result: OperationResult) -> bool:
    """The operation has begun and not ended."""
    return result.status is ExecutionStatus.PENDING


def recurring_to(flight: Flight, now_ns: int) -> lrm_pb2.RecurringStatus:
    """A recurring operation."""
    reported = flight.reported
    return lrm_pb2.RecurringStatus(
        resource=flight.key.resource,
        action=flight.key.action,
        interval_ms=flight.key.interval_ms,
        due_in_ms=0 if flight.in_flight else max(0, flight.due_ns - now_ns) // 1_000_000,
        runs=flight.run,
        last_executed_ms=reported.executed_ms if reported is not None else 0,
    )
