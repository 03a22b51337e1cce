"""Protobuf to the vocabulary's values and back, for what ha-crm says to ha-messaging, LRMs and its peers."""

from __future__ import annotations

from crm.fencing.history import FencingRecord, FencingState
from hacluster.errors import InvalidRequest
from hacluster.v1 import common_pb2, lrm_pb2, membership_pb2
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import BootToken, NodeId, NodeName, OperationId, ResourceId, Term, ViewId
from hacluster.vocabulary.membership import Authority, Member, MembershipView, NodeState
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult


def term_from(message: common_pb2.Term) -> Term:
    """A term; the unset message is NO_TERM."""
    return Term(message.counter, message.node_id)


def term_to(term: Term) -> common_pb2.Term:
    """A term."""
    return common_pb2.Term(counter=term.counter, node_id=term.node_id)


def view_id_from(message: common_pb2.ViewId) -> ViewId:
    """A view's id."""
    return ViewId(message.counter, message.coordinator)


def view_id_to(view: ViewId) -> common_pb2.ViewId:
    """A view's id."""
    return common_pb2.ViewId(counter=view.counter, coordinator=view.coordinator)


def operation_id_to(identity: OperationId) -> common_pb2.OperationId:
    """An operation's identity."""
    return common_pb2.OperationId(
        term=term_to(identity.term), transition=identity.transition, action=identity.action
    )


def operation_id_from(message: common_pb2.OperationId) -> OperationId:
    """An operation's identity."""
    return OperationId(term_from(message.term), message.transition, message.action)


def agent_from(text: str) -> AgentName:
    """standard[:provider]:type; what does not look so becomes a type of an empty standard."""
    standard, _, rest = text.partition(":")
    if standard == "ocf":
        provider, _, kind = rest.partition(":")
        return AgentName(standard, provider, kind)
    return AgentName(standard, "", rest) if rest else AgentName("", "", text)


def operation_to(operation: Operation) -> lrm_pb2.Operation:
    """The order for an LRM."""
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


def operation_from(message: lrm_pb2.Operation) -> Operation:
    """An operation as an LRM remembers it."""
    return Operation(
        resource=ResourceId(message.resource),
        agent=agent_from(message.agent),
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


def result_from(message: lrm_pb2.OperationResult) -> OperationResult:
    """A result; a status of a newer LRM that we do not know is an error."""
    try:
        status = ExecutionStatus(message.status)
    except ValueError:
        status = ExecutionStatus.ERROR
    return OperationResult(
        id=operation_id_from(message.id),
        call_id=message.call_id,
        operation=operation_from(message.operation),
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
    )


def node_states_from(message: membership_pb2.AuthorityUpdate) -> dict[str, tuple[NodeState, bool]]:
    """Each configured node's state, and whether it left cleanly."""
    states: dict[str, tuple[NodeState, bool]] = {}
    for node in message.nodes:
        try:
            state = NodeState(node.state)
        except ValueError:
            state = NodeState.UNKNOWN
        states[node.name] = (state, node.clean_leave)
    return states


def fencing_record_to(record: FencingRecord) -> common_pb2.FencingRecord:
    """What became of a fencing."""
    counter, node_id, transition, action = record.operation
    return common_pb2.FencingRecord(
        id=record.id,
        target=record.target,
        action=record.action,
        dc=record.dc,
        client=record.client,
        state=record.state.value,
        version=record.version,
        began_s=record.began_s,
        changed_s=record.changed_s,
        device=record.device,
        step=record.step,
        executor=record.executor,
        operation=operation_id_to(OperationId(Term(counter, node_id), transition, action)),
        took_ms=record.took_ms,
        why=record.why,
    )


def fencing_record_from(message: common_pb2.FencingRecord) -> FencingRecord:
    """What became of a fencing. Raises InvalidRequest for a state that is none."""
    identity = operation_id_from(message.operation)
    try:
        state = FencingState(message.state)
    except ValueError:
        raise InvalidRequest(what=f"a fencing is never {message.state!r}") from None
    return FencingRecord(
        id=message.id,
        target=message.target,
        action=message.action,
        dc=message.dc,
        client=message.client,
        state=state,
        version=message.version,
        began_s=message.began_s,
        changed_s=message.changed_s,
        device=message.device,
        step=message.step,
        executor=message.executor,
        operation=(identity.term.counter, identity.term.node_id, identity.transition, identity.action),
        took_ms=message.took_ms,
        why=message.why,
    )
