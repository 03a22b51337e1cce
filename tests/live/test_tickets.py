"""Tickets of a running cluster: granted, revoked, kept over the DC's end, lost when all have stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.context import EXIT_UNSAFE
from tests.live.local_cluster import LocalCluster, LocalNode, until
from tests.live.test_hacli import hacli, places

pytestmark = [pytest.mark.slow, pytest.mark.alone]
CONFIGURATION = """\
property stonith-enabled=false
primitive a ocf:hacluster:Dummy op monitor interval=5s
rsc_ticket needs T: a loss-policy=stop
"""


def granted(node: LocalNode) -> str:
    (one,) = json.loads(hacli(node, "--json", "site", "ticket", "show", "T"))["tickets"]
    return str(one["granted"])


def test_a_ticket(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, 3)
    one, other, _third = cluster.nodes
    for node in cluster.nodes:
        node.start()
    try:
        until(lambda: all((status := node.status()) and status.dc for node in cluster.nodes), 30, "a DC")
        text = one.root / "site.crm"
        text.write_text(CONFIGURATION)
        hacli(one, "-w", "configure", "load", "update", str(text))
        assert places(one)["a"] == {}
        hacli(one, "-w", "site", "ticket", "grant", "T")
        until(lambda: len(places(one)["a"]) == 1, 20, "a running")
        assert granted(one) == "true"
        until(lambda: granted(other) == "true", 5, "the other node to know")
        assert "hacluster-tickets" not in hacli(one, "configure", "show", "xml")
        # Another change of the configuration leaves it as it is.
        hacli(one, "configure", "property", "batch-limit=7")
        assert granted(one) == "true"

        # The next DC knows it.
        dc = cluster.dc()
        assert dc is not None
        dc.kill("crm")
        survivor = other if dc is one else one
        until(lambda: (s := survivor.status()) and s.dc not in ("", dc.name), 30, "another DC")
        assert granted(survivor) == "true"
        dc.start("crm")
        until(lambda: (s := dc.status()) and s.dc, 30, "the node to be back")
        until(lambda: len(places(one)["a"]) == 1, 20, "a running still")

        # What a revocation would stop is not stopped without a question.
        assert "a" in hacli(one, "site", "ticket", "revoke", "T", status=EXIT_UNSAFE)
        assert granted(one) == "true"
        hacli(one, "-w", "-F", "site", "ticket", "revoke", "T")
        until(lambda: not places(one)["a"], 20, "a to be stopped")

        # A cluster that has been stopped whole has no tickets.
        hacli(one, "site", "ticket", "grant", "T")
        until(lambda: len(places(one)["a"]) == 1, 20, "a running again")
        for node in cluster.nodes:
            node.power_cut()
        for node in cluster.nodes:
            node.start()
        until(lambda: all((s := node.status()) and s.dc for node in cluster.nodes), 40, "a DC again")
        assert granted(one) == "false"
        assert places(one)["a"] == {}
        hacli(one, "site", "ticket", "delete", "T", status=1)
        hacli(one, "site", "ticket", "revoke", "T")
        hacli(one, "site", "ticket", "delete", "T")
    finally:
        for node in cluster.nodes:
            node.power_cut()
