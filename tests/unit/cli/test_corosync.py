"""corosync.conf by dotted path: what is read, and what a change leaves as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.grammar.corosync_text import get, put
from hacluster.errors import InvalidDocument, InvalidRequest, NotFound
from tests.unit.cli.runner import hacli

TEXT = """\
# the cluster
totem {
    version: 2
    cluster_name: hacluster   \n\
    interface {
        linknumber: 0
    }
}
nodelist {
  node {
    ring0_addr: 192.0.2.1
    nodeid: 1
  }
  # the other
  node {
    ring0_addr: 192.0.2.2
    nodeid: 2
  }
}
"""


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("totem.cluster_name", ("hacluster",)),
        ("totem.interface.linknumber", ("0",)),
        ("totem.interface.0.linknumber", ("0",)),
        ("nodelist.node.ring0_addr", ("192.0.2.1", "192.0.2.2")),
        ("nodelist.node.1.ring0_addr", ("192.0.2.2",)),
        ("nodelist.node.2.ring0_addr", ()),
        ("quorum.provider", ()),
    ],
)
def test_get(path: str, values: tuple[str, ...]) -> None:
    assert get(TEXT, path) == values


def test_a_change_is_one_line() -> None:
    after = put(TEXT, "nodelist.node.1.ring0_addr", "192.0.2.9")
    changed = [(a, b) for a, b in zip(TEXT.splitlines(), after.splitlines(), strict=True) if a != b]
    assert changed == [("    ring0_addr: 192.0.2.2", "    ring0_addr: 192.0.2.9")]


def test_what_is_not_there_is_added() -> None:
    after = put(TEXT, "totem.token", "5000")
    assert get(after, "totem.token") == ("5000",)
    assert len(after.splitlines()) == len(TEXT.splitlines()) + 1
    after = put(TEXT, "quorum.provider", "corosync_votequorum")
    assert after.endswith("\nquorum {\n\tprovider: corosync_votequorum\n}\n")
    after = put(TEXT, "nodelist.node.0.name", "n1")
    assert get(after, "nodelist.node.name") == ("n1",)


def test_what_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"stands 2 times.*nodelist\.node\.0\.nodeid"):
        put(TEXT, "nodelist.node.nodeid", "7")
    with pytest.raises(InvalidRequest, match="2 sections could have it"):
        put(TEXT, "nodelist.node.name", "x")
    with pytest.raises(NotFound):
        put(TEXT, "a.b.c", "1")
    for path in ("", "totem", "totem.", ".x", "totem.version.0", "totem version", "0.a"):
        with pytest.raises(InvalidRequest):
            get(TEXT, path)
    for value in ("", " x", "a\nb: c", "x {", "}"):
        with pytest.raises(InvalidRequest, match="cannot be a value"):
            put(TEXT, "totem.version", value)
    for text, line in (("totem {\n", 1), ("totem {\n  nonsense\n}\n", 2), ("}\n", 1), ("a: b\n", 1)):
        with pytest.raises(InvalidDocument) as caught:
            get(text, "totem.version")
        assert caught.value.line == line


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30))
def test_what_was_set_is_read(value: str) -> None:
    try:
        after = put(TEXT, "totem.cluster_name", value)
    except InvalidRequest:
        return
    assert get(after, "totem.cluster_name") == (value,)


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HACLUSTER_ROOT", str(tmp_path))
    status, text = hacli(["corosync", "show"])
    assert status == 1
    assert "corosync does not carry this cluster" in text
    path = tmp_path / "etc/corosync/corosync.conf"
    path.parent.mkdir(parents=True)
    path.write_text(TEXT)
    assert hacli(["corosync", "show"]) == (0, TEXT)
    assert hacli(["corosync", "get", "totem.version"]) == (0, "2\n")
    assert hacli(["corosync", "get", "totem.token"]) == (1, "")
    status, text = hacli(["corosync", "set", "totem.token", "5000"])
    assert status == 0
    assert "on the other nodes" in text
    assert hacli(["corosync", "get", "totem.token"]) == (0, "5000\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hacli(["corosync", "reload"])[0] == 1
    assert hacli(["corosync", "status", "quorum"])[0] == 1  # its tool is not there
    assert hacli(["corosync", "status", "votes"])[0] == 2
