"""corosync.conf becomes cluster.toml, or every mistake is named with its line."""

from __future__ import annotations

import pytest

from hacluster import cluster_toml, corosync_conf, settings
from hacluster.errors import InvalidDocuments
from hacluster.vocabulary.ids import NodeName

THREE = """\
# made by pcs
totem {
    version: 2
    cluster_name: web
    transport: knet
    crypto_cipher: aes256
    token: 2000
    interface {
        linknumber: 0
    }
}

nodelist {
    node {
        ring0_addr: 10.0.0.1
        ring1_addr: 10.1.0.1
        name: a
        nodeid: 1
    }
    node {
        ring0_addr: host-b
        ring1_addr: 10.1.0.2
        name: b
        nodeid: 2
        quorum_votes: 2
    }
    node {
        ring0_addr: 10.0.0.3
        ring1_addr: 10.1.0.3
        name: c
        nodeid: 7
    }
}
quorum {
    provider: corosync_votequorum
    wait_for_all: 1
    last_man_standing: 1
    last_man_standing_window: 20000
    auto_tie_breaker: 1
    auto_tie_breaker_node: 7 1
    expected_votes: 3
    device {
        model: net
        net {
            host: 192.0.2.9
            algorithm: ffsplit
        }
    }
}
logging {
    to_syslog: yes
}
"""
TWO = """\
totem {
 version: 2
}
quorum {
 provider: corosync_votequorum
 two_node: 1
}
nodelist {
 node {
  ring0_addr: n1
  nodeid: 1
 }
 node {
  ring0_addr: n2
  nodeid: 2
 }
}
"""
HOSTS = {"host-b": ("10.0.0.2",), "n1": ("10.0.0.1",), "n2": ("10.0.0.2",)}


def convert(text: str, *, keep: bool = False) -> corosync_conf.Converted:
    return corosync_conf.convert(text, keep_corosync=keep, resolve=lambda name: HOSTS.get(name, ()))


def failures(text: str) -> list[str]:
    with pytest.raises(InvalidDocuments) as caught:
        convert(text)
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize("keep", [False, True])
def test_what_it_says_is_what_cluster_toml_says(keep: bool) -> None:
    converted = convert(THREE, keep=keep)
    made = converted.settings
    assert settings.parse(cluster_toml.render(made)) == made
    assert (made.cluster_name, made.backend) == ("web", "corosync" if keep else "builtin")
    assert [(n.id, n.name, n.votes, n.addresses) for n in made.nodes] == [
        (1, "a", 1, ("10.0.0.1", "10.1.0.1")),
        (2, "b", 2, ("10.0.0.2", "10.1.0.2")),
        (7, "c", 1, ("10.0.0.3", "10.1.0.3")),
    ]
    assert [link.kind for link in made.links] == ["udp", "udp"]
    assert made.timers == settings.Timers(
        keepalive_ms=265, warntime_ms=1_325, deadtime_ms=2_650, initdead_ms=30_000, deadping_ms=2_650
    )
    assert made.quorum == settings.Quorum(
        wait_for_all=True,
        tie_breakers=(NodeName("c"), NodeName("a")),
        last_man_standing=True,
        lms_window_ms=20_000,
    )
    assert made.witness == (None if keep else settings.Witness(address="192.0.2.9"))
    assert any("expected_votes 3" in warning for warning in converted.warnings)
    assert any("ha-qnet" in warning for warning in converted.warnings) is not keep
    assert "corosync.conf:7: token 2000 ms and 650 ms for 3 nodes: deadtime 2650 ms" in "\n".join(
        converted.notes
    )
    assert any(note.startswith("corosync.conf:50: logging is left out") for note in converted.notes)


def test_defaults_are_corosyncs() -> None:
    made = convert(TWO).settings
    assert [node.name for node in made.nodes] == ["n1", "n2"]
    assert made.timers.deadtime_ms == 3_000
    assert made.quorum == settings.Quorum(two_node=True, wait_for_all=True)
    assert not convert(
        TWO.replace("two_node: 1", "two_node: 1\n wait_for_all: 0")
    ).settings.quorum.wait_for_all


@pytest.mark.parametrize(
    ("was", "now", "word"),
    [
        ("  nodeid: 1", "", "corosync.conf:9: a node has no nodeid"),
        ("  nodeid: 1", "  nodeid: x", "corosync.conf:11: nodeid is 'x'"),
        ("  nodeid: 2", "  nodeid: 1", "corosync.conf:13: two nodes have the id 1"),
        ("ring0_addr: n1", "ring0_addr: 10.0.0.9", "corosync.conf:10: '10.0.0.9' is no node's name"),
        ("ring0_addr: n1", "ring0_addr: n9", "corosync.conf:10: the address of n9 is not known"),
        (" version: 2", " tokn: 1", "corosync.conf:2: tokn is not known in totem (did you mean token?)"),
        (" version: 2", " token: soon", "corosync.conf:2: token is 'soon'"),
        (" version: 2", " what", "corosync.conf:2: 'what' is no section and no key"),
        ("votequorum", "other", "corosync.conf:5: provider corosync_other is not known"),
        ("two_node: 1", "two_node: 2", "corosync.conf:6: two_node is '2'"),
        (
            "two_node: 1",
            "auto_tie_breaker: 1\n auto_tie_breaker_node: 9",
            "corosync.conf:7: auto_tie_breaker",
        ),
        ("quorum {", "quorom {", "corosync.conf:4: section quorom is not known"),
        ("totem {", "}\ntotem {", "corosync.conf:1: a } that closes nothing"),
        ("nodelist {", "x {\n}\nnodelist {", "corosync.conf:8: section x is not known"),
        ("  ring0_addr: n2", "  ring0_addr: n2\n  ring1_addr: 10.1.0.2", "node n2 has 2 rings, n1 has 1"),
    ],
)
def test_a_mistake_is_named_with_its_line(was: str, now: str, word: str) -> None:
    assert any(error.startswith(word) or word in error for error in failures(TWO.replace(was, now, 1)))


def test_what_is_no_cluster_is_refused() -> None:
    assert "no nodelist" in failures("totem {\n}\n")[0]
    assert (
        failures("totem {\n token: 1000\n")[0] == "corosync.conf:1: the section totem is not closed (add a })"
    )
    three = THREE.replace("wait_for_all: 1", "two_node: 1")
    assert failures(three) == ["corosync.conf:36: two_node with 3 nodes (two_node: 0, or exactly two nodes)"]
