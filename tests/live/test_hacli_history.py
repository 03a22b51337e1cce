"""Commits that are confirmed, rolled back, undone, on three nodes of real daemons on loopback addresses."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator

import pytest

from cli.context import EXIT_UNSAFE
from cli.formats import misfits
from tests.live.local_cluster import LocalCluster, LocalNode, until
from tests.live.test_hacli import hacli

pytestmark = [pytest.mark.slow, pytest.mark.alone]
CONFIGURATION = """\
property stonith-enabled=false
primitive a ocf:hacluster:Dummy op monitor interval=1s
primitive b ocf:hacluster:Dummy
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    cluster = LocalCluster(tmp_path_factory.mktemp("history"), 3, keepalive_ms=300, deadtime_ms=4_000)
    for node in cluster.nodes:
        node.start()
    try:
        until(
            lambda: all((now := node.status()) and now.dc and now.quorate for node in cluster.nodes),
            60,
            "a DC",
        )
        text = cluster.nodes[0].root / "site.crm"
        text.write_text(CONFIGURATION)
        hacli(cluster.nodes[0], "-w", "--reason", "the beginning", "apply", str(text))
        yield cluster
    finally:
        for node in cluster.nodes:
            node.power_cut()


def priority(node: LocalNode) -> str:
    return hacli(node, "configure", "show", "b").partition("priority=")[2].split("\n")[0]


def test_every_commit_is_kept_and_can_be_undone(cluster: LocalCluster) -> None:
    one, other = cluster.nodes[:2]
    hacli(one, "--reason", "more weight", "resource", "meta", "b", "set", "priority", "1")
    hacli(other, "resource", "meta", "a", "set", "priority", "7")
    revisions = json.loads(hacli(other, "--json", "history", "config"))["revisions"]
    assert [one["reason"] for one in revisions][-3:] == ["the beginning", "more weight", ""]
    assert revisions[-2]["by"].endswith("@node1")
    number = revisions[-2]["revision"]
    assert "+     meta priority=1" in hacli(one, "history", "show", number)
    assert "+     meta priority=7" in hacli(one, "diff", number)
    # The last but one is undone, the last stays; then back to where it was.
    hacli(one, "undo", number)
    assert priority(one) == ""
    assert "priority=7" in hacli(one, "configure", "show", "a")
    hacli(one, "rollback", number)
    assert priority(one) == "1"
    assert "priority=7" not in hacli(one, "configure", "show", "a")
    hacli(one, "undo")
    assert "priority=7" in hacli(one, "configure", "show", "a")
    # A second undo would take back the first: not without a word, and nobody can be asked here.
    assert "took back another, which would be made again" in hacli(one, "undo", status=EXIT_UNSAFE)
    assert "priority=7" in hacli(one, "configure", "show", "a")
    hacli(one, "-F", "undo")
    assert "priority=7" not in hacli(one, "configure", "show", "a")
    hacli(one, "-F", "undo")
    assert "priority=7" in hacli(one, "configure", "show", "a")
    hacli(one, "rollback", "0.9999", status=1)


def test_events_quorum_and_a_report(cluster: LocalCluster) -> None:
    one = cluster.nodes[0]
    text = hacli(one, "history", "events")
    assert "a@node" in text
    assert "start: ok" in text
    assert "commit" in text
    assert "actions, complete" in text
    kinds = {line.split()[2] for line in hacli(one, "history", "events", "a").splitlines()}
    assert kinds == {"commit", "operation", "planned"}
    assert "votes: 3 of 3" in hacli(one, "cluster", "quorum")
    for name, *words in (
        ("quorum", "cluster", "quorum"),
        ("health", "cluster", "health"),
        ("revisions", "history", "config"),
        ("transitions", "transition", "list"),
        ("status", "status"),
        ("fence-devices", "fence", "list"),
        ("fence-history", "fence", "history"),
    ):
        assert misfits(name, json.loads(hacli(one, "--output", "json", *words))) == []
    target = one.root / "report"
    hacli(one, "report", str(target))
    with tarfile.open(f"{target}.tar.gz") as tar:
        names = {name.removeprefix("report/") for name in tar.getnames()}
    assert {"cib.xml", "commits.txt", "events.txt", "links.txt", "logs/crm.log"} <= names


def test_what_nobody_confirms_is_undone_and_what_is_confirmed_stays(cluster: LocalCluster) -> None:
    one, other = cluster.nodes[:2]
    hacli(one, "--confirm", "8s", "resource", "meta", "b", "set", "priority", "2")
    assert priority(other) == "2"
    until(lambda: priority(other) != "2", 60, "the rollback")
    assert "rollback: it was not confirmed in time" in hacli(one, "history", "config")
    hacli(one, "--confirm", "60s", "resource", "meta", "b", "set", "priority", "3")
    hacli(other, "confirm")
    assert priority(one) == "3"
    hacli(other, "confirm", status=1)


def test_a_guard_that_stops_undoes_it_at_once(cluster: LocalCluster) -> None:
    one = cluster.nodes[0]
    hacli(one, "--confirm", "10m", "--guard", "a", "resource", "stop", "a")
    until(lambda: "rollback: a does not run" in hacli(one, "history", "config"), 30, "the rollback")
    until(lambda: "running on" in hacli(one, "resource", "locate", "a"), 30, "a")


def test_the_next_dc_keeps_the_promise(cluster: LocalCluster) -> None:
    status = cluster.nodes[0].status()
    assert status is not None
    dc, other, third = sorted(cluster.nodes, key=lambda node: node.name != status.dc)
    before = priority(other)
    hacli(other, "--confirm", "20s", "resource", "meta", "b", "set", "priority", "9")
    dc.kill("crm")
    until(
        lambda: (now := other.status()) is not None and now.dc in (other.name, third.name), 30, "the next DC"
    )
    assert priority(other) == "9"
    until(lambda: priority(other) == before, 90, "the rollback by the next DC")
    dc.start("crm")
    until(lambda: (now := dc.status()) is not None and bool(now.dc), 30, "the first node")


def test_what_was_deleted_still_has_a_history(cluster: LocalCluster) -> None:
    one, other = cluster.nodes[:2]
    hacli(one, "-w", "configure", "primitive", "gone", "ocf:hacluster:Dummy")
    until(lambda: "running on" in hacli(one, "resource", "locate", "gone"), 30, "it runs")
    hacli(one, "-w", "resource", "stop", "gone")
    hacli(one, "-w", "-F", "configure", "delete", "gone")
    until(lambda: "gone" not in hacli(one, "status"), 30, "it is gone")
    text = hacli(other, "history", "resource", "gone")
    assert "added in" in text
    assert "deleted in" in text
    assert "start in transition" in text
    assert "stop in transition" in text
    assert misfits("events", json.loads(hacli(other, "--json", "history", "events", "gone"))) == []


def test_logs_by_time(cluster: LocalCluster) -> None:
    one = cluster.nodes[0]
    lines = hacli(one, "history", "log", "-f", "1h", "crm.view", "lrm.").splitlines()
    assert any("crm.view" in line for line in lines)
    assert all("crm.view" in line or "lrm." in line for line in lines)
    times = [line.partition("timestamp=")[2][:19] for line in lines if "timestamp=" in line]
    assert len(times) > 5
    assert times == sorted(times)
    assert hacli(one, "history", "log", "-f", "2001-01-01", "-t", "2001-01-02") == ""


def test_a_node_that_has_left_says_so(cluster: LocalCluster) -> None:
    status = cluster.nodes[0].status()
    assert status is not None
    node = next(node for node in cluster.nodes if node.name != status.dc)
    hacli(node, "cluster", "stop")
    text = hacli(node, "status")
    assert f"{node.name} is STOPPED: it has left the cluster, and this is an OLD view, from " in text
    data = json.loads(hacli(node, "status", "--json"))
    assert data["stopped"] is True
    node.kill("crm")
    assert "does not answer: is the cluster running on this node?" in hacli(node, "status", status=1)
