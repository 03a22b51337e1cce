"""Bodies of packets: encode and decode are inverse; no bytes make the decoder raise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hacluster.v1 import membership_pb2, wire_pb2
from hacluster.vocabulary.ids import NO_VIEW, BootToken, NodeId, NodeName, ViewId
from hacluster.vocabulary.membership import Authority, Member, MembershipView, NodeState, QuorumConfig
from messaging import wire
from messaging.fragments import body_bound
from messaging.membership.events import (
    KIND_OF,
    Accept,
    Bar,
    Bars,
    CommittedQuorum,
    Data,
    Install,
    Installed,
    Leave,
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
from messaging.packet import Kind
from tests.unit.messaging.lab import a_heartbeat

TOKEN = BootToken("ab" * 32)
VIEW = ViewId(9, 2)
QUORUM = CommittedQuorum(
    config=QuorumConfig(voters=((NodeId(1), 1), (NodeId(2), 3)), two_node=True, tiebreak=NodeId(2)),
    log_index=4,
)
MEMBERS = (
    ViewMember(id=NodeId(1), incarnation=4, boot_token=TOKEN),
    ViewMember(id=NodeId(2), incarnation=2**63, boot_token=TOKEN),
)
BARE = tuple(ViewMember(id=member.id, incarnation=member.incarnation) for member in MEMBERS)
RUNS = (Run(1, 4), Run(2, 2**64 - 1, left=True), Run(65_534, 1))

MESSAGES: list[Message] = [
    a_heartbeat(),
    Probe(),
    Probe(want_install=VIEW),
    ProbeAck(a_heartbeat(), 12, 3, 4),
    Leave(clean=True),
    Leave(clean=False, active_unmanaged=("web", "db")),
    Propose(id=VIEW, members=BARE),
    Accept(
        id=VIEW, incarnation=3, boot_token=TOKEN, installed=NO_VIEW, lease_rest_ns=5_000_000, quorum=QUORUM
    ),
    Refuse(id=VIEW, promised=9, hears=(1, 2, 65_534)),
    Install(id=VIEW, members=MEMBERS, hold_ns=2_000, quorum=QUORUM),
    Accept(
        id=VIEW,
        incarnation=3,
        boot_token=TOKEN,
        installed=NO_VIEW,
        lease_rest_ns=0,
        quorum=QUORUM,
        runs=RUNS,
        forgetful=True,
        fresh=True,
    ),
    Install(id=VIEW, members=MEMBERS, hold_ns=0, quorum=QUORUM, runs=RUNS, forgetful=(2,)),
    Installed(id=VIEW),
    Data(newest=7, oldest=3, base=2, want_ack=True, ack_incarnation=4, ack=9),
    Data(number=7, view=VIEW, topic="election", payload=bytes(70), newest=8, oldest=1, base=7),
    Data(number=1, any_view=True, topic="x", payload=b"y", void_of=3, newest=1, oldest=1, base=1),
    Nack(first=3, last=9, incarnation=5),
    Bars(()),
    Bars(((2, Bar(1, b"bootboot")), (9, Bar(3, b"")))),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_there_and_back(message: Message) -> None:
    assert wire.decode(KIND_OF[type(message)], wire.encode(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_no_body_is_longer_than_its_bound(message: Message) -> None:
    assert len(wire.encode(message)) <= body_bound(message)


@given(st.integers(1, 1_024), st.integers(0, 2**64 - 1), st.binary(max_size=3_000))
def test_bounds_hold_for_the_largest_numbers(count: int, number: int, payload: bytes) -> None:
    last = ViewId(2**63, 65_534)
    members = tuple(
        ViewMember(id=NodeId(n), incarnation=number, boot_token=TOKEN) for n in range(65_534 - count, 65_534)
    )
    voters = tuple((NodeId(n), 1_000) for n in range(65_534 - count, 65_534))
    quorum = CommittedQuorum(
        config=QuorumConfig(voters=voters, wait_for_all=True, tiebreak=NodeId(65_534)), log_index=2**63
    )
    lease_ns = 600_000_000_000
    runs = tuple(Run(member.id, number, left=True) for member in members)
    messages: list[Message] = [
        Propose(id=last, members=members),
        Install(
            id=last,
            members=members,
            hold_ns=lease_ns,
            quorum=quorum,
            runs=runs,
            forgetful=tuple(member.id for member in members),
        ),
        Accept(
            id=last,
            incarnation=number,
            boot_token=TOKEN,
            installed=last,
            lease_rest_ns=lease_ns,
            quorum=quorum,
            runs=runs,
            forgetful=True,
            fresh=True,
        ),
        Refuse(id=last, promised=2**63, hears=tuple(member.id for member in members)),
        Leave(clean=True, active_unmanaged=("ü" * (count % 200),) * (count % 20)),
        Data(
            number=2**63,
            view=last,
            any_view=True,
            topic="ü" * 64,
            payload=payload,
            void_of=65_534,
            newest=2**63,
            oldest=2**63,
            base=2**63,
            want_ack=True,
            ack_incarnation=number,
            ack=2**63,
        ),
    ]
    for message in messages:
        assert len(wire.encode(message)) <= body_bound(message)


@pytest.mark.parametrize(
    "bad",
    [
        wire_pb2.Data(number=4, newest=3),
        wire_pb2.Data(newest=3, oldest=5),
        wire_pb2.Data(newest=3, base=9),
        wire_pb2.Data(newest=2**63 + 1),
        wire_pb2.Data(void_of=70_000),
    ],
)
def test_data_whose_numbers_do_not_agree_is_refused(bad: wire_pb2.Data) -> None:
    assert wire.decode(Kind.DATA, bad.SerializeToString()) is None


@pytest.mark.parametrize(
    "words", [[(2, 1, b"short")], [(2, 0, b"bootboot")], [(3, 1, b""), (2, 1, b"")], [(70_000, 1, b"")]]
)
def test_words_on_nodes_that_cannot_be_are_refused(words: list[tuple[int, int, bytes]]) -> None:
    bars = [wire_pb2.Bars.Bar(node=node, number=number, boot=boot) for node, number, boot in words]
    assert wire.decode(Kind.BARS, wire_pb2.Bars(bars=bars).SerializeToString()) is None


def test_a_nack_the_wrong_way_round_is_refused() -> None:
    assert wire.decode(Kind.NACK, wire_pb2.Nack(first=9, last=3).SerializeToString()) is None


def test_a_lease_is_rounded_up() -> None:
    install = Install(id=VIEW, members=MEMBERS, hold_ns=1, quorum=QUORUM)
    again = wire.decode(Kind.INSTALL, wire.encode(install))
    assert isinstance(again, Install)
    assert again.hold_ns == 1_000


@given(st.integers(0, 255), st.binary(max_size=120))
def test_no_bytes_make_it_raise(kind: int, body: bytes) -> None:
    wire.decode(kind, body)


def test_what_is_out_of_bounds_is_refused() -> None:
    view = wire_pb2.Installed.FromString(wire.encode(Installed(id=VIEW))).id
    none = wire_pb2.Installed()
    assert wire.decode(Kind.INSTALLED, none.SerializeToString()) is None
    for members, incarnations in (([], []), ([1, 2], [1]), ([2, 1], [1, 1]), ([1, 1], [1, 1])):
        propose = wire_pb2.Propose(id=view, members=members, incarnations=incarnations)
        assert wire.decode(Kind.PROPOSE, propose.SerializeToString()) is None
    install = wire_pb2.Install.FromString(wire.encode(MESSAGES[9]))
    install.hold_us = 10**12
    assert wire.decode(Kind.INSTALL, install.SerializeToString()) is None
    install.hold_us = 0
    install.members[0].boot_token = b"short"
    assert wire.decode(Kind.INSTALL, install.SerializeToString()) is None
    assert wire.decode(Kind.FRAGMENT, b"") is None  # it is put together before


@pytest.mark.parametrize("voters", [[], [(1, 1), (1, 1)], [(1, 0)]], ids=["none", "twice", "without votes"])
def test_senseless_voters_are_refused(voters: list[tuple[int, int]]) -> None:
    message = membership_pb2.QuorumConfig(
        voters=[membership_pb2.QuorumConfig.Voter(node_id=node, votes=votes) for node, votes in voters]
    )
    with pytest.raises(ValueError, match="voters"):
        wire.quorum_from(message)


def test_what_the_service_says() -> None:
    member = Member(
        id=NodeId(1), name=NodeName("n1"), incarnation=4, boot_token=TOKEN, votes=2, crm_instance=8
    )
    status = Status(
        authority=Authority(
            view=MembershipView(id=VIEW, members=(member,)), quorate=True, waiting=False, lease_end_ns=99
        ),
        nodes=(PeerStatus(id=NodeId(2), name=NodeName("n2"), state=NodeState.LEFT, clean_leave=True),),
    )
    update = wire.authority_to(status, {"pingd": "2"})
    assert (update.view.id.counter, update.view.members[0].crm_instance) == (9, 8)
    assert (update.quorate, update.lease_end_boottime_ns, dict(update.attributes)) == (
        True,
        99,
        {"pingd": "2"},
    )
    assert (update.nodes[0].state, update.nodes[0].clean_leave) == ("left", True)


@pytest.mark.parametrize(
    "runs",
    [
        [wire_pb2.Run(node=2, incarnation=1), wire_pb2.Run(node=2, incarnation=2)],
        [wire_pb2.Run(node=3, incarnation=1), wire_pb2.Run(node=2, incarnation=1)],
        [wire_pb2.Run(node=2)],
        [wire_pb2.Run(incarnation=1)],
        [wire_pb2.Run(node=70_000, incarnation=1)],
        [wire_pb2.Run(node=n, incarnation=1) for n in range(1, 1_026)],
    ],
)
def test_runs_that_are_none_are_refused(runs: list[wire_pb2.Run]) -> None:
    for message in MESSAGES:
        if isinstance(message, Accept | Install):
            kind, body = KIND_OF[type(message)], wire.encode(message)
            of_kind = wire_pb2.Accept if isinstance(message, Accept) else wire_pb2.Install
            packet = of_kind.FromString(body)
            del packet.runs[:]
            packet.runs.extend(runs)
            assert wire.decode(kind, packet.SerializeToString()) is None


def test_only_members_are_forgetful() -> None:
    for forgetful in ([3], [2, 1], [1, 1]):
        install = Install(id=VIEW, members=MEMBERS, hold_ns=0, quorum=QUORUM)
        packet = wire_pb2.Install.FromString(wire.encode(install))
        packet.forgetful.extend(forgetful)
        assert wire.decode(Kind.INSTALL, packet.SerializeToString()) is None
