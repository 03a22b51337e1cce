from __future__ import annotations

import pytest

from hacluster.cluster_toml import render
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


def test_deadtime_that_is_found_by_itself() -> None:
    timers = parse(GOOD.replace('"2500ms"', '"auto"')).timers
    assert timers.deadtime_auto
    assert (timers.deadtime_ms, timers.warntime_ms) == (2_500, 1_250)
    slow = parse(GOOD.replace('"2500ms"', '"auto"').replace('"250ms"', '"2s"')).timers
    assert slow.deadtime_ms == 20_000
    assert slow.initdead_ms == 40_000


@pytest.mark.parametrize(
    ("text", "order"),
    [('"lowest"', (1, 2)), ('"highest"', (2, 1)), ('["node2"]', (2,)), ('["node2", "node1"]', (2, 1))],
)
def test_tie_breakers_are_resolved_against_the_voters(text: str, order: tuple[int, ...]) -> None:
    settings = parse(GOOD.replace("two_node = true", f"auto_tie_breaker = {text}"))
    config = settings.quorum_config()
    assert config.tiebreak_order == order
    assert config.tiebreak == order[0]
    assert parse(render(settings)) == settings


def test_last_man_standing_and_diskless_nodes() -> None:
    text = GOOD.replace("two_node = true", 'last_man_standing = true\nlms_window = "4s"')
    settings = parse(text)
    assert settings.quorum_config().lms_window_ms == 4_000
    assert parse(render(settings)) == settings
    diskless = GOOD.replace("id = 2", "id = 2\ndiskless = true").replace("two_node = true", "")
    with pytest.raises(InvalidDocuments, match="allow_diskless"):
        parse(diskless)
    allowed = parse(diskless.replace('name = "web"', 'name = "web"\nallow_diskless = true'))
    node = allowed.node("node2")
    assert node is not None
    assert node.diskless
    assert node.votes == 0
    assert [voter for voter, _ in allowed.quorum_config().voters] == [1]
    assert parse(render(allowed)) == allowed
    voting = diskless.replace("diskless = true", "diskless = true\nvotes = 1")
    with pytest.raises(InvalidDocuments, match="cannot vote"):
        parse(voting.replace('name = "web"', 'name = "web"\nallow_diskless = true'))


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
        ("two_node = true", 'auto_tie_breaker = "middle"', 8, "no tie-breaker"),
        ("two_node = true", 'auto_tie_breaker = ["node3"]', 8, "no tie-breaker"),
        ("two_node = true", 'lms_window = "2s"', 8, "without last_man_standing"),
        ("two_node = true", "two_nodes = true", 8, "'two_nodes' is not known in [quorum]"),
        ('id = "9f86d081884c7d659a2feaa0c55ad015"', 'id = "web"', 3, "no valid id"),
        ("[quorum]", "[quorum", 7, "line 7"),
        ('deadtime = "2500ms"', "deadtime = inf", 6, "deadtime = inf is more than a day"),
        ('deadtime = "2500ms"', 'deadtime = "90000s"', 6, "is more than a day"),
        ('deadtime = "2500ms"', "deadtime = nan", 6, "'nan' is not a duration"),
        ('deadtime = "2500ms"', "deadtime = true", 6, "'True' is not a duration"),
        ('keepalive = "250ms"', 'keepalive = "19ms"', 5, "keepalive must be 20 ms to 60 s"),
        ('keepalive = "250ms"', 'keepalive = "250ms"\nwarntime = 3', 6, "warntime must lie between"),
        ('keepalive = "250ms"', 'keepalive = "250ms"\ninitdead = 4', 6, "initdead must be >= 2 x deadtime"),
        (
            'keepalive = "250ms"',
            'keepalive = "250ms"\ndeadping = "250ms"',
            6,
            "deadping must exceed keepalive",
        ),
        ('keepalive = "250ms"', 'keepalive = "250ms"\nsettle = 1', 6, "'settle' is not known in [timers]"),
        ("two_node = true", "last_man_standing = true\nlms_window = 0", 9, "lms_window must be 1 s or more"),
        ('kind = "udp"', 'kind = "udp"\nmtu = 575', 11, "mtu = 575 is out of bounds"),
        ('kind = "udp"', 'kind = "udp"\ndevice = "/dev/ttyS0"', 11, "device means nothing on a udp link"),
        ('kind = "udp"', 'kind = "mcast"\ngroup = "10.0.0.1"', 11, "must be a multicast address"),
        ('kind = "udp"', 'kind = "bcast"\nttl = 2', 11, "ttl means nothing on a bcast link"),
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
