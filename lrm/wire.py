"""Model to protobuf and back, for the Lrm service and for what ha-messaging tells."""

from __future__ import annotations

from hacluster.errors import InvalidRequest
from hacluster.v1 import common_pb2, lrm_pb2, membership_pb2
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import BootToken, NodeId, NodeName, OperationId, ResourceId, Term, ViewId
from hacluster.vocabulary.membership import Authority, Member, MembershipView
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult
from lrm.journal.model import Flight
from lrm.queue.events import Accept, Cancel, Execute, Forget, PublishForgotten


def term_from(message: common_pb2.Term) -> Term:
    """A term."""
    return Term(message.counter, message.node_id)


def term_to(term: Term) -> common_pb2.Term:
    """A term."""
    return common_pb2.Term(counter=term.counter, node_id=term.node_id)


def view_id_from(message: common_pb2.ViewId) -> ViewId:
    """A view's id."""
    return ViewId(message.counter, message.coordinator)


def operation_id_from(message: common_pb2.OperationId) -> OperationId:
    """An operation's id."""
    return OperationId(term_from(message.term), message.transition, message.action)


def operation_id_to(id_: OperationId) -> common_pb2.OperationId:
    """An operation's id."""
    return common_pb2.OperationId(term=term_to(id_.term), transition=id_.transition, action=id_.action)


def operation_from(message: lrm_pb2.Operation) -> Operation:
    """An operation. Raises InvalidRequest for a name that is none."""
    if not message.resource or "/" in message.resource or "\0" in message.resource:
        raise InvalidRequest(what=f"{message.resource!r} is not the id of a resource")
    return Operation(
        resource=ResourceId(message.resource),
        agent=agent_name_from(message.agent),
        action=message.action,
        interval_ms=message.interval_ms,
        timeout_ms=message.timeout_ms,
        start_delay_ms=message.start_delay_ms,
        start_within_ms=message.start_within_ms,
        parameters=dict(message.parameters),
        meta=dict(message.meta),
        transition_key=message.transition_key,
        on_fail_block=message.on_fail_block,
    )


def operation_to(operation: Operation) -> lrm_pb2.Operation:
    """An operation."""
    return lrm_pb2.Operation(
        resource=operation.resource,
        agent=str(operation.agent),
        action=operation.action,
        interval_ms=operation.interval_ms,
        timeout_ms=operation.timeout_ms,
        start_delay_ms=operation.start_delay_ms,
        start_within_ms=operation.start_within_ms,
        parameters=operation.parameters,
        meta=operation.meta,
        transition_key=operation.transition_key,
        on_fail_block=operation.on_fail_block,
    )


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


def result_to(result: OperationResult) -> lrm_pb2.OperationResult:
    """A result."""
    return lrm_pb2.OperationResult(
        id=operation_id_to(result.id),
        call_id=result.call_id,
        operation=operation_to(result.operation),
        status=int(result.status),
        rc=result.rc,
        raw_status=result.raw_status,
        queued_ms=result.queued_ms,
        executed_ms=result.executed_ms,
        last_run_s=result.last_run_s,
        last_change_s=result.last_change_s,
        exit_reason=result.exit_reason,
        output=result.output,
        private_parameters=result.private_parameters,
        reloadable_parameters=result.reloadable_parameters,
        supports_reload=result.supports_reload,
        restart_parameters=result.restart_parameters,
    )


def forgotten_to(forgotten: PublishForgotten) -> lrm_pb2.ResourceForgotten:
    """History that was deleted."""
    return lrm_pb2.ResourceForgotten(
        resource=forgotten.resource,
        action=forgotten.action,
        interval_ms=forgotten.interval_ms,
        failures_only=forgotten.failures_only,
    )


def authority_from(message: membership_pb2.AuthorityUpdate) -> Authority:
    """What ha-messaging says this node may do."""
    return Authority(
        view=MembershipView(
            id=view_id_from(message.view.id),
            members=tuple(
                Member(
                    id=NodeId(member.id),
                    name=NodeName(member.name),
                    incarnation=member.incarnation,
                    boot_token=BootToken(member.boot_token),
                    votes=member.votes,
                    crm_instance=member.crm_instance,
                    lrm_instance=member.lrm_instance,
                )
                for member in message.view.members
            ),
        ),
        quorate=message.quorate,
        waiting=message.waiting,
        lease_end_ns=message.lease_end_boottime_ns,
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
