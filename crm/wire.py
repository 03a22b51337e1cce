"""Protobuf to the vocabulary's values and back, for what ha-crm says to ha-messaging, LRMs and its peers.

What other daemons say just so is `hacluster.wire`'s, and here only passed on.
"""

from __future__ import annotations

from crm.fencing.history import FencingRecord, FencingState
from hacluster import wire
from hacluster.errors import InvalidRequest
from hacluster.v1 import common_pb2, lrm_pb2, membership_pb2
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import OperationId, Term
from hacluster.vocabulary.membership import NodeState
from hacluster.vocabulary.operation import OperationResult
from hacluster.wire import (
    authority_from,
    operation_id_from,
    operation_id_to,
    operation_to,
    term_from,
    term_to,
    view_id_from,
    view_id_to,
)

__all__ = [
    "agent_from",
    "authority_from",
    "connectivity_from",
    "fencing_record_from",
    "fencing_record_to",
    "last_runs_from",
    "node_states_from",
    "operation_id_from",
    "operation_id_to",
    "operation_to",
    "result_from",
    "term_from",
    "term_to",
    "view_id_from",
    "view_id_to",
]


def agent_from(text: str) -> AgentName:
    """standard[:provider]:type; what does not look so becomes a type of an empty standard."""
    standard, _, rest = text.partition(":")
    if standard == "ocf":
        provider, _, kind = rest.partition(":")
        return AgentName(standard, provider, kind)
    return AgentName(standard, "", rest) if rest else AgentName("", "", text)


def result_from(message: lrm_pb2.OperationResult) -> OperationResult:
    """A result as an LRM remembers it."""
    return wire.result_from(message, agent_from(message.operation.agent))


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


def last_runs_from(message: membership_pb2.AuthorityUpdate) -> dict[str, int]:
    """Each configured node's latest run that was in a view, as far as this one knows; 0: not known."""
    return {node.name: node.last_run for node in message.nodes}


def connectivity_from(message: membership_pb2.AuthorityUpdate) -> dict[str, int]:
    """How well each node is connected, as it says; 0: not known."""
    return {node.name: node.connectivity for node in message.nodes}


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
        boot=record.boot,
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
        boot=message.boot,
    )
