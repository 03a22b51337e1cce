from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cli.grammar import moves
from cli.grammar.definitions import parse_text
from cli.grammar.document import empty_cib
from cli.grammar.load import load
from cli.grammar.show import show
from crm.cib.model import Element
from hacluster.errors import InvalidRequest

NOW = datetime(2024, 1, 31, 12, 0, 0, tzinfo=UTC)
CIB = load(
    empty_cib(),
    parse_text("node n1\nnode n2\nprimitive a Dummy\ntag t a\nproperty stonith-enabled=false", "text"),
    source="text",
).cib


@pytest.mark.parametrize(
    ("lifetime", "end"),
    [
        ("PT30M", "2024-01-31 12:30:00Z"),
        ("P1D", "2024-02-01 12:00:00Z"),
        ("P1M", "2024-02-29 12:00:00Z"),  # January has days that February has not
        ("P13M", "2025-02-28 12:00:00Z"),
        ("P1Y2W3DT4H5M6S", "2025-02-17 16:05:06Z"),
    ],
)
def test_lifetimes(lifetime: str, end: str) -> None:
    assert moves.end_of(lifetime, NOW) == end


@pytest.mark.parametrize("lifetime", ["P", "30M", "PT", "P1X", "forever"])
def test_what_is_no_lifetime(lifetime: str) -> None:
    with pytest.raises(InvalidRequest, match="ISO 8601"):
        moves.end_of(lifetime, NOW)


def constraints(cib: Element) -> list[str]:
    return [line for line in show(cib).replace(" \\\n\t", " ").splitlines() if line.startswith("location")]


def test_a_move_replaces_the_last_one_and_a_ban_from_there() -> None:
    cib = moves.ban(moves.prefer(CIB, "a", "n1"), "a", "n2")
    assert constraints(cib) == [
        "location cli-ban-a-on-n2 a role=Started -inf: n2",
        "location cli-prefer-a a role=Started inf: n1",
    ]
    assert constraints(moves.prefer(cib, "a", "n2")) == ["location cli-prefer-a a role=Started inf: n2"]


def test_with_a_lifetime_it_is_a_rule() -> None:
    cib = moves.prefer(CIB, "a", "n1", "2024-02-01 12:00:00Z")
    assert constraints(cib) == [
        'location cli-prefer-a a role=Started rule #uname string:eq n1 and date lt "2024-02-01 12:00:00Z"'
    ]
    rule = cib.by_id("cli-prefer-rule-a")
    assert rule is not None
    assert [one.id for one in rule.children] == ["cli-prefer-expr-a", "cli-prefer-lifetime-end-a"]


def test_clear_takes_ours_only() -> None:
    mine = load(CIB, parse_text("location mine a 5: n1", "text"), source="text").cib
    cib = moves.ban(moves.prefer(mine, "a", "n1"), "a", "n2")
    assert moves.clear(cib, "a") == mine
    assert moves.clear(CIB, "a") == CIB
