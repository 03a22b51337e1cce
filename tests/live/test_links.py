"""Every kind of link that carries heartbeats, on a real network: a view, a loss, a return."""

from __future__ import annotations

import pytest

from cli.demo.lab import Lab
from tests.live.cluster import LINKS, Cluster

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("kind", LINKS)
def test_view_forms_and_reforms(kind: str) -> None:
    with Lab(["n1", "n2", "n3"], name="links") as lab:
        cluster = Cluster(lab, kind=kind)
        for node in lab.nodes:
            node.boot()
        names = [node.name for node in lab.nodes]
        cluster.wait_members(names, 15)
        lab["n3"].power_cut()
        cluster.wait_members(names[:2], 5)
        lab["n3"].boot()
        cluster.wait_members(names, 15)
