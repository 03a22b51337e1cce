"""Protobuf to the vocabulary's values and back: what more than one daemon says. Each has its own beside."""

from __future__ import annotations

from hacluster.v1 import common_pb2, lrm_pb2, membership_pb2
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import BootToken, NodeId, NodeName, OperationId, ResourceId, Term, ViewId
from hacluster.vocabulary.membership import Authority, Member, MembershipView
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult


def term_to(term: Term) -> common_pb2.Term:
    """A term."""
    return common_pb2.Term(counter=term.counter, node_id=term.node_id)


def term_from(message: common_pb2.Term) -> Term:
    """A term; the unset message is NO_TERM."""
    return Term(message.counter, message.node_id)


def view_id_to(view: ViewId) -> common_pb2.ViewId:
    """A view's id."""
    return common_pb2.ViewId(counter=view.counter, coordinator=view.coordinator)


def view_id_from(message: common_pb2.ViewId) -> ViewId:
    """A view's id."""
    return ViewId(message.counter, message.coordinator)


def operation_id_to(identity: OperationId) -> common_pb2.OperationId:
    """An operation's identity."""
    return common_pb2.OperationId(
        term=term_to(identity.term), transition=identity.transition, action=identity.action
    )


def operation_id_from(message: common_pb2.OperationId) -> OperationId:
    """An operation's identity."""
    return OperationId(term_from(message.term), message.transition, message.action)


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
        parameters=dict(operation.parameters),
        meta=dict(operation.meta),
        transition_key=operation.transition_key,
        on_fail_block=operation.on_fail_block,
    )


def operation_from(message: lrm_pb2.Operation, agent: AgentName) -> Operation:
    """An operation; how strictly its agent's name is read is the caller's matter."""
    return Operation(
        resource=ResourceId(message.resource),
        agent=agent,
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


def result_from(message: lrm_pb2.OperationResult, agent: AgentName) -> OperationResult:
    """A result; a status of a newer LRM that we do not know is an error."""
    try:
        status = ExecutionStatus(message.status)
    except ValueError:
        status = ExecutionStatus.ERROR
    return OperationResult(
        id=operation_id_from(message.id),
        call_id=message.call_id,
        operation=operation_from(message.operation, agent),
        status=status,
        rc=message.rc,
        raw_status=message.raw_status,
        queued_ms=message.queued_ms,
        executed_ms=message.executed_ms,
        last_run_s=message.last_run_s,
        last_change_s=message.last_change_s,
        exit_reason=message.exit_reason,
        output=message.output,
        private_parameters=tuple(message.private_parameters),
        reloadable_parameters=tuple(message.reloadable_parameters),
        supports_reload=message.supports_reload,
        restart_parameters=tuple(message.restart_parameters),
    )


def authority_from(message: membership_pb2.AuthorityUpdate) -> Authority:
    """What this node may do."""
    members = tuple(
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
    )
    return Authority(
        view=MembershipView(id=view_id_from(message.view.id), members=members),
        quorate=message.quorate,
        waiting=message.waiting,
        lease_end_ns=message.lease_end_boottime_ns,
        witness=message.witness,
        by_votes=message.by_votes,
    )
