"""Questions to the witness and its answers, as bodies of packets."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from hacluster.v1 import common_pb2, wire_pb2
from hacluster.vocabulary.ids import NO_VIEW, ViewId
from messaging.membership.events import AskWitness, ReleaseWitness, WitnessAnswered
from messaging.packet import NODES_MAX
from messaging.wire import runs_from, runs_to
from messaging.witness.core import LEASE_MS_MAX, Answer, Asked, Event, Released, SyncChanged

COUNTER_MAX = 1 << 63
NODE_MAX = 0xFFFF


def ask_to(question: AskWitness | ReleaseWitness | SyncChanged, challenge: bytes) -> bytes:
    """A node's question, or its good-bye."""
    view = common_pb2.ViewId(counter=question.view.counter, coordinator=question.view.coordinator)
    if isinstance(question, ReleaseWitness):
        return wire_pb2.WitnessAsk(challenge=challenge, view=view, release=True).SerializeToString()
    if isinstance(question, SyncChanged):
        return wire_pb2.WitnessAsk(
            nonce=question.nonce,
            challenge=challenge,
            view=view,
            in_sync=question.in_sync,
            term_counter=question.term[0],
            term_node=question.term[1],
            term_serial=question.serial,
        ).SerializeToString()
    return wire_pb2.WitnessAsk(
        nonce=question.nonce,
        challenge=challenge,
        view=view,
        members=question.members,
        voters=question.voters,
        config_index=question.config_index,
        lease_ms=question.lease_ms,
        score=question.score,
        runs=runs_to(question.runs),
    ).SerializeToString()


def ask_from(node: int, body: bytes) -> tuple[bytes, Event] | None:
    """The challenge that it knows, and the question; None when it is no good."""
    try:
        ask = wire_pb2.WitnessAsk.FromString(body)
        runs = runs_from(ask.runs)
    except (DecodeError, ValueError):
        return None
    view = ViewId(ask.view.counter, ask.view.coordinator)
    members, voters, in_sync = tuple(ask.members), tuple(ask.voters), tuple(ask.in_sync)
    bounded = max(len(members), len(voters), len(in_sync)) <= NODES_MAX and ask.lease_ms <= LEASE_MS_MAX
    if not bounded or view == NO_VIEW or view.counter > COUNTER_MAX:
        return None
    if ask.term_counter > COUNTER_MAX or ask.term_node > NODE_MAX or ask.term_serial > COUNTER_MAX:
        return None
    if ask.release:
        return ask.challenge, Released(node=node, view=view)
    if ask.term_counter:
        return ask.challenge, SyncChanged(
            node=node,
            nonce=ask.nonce,
            view=view,
            in_sync=in_sync,
            term=(ask.term_counter, ask.term_node),
            serial=ask.term_serial,
        )
    if not members or not voters or not ask.lease_ms or {run.node for run in runs} - set(members):
        return None
    return ask.challenge, Asked(
        node=node,
        nonce=ask.nonce,
        view=view,
        members=members,
        voters=voters,
        config_index=ask.config_index,
        lease_ms=ask.lease_ms,
        score=ask.score,
        runs=runs,
    )


def answer_to(answer: Answer, challenge: bytes) -> bytes:
    """The witness's word, with the challenge that the next question has to know."""
    return wire_pb2.WitnessAnswer(
        nonce=answer.nonce,
        challenge=challenge,
        view=common_pb2.ViewId(counter=answer.view.counter, coordinator=answer.view.coordinator),
        granted=answer.granted,
        lease_ms=answer.lease_ms,
        in_sync=answer.in_sync,
        reason=answer.reason,
        term_counter=answer.term[0],
        term_node=answer.term[1],
        runs=runs_to(answer.runs),
    ).SerializeToString()


def answer_from(body: bytes) -> tuple[bytes, WitnessAnswered] | None:
    """The challenge and the word; None when it is no good."""
    try:
        answer = wire_pb2.WitnessAnswer.FromString(body)
        runs = runs_from(answer.runs)
    except (DecodeError, ValueError):
        return None
    if len(answer.challenge) != 16 or answer.lease_ms > LEASE_MS_MAX:
        return None
    return answer.challenge, WitnessAnswered(
        nonce=answer.nonce,
        view=ViewId(answer.view.counter, answer.view.coordinator),
        granted=answer.granted,
        lease_ms=answer.lease_ms,
        in_sync=tuple(answer.in_sync),
        term=(answer.term_counter, answer.term_node),
        reason=answer.reason,
        runs=runs,
    )
