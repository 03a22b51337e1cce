"""Nodes and links of corosync.conf: what a command changes, and that all else stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.grammar.corosync_nodes import (
    add_link,
    add_node,
    link_options,
    peers,
    remove_link,
    remove_node,
    update_link,
)
from cli.grammar.corosync_text import get
from hacluster.errors import InvalidRequest, NotFound
from tests.unit.cli.runner import hacli

TEXT = """\
# ours
totem {
    version: 2
    transport: knet
    interface {
        linknumber: 0
        knet_link_priority: 1
    }
}
nodelist {
    node {
        ring0_addr: 192.0.2.1
        nodeid: 1
        name: n1
    }
    # the other
    node {
        ring0_addr: 192.0.2.2
        nodeid: 5
        name: n2
    }
}
quorum {
    provider: corosync_votequorum
    two_node: 1
}
"""


def test_a_node_more_and_less() -> None:
    more = add_node(TEXT, ("192.0.2.3",), "n3")
    assert [(one.nodeid, one.name, dict(one.links)) for one in peers(more)] == [
        ("1", "n1", {0: "192.0.2.1"}),
        ("5", "n2", {0: "192.0.2.2"}),
        ("6", "n3", {0: "192.0.2.3"}),
    ]
    assert get(more, "quorum.two_node") == ("0",)
    assert "    # the other\n" in more
    for who in ("n3", "192.0.2.3", "6"):
        assert remove_node(more, who) == TEXT
    assert [one.name for one in peers(remove_node(TEXT, "n1"))] == ["n2"]
    assert get(remove_node(TEXT, "n1"), "quorum.two_node") == ("0",)


def test_a_link_more_other_and_less() -> None:
    more, number = add_link(TEXT, {"n2": "198.51.100.2", "1": "198.51.100.1"}, {"knet_link_priority": "2"})
    assert number == 1
    assert [dict(one.links) for one in peers(more)] == [
        {0: "192.0.2.1", 1: "198.51.100.1"},
        {0: "192.0.2.2", 1: "198.51.100.2"},
    ]
    assert link_options(more, 1) == {"knet_link_priority": "2"}
    assert link_options(more, 0) == {"knet_link_priority": "1"}
    other = update_link(more, 1, {"n1": "198.51.100.9"}, {"knet_link_priority": "", "mcastport": "5407"})
    assert peers(other)[0].links[1] == "198.51.100.9"
    assert link_options(other, 1) == {"mcastport": "5407"}
    assert remove_link(more, 1) == TEXT
    assert [dict(one.links) for one in peers(remove_link(more, 0))] == [
        {1: "198.51.100.1"},
        {1: "198.51.100.2"},
    ]
    assert add_link(remove_link(more, 0), {"n1": "a", "n2": "b"}, {})[1] == 0


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: add_node(TEXT, ("192.0.2.2",), "n3"), "is n2's already"),
        (lambda: add_node(TEXT, ("192.0.2.3", "192.0.2.4"), "n3"), "2 address"),
        (lambda: add_node(TEXT, ("192.0.2.3",), "n2"), "there is a node n2"),
        (lambda: add_node(TEXT, ("192.0 2.3",), ""), "neither an address nor a name"),
        (lambda: add_node(TEXT, ("192.0.2.3",), "a b"), "no name of a node"),
        (lambda: add_node("totem {\n}\n", ("192.0.2.3",), ""), "no nodelist"),
        (lambda: remove_node(remove_node(TEXT, "n1"), "n2"), "the only node"),
        (lambda: add_link(TEXT, {"n1": "198.51.100.1"}, {}), "no address is given for n2"),
        (lambda: add_link(TEXT, {"n1": "198.51.100.1", "n2": "198.51.100.1"}, {}), "given twice"),
        (lambda: add_link(TEXT.replace("knet\n", "udpu\n"), {}, {}), "transport udpu has one link"),
        (lambda: update_link(TEXT, 0, {}, {"linknumber": "4"}), "the link itself"),
        (lambda: remove_link(TEXT, 0), "is the only one"),
    ],
)
def test_what_is_refused(call: object, what: str) -> None:
    assert callable(call)
    with pytest.raises(InvalidRequest, match=what):
        call()


def test_who_is_not_there() -> None:
    for call in (
        lambda: remove_node(TEXT, "n9"),
        lambda: remove_link(TEXT, 3),
        lambda: update_link(TEXT, 3, {}, {"x": "y"}),
        lambda: add_link(TEXT, {"n9": "a"}, {}),
    ):
        with pytest.raises(NotFound):
            call()


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HACLUSTER_ROOT", str(tmp_path))
    path = tmp_path / "etc/corosync/corosync.conf"
    path.parent.mkdir(parents=True)
    path.write_text(TEXT)
    assert hacli(["corosync", "add-node", "192.0.2.3", "n3"])[0] == 0
    assert hacli(["corosync", "link", "show"]) == (
        0,
        "link 0:\n  node n1: 192.0.2.1\n  node n2: 192.0.2.2\n  node n3: 192.0.2.3\n"
        "  knet_link_priority: 1\n",
    )
    assert hacli(["corosync", "del-node", "n3"])[0] == 0
    assert path.read_text() == TEXT
    assert (
        hacli(["corosync", "link", "add", "n1=10.0.0.1", "n2=10.0.0.2", "options", "mcastport=5409"])[0] == 0
    )
    assert hacli(["corosync", "link", "update", "1", "n2=10.0.0.3", "options", "mcastport="])[0] == 0
    assert "  node n2: 10.0.0.3\n" in hacli(["corosync", "link"])[1]
    for words in (["add"], ["add", "n1"], ["add", "n1="], ["update", "x", "n1=a"], ["remove"], ["mend"]):
        before = path.read_text()
        assert hacli(["corosync", "link", *words])[0] == 2, words
        assert path.read_text() == before
    assert hacli(["corosync", "link", "remove", "7"])[0] == 1
    assert hacli(["corosync", "add-node"])[0] == 2
    assert hacli(["corosync", "del-node"])[0] == 2
