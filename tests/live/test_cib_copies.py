"""Damaged disks and changes made apart, with real daemons on loopback: what hacli says and mends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.local_cluster import ROOT, LocalCluster, LocalNode, until

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    made = LocalCluster(tmp_path, 3, initdead_ms=10_000)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def hacli(node: LocalNode, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", "--root", str(node.root), *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def said(node: LocalNode, *words: str) -> str:
    done = hacli(node, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def set_limit(node: LocalNode, number: int, *options: str) -> None:
    said(node, *options, "configure", "property", f"batch-limit={number}")


def limit_at(node: LocalNode) -> str:
    done = hacli(node, "configure", "show", "xml")
    return done.stdout.partition('name="batch-limit" value="')[2].partition('"')[0]


def options_at(node: LocalNode) -> str:
    return hacli(node, "configure", "show").stdout


def has_dc(cluster: LocalCluster) -> bool:
    dc = cluster.dc()
    status = dc.status() if dc is not None else None
    return status is not None and status.quorate and all(node.crm for node in status.nodes)


def test_all_promises_damaged_and_begun_anew_from_what_can_be_read(cluster: LocalCluster) -> None:
    one, two, three = cluster.nodes
    until(lambda: has_dc(cluster), 20, "a first DC")
    set_limit(one, 7)
    cluster.stop()
    for node in cluster.nodes:
        path = node.paths.var / "cib/promise"
        data = bytearray(path.read_bytes())
        data[-9] ^= 4
        path.write_bytes(bytes(data))
    assert "damaged (promise:" in said(one, "cib", "recover")
    cluster.start()
    until(lambda: all(node.status() is not None for node in cluster.nodes), 20, "daemons that answer")
    until(
        lambda: any("corrupt-" in notice for s in [one.status()] if s for notice in s.notices), 20, "a notice"
    )
    refused = hacli(one, "-F", "cib", "recover", "from", str(one.paths.var / "cib"))
    assert refused.returncode == 1
    cluster.stop()
    (kept,) = (one.paths.var / "cib").glob("corrupt-*")
    for node in (one, two):
        assert "begins anew" in said(node, "-F", "cib", "recover", "from", str(kept))
    cluster.start()
    until(lambda: has_dc(cluster), 20, "a DC after the new beginning")
    until(lambda: [limit_at(node) for node in cluster.nodes] == ["7"] * 3, 20, "the same everywhere")
    set_limit(three, 8)
    until(lambda: [limit_at(node) for node in cluster.nodes] == ["8"] * 3, 20, "a write after it")


def write_apart(cluster: LocalCluster, *written: str) -> None:
    """The third node writes alone, then the other two without it; and they meet."""
    one, two, three = cluster.nodes
    for node in (one, two):
        node.power_cut()
    until(lambda: not (s := three.status()) or not s.quorate, 20, "no quorum")
    until(lambda: (s := three.status()) is not None and s.dc == three.name, 20, "a caretaker")
    for option in written:
        said(three, "-F", "configure", "property", option)
    three.power_cut()
    one.start()
    two.start()
    until(lambda: (s := one.status()) is not None and s.quorate and bool(s.dc), 60, "a majority")
    set_limit(one, 9)
    three.start()


def test_changes_made_apart_are_merged_where_they_are_in_nobodys_way(cluster: LocalCluster) -> None:
    one, _two, three = cluster.nodes
    until(lambda: has_dc(cluster), 20, "a first DC")
    set_limit(one, 7)
    said(one, "configure", "property", "cib-merge=disjoint")
    write_apart(cluster, "cluster-delay=77s", "batch-limit=8")
    until(lambda: all("77s" in options_at(node) for node in cluster.nodes), 60, "a merge")
    reports = three.paths.var / "cib/orphans"
    until(lambda: "were not merged" in said(three, "status"), 20, "what is left")
    assert [limit_at(node) for node in cluster.nodes] == ["9"] * 3
    assert "1 changes on node3" in said(three, "cib", "orphans")
    (left,) = reports.glob("*.xml")
    shown = said(three, "cib", "orphans", "show", left.stem)
    assert "not merged: changed on the other side" in shown
    assert "batch-limit" in shown
    assert [path.name for path in (reports / "done").glob("*.xml")] == [left.name]
    said(three, "-F", "cib", "orphans", "apply", left.stem)
    assert "were not merged" not in said(three, "status")


def test_changes_made_apart_are_reported_and_applied(cluster: LocalCluster) -> None:
    one, _two, three = cluster.nodes
    until(lambda: has_dc(cluster), 20, "a first DC")
    set_limit(one, 7)
    write_apart(cluster, "cluster-delay=77s")
    reports = three.paths.var / "cib/orphans"
    until(lambda: any(reports.glob("*.xml")), 30, "a report")
    until(lambda: has_dc(cluster), 20, "all together")
    assert "were not merged" in said(three, "status")
    listed = said(three, "cib", "orphans")
    assert "1 changes on node3" in listed
    name = listed.partition(":")[0].strip()
    assert "cluster-delay" in said(three, "cib", "orphans", "show", name)
    said(three, "cib", "orphans", "apply", name)
    until(lambda: "77s" in options_at(one), 20, "the change everywhere")
    assert limit_at(three) == "9"
    assert "were not merged" not in said(three, "status")
    assert "patch by" in said(three, "cib", "history")
