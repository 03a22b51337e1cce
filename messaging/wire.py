"""Models to protobuf and back: bodies of packets other than heartbeats, and what the service says.

Bodies from the network are judged here: whatever does not decode, or is out of bounds, is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final, assert_never

from google.protobuf.message import DecodeError

from hacluster.v1 import common_pb2, membership_pb2, wire_pb2
from hacluster.vocabulary.ids import NO_VIEW, BootToken, NodeId, ViewId
from hacluster.vocabulary.membership import QuorumConfig
from messaging.fragments import TOPIC_CHARACTERS_MAX
from messaging.membership.bars import BOOT_BYTES
from messaging.membership.events import (
    Accept,
    Bar,
    Bars,
    CommittedQuorum,
    Data,
    Deliver,
    Install,
    Installed,
    Leave,
    Lost,
    Message,
    Nack,
    PeerStatus,
    Probe,
    ProbeAck,
    Propose,
    Refuse,
    Status,
    ViewMember,
)
from messaging.membership.runs import Run
from messaging.membership.talk import DATA_BYTES_MAX
from messaging.packet import (
    NODES_MAX,
    Heartbeat,
    Kind,
    decode_heartbeat,
    decode_probe_ack,
    encode_heartbeat,
    encode_probe_ack,
)

COUNTER_MAX: Final = 1 << 63
HOLD_NS_MAX: Final = 600_000_000_000
NAMES_MAX: Final = 1_000

# Bodies of packets.


def encode(message: Message) -> bytes:
    """The body of the packet that carries `message`."""
    match message:
        case Heartbeat():
            return encode_heartbeat(message)
        case ProbeAck():
            return encode_probe_ack(*message)
        case Probe():
            return wire_pb2.Probe(want_install=_view_id(message.want_install)).SerializeToString()
        case Leave():
            body = wire_pb2.Leave(clean=message.clean, active_unmanaged=message.active_unmanaged)
            return body.SerializeToString()
        case Propose():
            return wire_pb2.Propose(
                id=_view_id(message.id),
                members=[member.id for member in message.members],
                incarnations=[member.incarnation for member in message.members],
            ).SerializeToString()
        case Accept():
            return wire_pb2.Accept(
                id=_view_id(message.id),
                incarnation=message.incarnation,
                boot_token=bytes.fromhex(message.boot_token),
                installed=_view_id(message.installed),
                lease_rest_us=-(-message.lease_rest_ns // 1_000),
                quorum_config=quorum_to(message.quorum).SerializeToString(),
                runs=runs_to(message.runs),
                forgetful=message.forgetful,
                fresh=message.fresh,
            ).SerializeToString()
        case Refuse():
            return wire_pb2.Refuse(
                id=_view_id(message.id), promised=message.promised, hears=message.hears
            ).SerializeToString()
        case Install():
            return wire_pb2.Install(
                id=_view_id(message.id),
                members=[
                    wire_pb2.Install.Member(
                        id=m.id, incarnation=m.incarnation, boot_token=bytes.fromhex(m.boot_token)
                    )
                    for m in message.members
                ],
                hold_us=-(-message.hold_ns // 1_000),
                quorum_config=quorum_to(message.quorum).SerializeToString(),
                runs=runs_to(message.runs),
                forgetful=message.forgetful,
            ).SerializeToString()
        case Installed():
            return wire_pb2.Installed(id=_view_id(message.id)).SerializeToString()
        case Data():
            view = _view_id(message.view) if message.view != NO_VIEW else None
            return wire_pb2.Data(**{**message._asdict(), "view": view}).SerializeToString()
        case Nack():
            return wire_pb2.Nack(**message._asdict()).SerializeToString()
        case Bars():
            return wire_pb2.Bars(
                bars=[
                    wire_pb2.Bars.Bar(node=node, number=bar.number, boot=bar.boot)
                    for node, bar in message.words
                ]
            ).SerializeToString()
        case _:
            assert_never(message)


def decode(kind: int, body: bytes) -> Message | None:
    """The message, or None when the body is no good."""
    if kind == Kind.HEARTBEAT:
        return decode_heartbeat(body)
    if kind == Kind.PROBE_ACK:
        answer = decode_probe_ack(body)
        return ProbeAck(*answer) if answer is not None else None
    try:
        return _decode(kind, body)
    except (DecodeError, ValueError):
        return None


def _decode(kind: int, body: bytes) -> Message | None:
    """Raises DecodeError or ValueError."""
    match kind:
        case Kind.PROBE:
            return Probe(want_install=_view_id_from(wire_pb2.Probe.FromString(body).want_install))
        case Kind.LEAVE:
            leave = wire_pb2.Leave.FromString(body)
            _bounded(len(leave.active_unmanaged), NAMES_MAX)
            return Leave(clean=leave.clean, active_unmanaged=tuple(leave.active_unmanaged))
        case Kind.PROPOSE:
            propose = wire_pb2.Propose.FromString(body)
            members = tuple(
                ViewMember(id=NodeId(node), incarnation=incarnation)
                for node, incarnation in zip(propose.members, propose.incarnations, strict=True)
            )
            return Propose(id=_real_view_id_from(propose.id), members=_in_order(members))
        case Kind.ACCEPT:
            accept = wire_pb2.Accept.FromString(body)
            return Accept(
                id=_real_view_id_from(accept.id),
                incarnation=accept.incarnation,
                boot_token=_boot_token_from(accept.boot_token),
                installed=_view_id_from(accept.installed),
                lease_rest_ns=_bounded(accept.lease_rest_us * 1_000, HOLD_NS_MAX),
                quorum=quorum_from(membership_pb2.QuorumConfig.FromString(accept.quorum_config)),
                runs=runs_from(accept.runs),
                forgetful=accept.forgetful,
                fresh=accept.fresh,
            )
        case Kind.REFUSE:
            refuse = wire_pb2.Refuse.FromString(body)
            _bounded(len(refuse.hears), NODES_MAX)
            _bounded(refuse.promised, COUNTER_MAX)
            return Refuse(
                id=_real_view_id_from(refuse.id), promised=refuse.promised, hears=tuple(refuse.hears)
            )
        case Kind.INSTALL:
            install = wire_pb2.Install.FromString(body)
            return Install(
                id=_real_view_id_from(install.id),
                members=_in_order(
                    tuple(
                        ViewMember(
                            id=NodeId(m.id),
                            incarnation=m.incarnation,
                            boot_token=_boot_token_from(m.boot_token),
                        )
                        for m in install.members
                    )
                ),
                hold_ns=_bounded(install.hold_us * 1_000, HOLD_NS_MAX),
                quorum=quorum_from(membership_pb2.QuorumConfig.FromString(install.quorum_config)),
                runs=runs_from(install.runs),
                forgetful=_among(install.forgetful, {m.id for m in install.members}),
            )
        case Kind.INSTALLED:
            return Installed(id=_real_view_id_from(wire_pb2.Installed.FromString(body).id))
        case Kind.DATA:
            return _data_from(wire_pb2.Data.FromString(body))
        case Kind.NACK:
            nack = wire_pb2.Nack.FromString(body)
            _bounded(nack.last, COUNTER_MAX)
            return Nack(_bounded(nack.first, nack.last), nack.last, nack.incarnation)
        case Kind.BARS:
            return _bars_from(wire_pb2.Bars.FromString(body))
        case _:
            return None


def _data_from(data: wire_pb2.Data) -> Data:
    """Raises ValueError when its numbers do not agree."""
    _bounded(data.newest, COUNTER_MAX)
    _bounded(data.number, data.newest)
    _bounded(data.oldest, data.newest + 1)
    _bounded(data.base, data.newest + 1)
    _bounded(data.ack, COUNTER_MAX)
    _bounded(data.void_of, 0xFFFF)
    _bounded(len(data.topic), TOPIC_CHARACTERS_MAX)
    _bounded(len(data.payload), DATA_BYTES_MAX)
    return Data(
        number=data.number,
        view=_view_id_from(data.view),
        any_view=data.any_view,
        topic=data.topic,
        payload=data.payload,
        void_of=data.void_of,
        newest=data.newest,
        oldest=data.oldest,
        base=data.base,
        want_ack=data.want_ack,
        ack_incarnation=data.ack_incarnation,
        ack=data.ack,
    )


def _bars_from(message: wire_pb2.Bars) -> Bars:
    """Raises ValueError when nodes are not in order, or a boot is none."""
    _bounded(len(message.bars), NODES_MAX)
    words: list[tuple[int, Bar]] = []
    for word in message.bars:
        if len(word.boot) not in (0, BOOT_BYTES) or not word.number or (words and word.node <= words[-1][0]):
            raise ValueError("words on nodes are in order, each of a number and a boot or none")
        words.append((_bounded(word.node, 0xFFFF), Bar(_bounded(word.number, COUNTER_MAX), word.boot)))
    return Bars(tuple(words))


def _bounded(value: int, highest: int) -> int:
    if value > highest:
        raise ValueError(f"{value} is out of bounds")
    return value


def _in_order(members: tuple[ViewMember, ...]) -> tuple[ViewMember, ...]:
    """Members of a view: at least one, in order of id, each once."""
    ids = [member.id for member in members]
    if not 1 <= len(ids) <= NODES_MAX or ids != sorted(set(ids)):
        raise ValueError("members are not in order")
    return members


def _among(nodes: Iterable[int], members: Set[int]) -> tuple[int, ...]:
    """Some of the members, in order, each once. Raises ValueError."""
    named = tuple(nodes)
    if list(named) != sorted(set(named) & members):
        raise ValueError("these are no members, or not in order")
    return named


def runs_to(runs: Iterable[Run]) -> list[wire_pb2.Run]:
    """As packets carry them."""
    return [wire_pb2.Run(node=run.node, incarnation=run.incarnation, left=run.left) for run in runs]


def runs_from(messages: Sequence[wire_pb2.Run]) -> tuple[Run, ...]:
    """Raises ValueError when there are too many, nodes are not in order, or a run is none."""
    _bounded(len(messages), NODES_MAX)
    runs = tuple(Run(one.node, one.incarnation, one.left) for one in messages)
    ids = [run.node for run in runs]
    if ids != sorted(set(ids)) or not all(0 < run.node <= 0xFFFF and run.incarnation for run in runs):
        raise ValueError("runs are in order of nodes, each of a node and an incarnation")
    return runs


def _boot_token_from(raw: bytes) -> BootToken:
    if len(raw) != 32:
        raise ValueError("a boot token has 32 bytes")
    return BootToken(raw.hex())


def _view_id(view: ViewId) -> common_pb2.ViewId:
    return common_pb2.ViewId(counter=view.counter, coordinator=view.coordinator)


def _view_id_from(message: common_pb2.ViewId) -> ViewId:
    return ViewId(_bounded(message.counter, COUNTER_MAX), message.coordinator)


def _real_view_id_from(message: common_pb2.ViewId) -> ViewId:
    view = _view_id_from(message)
    if view == NO_VIEW or not view.coordinator:
        raise ValueError("no view is named")
    return view


# Quorum configuration.


def quorum_to(quorum: CommittedQuorum) -> membership_pb2.QuorumConfig:
    """As ha-crm and packets carry it."""
    config = quorum.config
    return membership_pb2.QuorumConfig(
        voters=[
            membership_pb2.QuorumConfig.Voter(node_id=node, votes=votes) for node, votes in config.voters
        ],
        two_node=config.two_node,
        wait_for_all=config.wait_for_all,
        tiebreak=config.tiebreak or 0,
        log_index=quorum.log_index,
        tiebreak_order=config.tiebreak_order,
        lms_window_ms=config.lms_window_ms,
        witness_votes=config.witness_votes,
        next=quorum_to(CommittedQuorum(config=config.next)) if config.next is not None else None,
    )


def quorum_from(message: membership_pb2.QuorumConfig) -> CommittedQuorum:
    """Raises ValueError when there are no voters, or one is there twice."""
    voters = tuple((NodeId(voter.node_id), voter.votes) for voter in message.voters)
    _bounded(len(voters) + len(message.tiebreak_order), 2 * NODES_MAX)
    if not voters or len({node for node, _ in voters}) != len(voters) or not all(v for _, v in voters):
        raise ValueError("voters are each named once, with votes")
    if message.two_node and len(voters) != 2:
        raise ValueError("two_node needs exactly two voters")
    return CommittedQuorum(
        config=QuorumConfig(
            voters=voters,
            two_node=message.two_node,
            wait_for_all=message.wait_for_all,
            tiebreak=NodeId(message.tiebreak) if message.tiebreak else None,
            tiebreak_order=tuple(NodeId(node) for node in message.tiebreak_order),
            lms_window_ms=message.lms_window_ms,
            witness_votes=_bounded(message.witness_votes, 0xFFFF),
            next=_next_from(message),
        ),
        log_index=_bounded(message.log_index, COUNTER_MAX),
    )


def _next_from(message: membership_pb2.QuorumConfig) -> QuorumConfig | None:
    """One change at a time. Raises ValueError."""
    if not message.HasField("next"):
        return None
    if message.next.HasField("next"):
        raise ValueError("one change of voters at a time")
    return quorum_from(message.next).config


# What the service says.


def delivery_to(news: Deliver | Lost) -> membership_pb2.Delivery:
    """One message of Membership.Receive."""
    if isinstance(news, Lost):
        return membership_pb2.Delivery(
            sender=news.sender, incarnation=news.incarnation, number=news.last, lost=True
        )
    data = news.data
    return membership_pb2.Delivery(
        sender=news.sender,
        incarnation=news.incarnation,
        number=data.number,
        view=_view_id(data.view),
        any_view=data.any_view,
        payload=data.payload,
    )


def view_to(view: ViewId) -> common_pb2.ViewId:
    """A view's id."""
    return _view_id(view)


def view_from(message: common_pb2.ViewId) -> ViewId:
    """Inverse of `view_to`. Raises ValueError."""
    return _view_id_from(message)


def authority_to(status: Status, attributes: Mapping[str, str]) -> membership_pb2.AuthorityUpdate:
    """One update of Membership.Watch."""
    authority = status.authority
    return membership_pb2.AuthorityUpdate(
        view=membership_pb2.View(
            id=_view_id(authority.view.id),
            members=[
                membership_pb2.Member(
                    id=member.id,
                    name=member.name,
                    incarnation=member.incarnation,
                    boot_token=member.boot_token,
                    votes=member.votes,
                    crm_instance=member.crm_instance,
                    lrm_instance=member.lrm_instance,
                )
                for member in authority.view.members
            ],
        ),
        quorate=authority.quorate,
        waiting=authority.waiting,
        lease_end_boottime_ns=authority.lease_end_ns,
        witness=authority.witness,
        by_votes=authority.by_votes,
        nodes=[_node(node) for node in status.nodes],
        attributes=dict(attributes),
        suggested=quorum_to(CommittedQuorum(config=status.suggested)) if status.suggested else None,
    )


def _node(node: PeerStatus) -> membership_pb2.NodeStatus:
    return membership_pb2.NodeStatus(
        id=node.id,
        name=node.name,
        state=node.state.value,
        incarnation=node.incarnation,
        boot_token=node.boot_token,
        clean_leave=node.clean_leave,
        last_run=node.last_run,
        silent_ms=node.silent_ms,
        key_ids=[key_id for key_id in range(16) if node.key_ids >> key_id & 1],
        signing_key=node.signs_with,
        connectivity=0 if node.connectivity is None else node.connectivity + 1,
    )
