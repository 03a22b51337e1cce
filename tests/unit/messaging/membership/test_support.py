"""How long a node that is left out may count on us: from the last of its packets that we echoed."""

from __future__ import annotations

from hacluster.vocabulary.ids import BootToken, NodeId, NodeName, ViewId
from hacluster.vocabulary.membership import QuorumConfig
from messaging.membership.detector import Detector
from messaging.membership.events import Config, ConfiguredNode, InstalledView, ViewMember, node_list
from messaging.membership.layouts import Layouts
from messaging.membership.support import SupportGiven
from messaging.packet import TO_ALL, Header, Heartbeat, Kind, State

MS = 1_000_000
NODES = tuple(ConfiguredNode(id=NodeId(n), name=NodeName(f"n{n}")) for n in (1, 2))
CONFIG = Config(
    node_id=NodeId(1),
    nodes=NODES,
    links=1,
    keepalive_ns=250 * MS,
    warntime_ns=500 * MS,
    deadtime_ns=1_000 * MS,
    initdead_ns=2_000 * MS,
    quorum=QuorumConfig(voters=((NodeId(1), 1), (NodeId(2), 1))),
)
VIEW = InstalledView(
    id=ViewId(1, 1),
    members=tuple(ViewMember(id=n.id, incarnation=1, boot_token=BootToken("0" * 64)) for n in NODES),
)


def header(sequence: int, kind: Kind) -> Header:
    return Header(kind, 1, 0, 0, 2, TO_ALL, bytes(16), 1, sequence)


def heartbeat(echo: int, *, hears_us: bool) -> Heartbeat:
    layout = Layouts(node_list(NODES)).current
    return Heartbeat(1, 1, 1, State.MEMBER, 0, bytes(8), 1, 1, 2, layout, int(hears_us), (echo, 0))


def test_a_probe_that_we_echo_is_support_like_a_heartbeat() -> None:
    """Of heartbeats 250 ms apart, the last one may be lost while a probe came through."""
    detector = Detector(CONFIG, 100, 0, Layouts(node_list(CONFIG.nodes)))
    support = SupportGiven(CONFIG, detector, InstalledView(), 0)
    echo = detector.sent[0].take(0)
    beat = heartbeat(echo, hears_us=True)
    peer = detector.packet(header(1, Kind.HEARTBEAT), 10 * MS)
    assert detector.heartbeat(peer, header(1, Kind.HEARTBEAT), beat, 10 * MS, 10 * MS) == 0
    after_beat_ns = support.rest_ns(VIEW, (1,), 10 * MS)
    assert after_beat_ns > 900 * MS
    detector.packet(header(2, Kind.PROBE), 400 * MS)
    assert support.rest_ns(VIEW, (1,), 400 * MS) == after_beat_ns
    deaf = heartbeat(0, hears_us=False)
    detector.packet(header(3, Kind.HEARTBEAT), 500 * MS)
    assert detector.heartbeat(peer, header(3, Kind.HEARTBEAT), deaf, 500 * MS, 500 * MS) is None
    detector.packet(header(4, Kind.PROBE), 900 * MS)
    # It says that it hears us no more; but our next echo may reach it again, and is support from then on.
    assert support.rest_ns(VIEW, (1,), 900 * MS) == after_beat_ns


def test_a_heartbeat_that_the_network_has_kept_is_a_sign_of_life_and_no_news() -> None:
    detector = Detector(CONFIG, 100, 0, Layouts(node_list(CONFIG.nodes)))
    echo = detector.sent[0].take(0)
    peer = detector.packet(header(8, Kind.HEARTBEAT), 10 * MS)
    beat = heartbeat(echo, hears_us=True)
    assert detector.heartbeat(peer, header(8, Kind.HEARTBEAT), beat, 10 * MS, 10 * MS) == 0
    before = heartbeat(echo, hears_us=False)._replace(state=State.JOINING, view_counter=0)
    assert detector.heartbeat(peer, header(5, Kind.HEARTBEAT), before, 70 * MS, 70 * MS) == 0
    assert (peer.heartbeat, peer.tag, peer.last_rx_ns) == (beat, ViewId(1, 1), 70 * MS)
    deaf = heartbeat(0, hears_us=False)
    assert detector.heartbeat(peer, header(4, Kind.HEARTBEAT), deaf, 80 * MS, 80 * MS) is None
    assert detector.bidirectional(peer)
    assert detector.heartbeat(peer, header(9, Kind.HEARTBEAT), deaf, 90 * MS, 90 * MS) is None
    assert not detector.bidirectional(peer)
    peer = detector.packet(header(1, Kind.HEARTBEAT)._replace(incarnation=2), 100 * MS)
    anew = header(1, Kind.HEARTBEAT)._replace(incarnation=2)
    assert detector.heartbeat(peer, anew, before, 100 * MS, 100 * MS) == 0
    assert peer.heartbeat == before, "sequences of a new run start anew"
