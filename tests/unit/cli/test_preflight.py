"""What is looked at before a node joins; the network is loopback."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from cli import preflight
from cli.commands.cluster_join import report
from cli.context import Context
from cli.preflight import Finding, Level
from hacluster import settings as ha_settings
from hacluster.errors import InvalidRequest
from hacluster.settings import Link, Node, Settings
from hacluster.vocabulary.ids import NodeId, NodeName
from tests.ports import free_port

CLUSTER = bytes(range(16))


def some_settings(*links: Link) -> Settings:
    return Settings(
        cluster_name="web",
        cluster_id=CLUSTER,
        links=links or (Link(kind="udp", port=free_port()),),
        nodes=(Node(id=NodeId(1), name=NodeName("n1"), addresses=("127.0.0.1",)),),
        ports=ha_settings.Ports(crm=free_port(), lrm=free_port()),
    )


@pytest.mark.parametrize(
    ("ahead_ms", "level"),
    [
        (0, Level.OK),
        (-999, Level.OK),
        (1_000, Level.WARNING),
        (-59_999, Level.WARNING),
        (60_000, Level.BAD),
        (-3_600_000, Level.BAD),
    ],
)
def test_clocks(ahead_ms: int, level: Level) -> None:
    found = preflight.clock("n1", ahead_ms)
    assert found.level is level
    assert ("behind" in found.what) == (ahead_ms <= -1_000)


def test_releases() -> None:
    assert preflight.version("n1", "1", "1").level is Level.OK
    assert preflight.version("n1", "2", "1").level is Level.WARNING


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"n1": "192.0.2.1", "n2": "192.0.2.99", "n3": "127.0.1.1"}

    def answer(name: str, _port: object) -> list[tuple[object, ...]]:
        if name not in table:
            raise socket.gaierror(name)
        return [(2, 1, 6, "", (table[name], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    nodes = [Node(id=NodeId(n), name=NodeName(f"n{n}"), addresses=(f"192.0.2.{n}",)) for n in range(1, 5)]
    every = list(preflight.names(nodes))
    found = [str(one) for one in every if one.level is Level.WARNING]
    fine = [one.what for one in every if one.level is Level.OK]
    assert fine == ["the name n1 resolves to 192.0.2.1", "the name n3 resolves to 127.0.1.1"]
    assert len(found) == 2  # a name that is this machine's own loopback says nothing else
    assert "n2 resolves to 192.0.2.99, cluster.toml says 192.0.2.2" in found[0]
    assert "n4 does not resolve" in found[1]


def test_own_addresses_and_ports() -> None:
    made = some_settings()
    (fine,) = preflight.own_addresses(["127.0.0.1"], made)
    assert fine.level is Level.OK
    assert (
        f"its ports are free (TCP {made.ports.crm}, TCP {made.ports.lrm}, UDP {made.links[0].port})"
        in fine.what
    )
    (stranger,) = preflight.own_addresses(["192.0.2.77"], made)
    assert (stranger.level, "no address of this machine" in stranger.what) == (Level.BAD, True)
    with closing(socket.create_server(("127.0.0.1", made.ports.lrm))):
        (taken,) = preflight.own_addresses(["127.0.0.1"], made)
    assert f"TCP port {made.ports.lrm} of 127.0.0.1 is taken" in taken.what
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
        other.bind(("127.0.0.1", made.links[0].port))
        (busy,) = preflight.own_addresses(["127.0.0.1"], made)
    assert busy.what.startswith("UDP port")


def test_others_ports() -> None:
    made = some_settings()
    with closing(socket.create_server(("127.0.0.1", made.ports.crm))):
        (shut,) = preflight.reachable(made.nodes, made)
        with closing(socket.create_server(("127.0.0.1", made.ports.lrm))):
            (fine,) = preflight.reachable(made.nodes, made)
    assert (fine.level, "n1: 127.0.0.1 answers" in fine.what) == (Level.OK, True)
    assert (shut.level, f"port {made.ports.lrm}" in shut.what) == (Level.WARNING, True)


def test_only_what_is_wrong_is_said_unless_all_is_wanted() -> None:
    context = Context()
    context.err = io.StringIO()
    fine, odd = Finding(Level.OK, "it is well"), Finding(Level.WARNING, "it is odd", "look")
    report(context, [fine, odd], verbose=False)
    assert context.err.getvalue() == "WARNING: it is odd (look)\n"
    report(context, [fine], verbose=True)
    assert context.err.getvalue().endswith("INFO: it is well\n")
    bad = Finding(Level.BAD, "it cannot be")
    with pytest.raises(InvalidRequest, match="it cannot be"):
        report(context, [fine, bad], verbose=False)
    context.options.force = True
    report(context, [bad], verbose=False)
    assert context.err.getvalue().endswith("WARNING: it cannot be\n")


def packet(cluster: bytes) -> bytes:
    return b"HA\x01\x01" + bytes(8) + cluster[:4] + bytes(60)


@pytest.fixture
def speaker() -> Iterator[tuple[Link, list[bytes]]]:
    """Says what is in the list on the link, every 50 ms."""
    link, said, stop = Link(kind="bcast", port=free_port()), list[bytes](), threading.Event()

    def speak() -> None:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as out:
            while not stop.wait(0.05):
                for data in said:
                    out.sendto(data, ("127.0.0.1", link.port))

    thread = threading.Thread(target=speak)
    thread.start()
    yield link, said
    stop.set()
    thread.join()


def test_heartbeats_of_this_cluster_are_heard(speaker: tuple[Link, list[bytes]]) -> None:
    link, said = speaker
    said.append(packet(CLUSTER))
    (found,) = preflight.multicast([(link, "127.0.0.1")], some_settings(link))
    assert (found.level, "127.0.0.1" in found.what) == (Level.OK, True)


def test_those_of_others_do_not_count(
    speaker: tuple[Link, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "LISTEN_S_MIN", 0.3)
    link, said = speaker
    said += [packet(bytes(16)), b"", b"HA", packet(CLUSTER)[1:]]
    made = some_settings(link)
    begun = time.monotonic()
    (found,) = preflight.multicast([(link, "127.0.0.1")], made)
    assert (found.level, "no heartbeat" in found.what) == (Level.BAD, True)
    assert time.monotonic() - begun < 3


def test_links_with_a_list_of_receivers_are_not_listened_to() -> None:
    made = some_settings()
    assert list(preflight.multicast([(made.links[0], "127.0.0.1")], made)) == []
