from __future__ import annotations

import pytest

from hacluster.errors import InvalidDocuments
from hacluster.settings import parse

GOOD = """\
[cluster]
name = "web"
id = "9f86d081884c7d659a2feaa0c55ad015"
[timers]
keepalive = "250ms"
deadtime = "2500ms"
[quorum]
two_node = true
[[link]]
kind = "udp"
[[node]]
id = 1
name = "node1"
addresses = ["127.0.1.1"]
[[node]]
id = 2
name = "node2"
addresses = ["127.0.1.2"]
"""


def test_a_good_file_has_its_defaults() -> None:
    settings = parse(GOOD)
    assert settings.timers.warntime_ms == 1_250
    assert settings.timers.initdead_ms == 30_000
    assert settings.quorum.wait_for_all
    assert settings.links[0].port == 694
    assert settings.quorum_config().votes_total == 2


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ('name = "node2"', 'name = "node1"', 17, "two nodes have the name node1"),
        ("id = 2", "id = 1", 16, "two nodes have the id 1"),
        ('kind = "udp"', 'kind = "avian"', 10, "'avian' is no kind of link"),
        ('deadtime = "2500ms"', 'deadtime = "soon"', 6, "'soon' is not a duration"),
        ('deadtime = "2500ms"', 'deadtime = "400ms"', 6, "deadtime must exceed 2 x keepalive"),
        ('["127.0.1.2"]', '["node2.example"]', 18, "is not an IP address"),
        ('["127.0.1.2"]', "[]", 18, "has 0 addresses for 1 links"),
        ("127.0.1.2", "127.0.1.1", 18, "two nodes have the address 127.0.1.1"),
        ("two_node = true", "two_nodes = true", 8, "'two_nodes' is not known in [quorum]"),
        ('id = "9f86d081884c7d659a2feaa0c55ad015"', 'id = "web"', 3, "no valid id"),
        ("[quorum]", "[quorum", 7, "line 7"),
    ],
)
def test_each_mistake_is_named_with_its_line(old: str, new: str, line: int, what: str) -> None:
    with pytest.raises(InvalidDocuments) as caught:
        parse(GOOD.replace(old, new), source="cluster.toml")
    lines = str(caught.value).splitlines()
    assert any(text.startswith(f"cluster.toml:{line}: ") and what in text for text in lines), lines


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(InvalidDocuments) as caught:
        parse(GOOD.replace('kind = "udp"', 'kind = "x"').replace("id = 2", "id = 0"))
    assert len(caught.value.errors) == 2
