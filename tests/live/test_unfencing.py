"""Unfencing: a node runs nothing before a fabric has let it in, in this boot and as it is configured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crm.cib.model import Element
from hacluster.v1 import crm_pb2
from tests.live.local_cluster import LocalCluster, LocalNode, until
from tests.live.test_three_services import Ground, begun, change

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]

AGENT = """#!/bin/sh
# A fabric's switch: it cuts nodes off from what they share, and lets them in.
while IFS='=' read -r name value; do
    case "$name" in
        action) action="$value" ;;
        port) port="$value" ;;
        zone) zone="$value" ;;
    esac
done
case "$action" in
    metadata)
        cat <<'END'
<resource-agent name="fence_fabric"><parameters><parameter name="zone"><content type="string"/></parameter>
<parameter name="port"><content type="string"/></parameter></parameters><actions>
<action name="on" automatic="1"/><action name="off"/><action name="monitor"/><action name="metadata"/>
</actions></resource-agent>
END
        exit 0 ;;
    monitor) exit 0 ;;
esac
test -e "{base}/jammed" && exit 1
echo "$(date +%s%N) $action $port $zone" >> "{base}/fabric.log"
exit 0
"""

CIB = """<cib><configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="o1" name="stonith-enabled" value="true"/></cluster_property_set></crm_config>
<resources><primitive id="f" class="stonith" type="fence_fabric"><instance_attributes id="f-p">
<nvpair id="f-hosts" name="pcmk_host_list" value="node1 node2"/><nvpair id="f-zone" name="zone" value="1"/>
</instance_attributes><meta_attributes id="f-a"><nvpair id="f-a-p" name="provides" value="unfencing"/>
</meta_attributes></primitive>
<group id="g"><primitive id="a" class="ocf" provider="hacluster" type="Dummy"/>
<primitive id="b" class="ocf" provider="hacluster" type="Dummy"/></group>
<primitive id="free" class="ocf" provider="hacluster" type="Dummy"><meta_attributes id="free-a">
<nvpair id="free-a-r" name="requires" value="nothing"/></meta_attributes></primitive></resources>
<constraints><rsc_location id="l" rsc="g" node="node1" score="100"/>
<rsc_location id="lf" rsc="f" node="node2" score="100"/></constraints>
</configuration></cib>"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LocalCluster, Ground]]:
    """Two nodes whose device's agent fails so far."""
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "fence_fabric").write_text(AGENT.replace("{base}", str(tmp_path)))
    (folder / "fence_fabric").chmod(0o755)
    (tmp_path / "jammed").touch()
    monkeypatch.setenv("HACLUSTER_FENCE_FOLDER", str(folder))
    cluster = LocalCluster(tmp_path, 2, cib=CIB)
    try:
        cluster.start()
        yield cluster, Ground(cluster)
    finally:
        cluster.stop()


def switched(cluster: LocalCluster, what: str) -> list[int]:
    """When the fabric did that, e.g. "on node1 1"; ns since 1970."""
    path = cluster.nodes[0].root.parent / "fabric.log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [int(line.split(" ", 1)[0]) for line in lines if line.split(" ", 1)[1] == what]


def started_ns(ground: Ground, resource: str, node: LocalNode) -> int:
    return ground.files(resource)[node.name][1]


def in_zone(configuration: Element, zone: str) -> Element:
    def changed(item: Element) -> Element:
        if item.id == "f-zone":
            return Element("nvpair", {**item.attributes, "value": zone})
        return item.mapped(changed)

    return changed(configuration)


def test_nothing_starts_before_the_node_is_let_in(lab: tuple[LocalCluster, Ground]) -> None:
    cluster, ground = lab
    first, second = cluster.nodes
    until(lambda: ground.files("free"), 60, "what requires nothing runs")
    failed = "node1 is being unfenced; so far: f: done, rc 1"
    until(lambda: any(text.startswith(failed) for text in notices(cluster)), 20, "the device fails")
    assert ground.files("a") == {}
    assert begun(first, "start", "a") + begun(second, "start", "a") == 0

    (first.root.parent / "jammed").unlink()
    ground.wait_on(first, 30)
    ground.wait_whole(30)
    (on_ns,) = switched(cluster, "on node1 1")
    assert on_ns < started_ns(ground, "a", first)
    assert begun(first, "monitor", "a"), "a probe touches what is shared, too"

    reply = change(second, lambda configuration: in_zone(configuration, "2"))
    assert reply.outcome == crm_pb2.WriteReply.OUTCOME_OK, reply
    until(lambda: begun(first, "start", "a") == 2, 30, "what ran is started anew")
    ground.wait_on(first, 30)
    ground.wait_whole(30)
    again_ns = switched(cluster, "on node1 2")[0]
    assert again_ns < started_ns(ground, "a", first) < started_ns(ground, "b", first)
    assert begun(first, "stop", "a") == 1, "and stopped before"
    assert begun(first, "stop", "free") + begun(second, "stop", "free") == 0

    second.call("Fence", crm_pb2.FenceRequest(node="node1", action="on"), crm_pb2.FenceReply)
    until(lambda: len(switched(cluster, "on node1 2")) == 2, 20, "by an operator's order")
    ground.wait_whole(30)
    assert begun(first, "start", "a") == 2, "of which nobody who runs hears"

    first.power_cut()
    ground.wait_on(second, 30)
    (off_ns,) = switched(cluster, "off node1 2")
    assert off_ns < started_ns(ground, "a", second)
    assert max(switched(cluster, "on node2 2")) < started_ns(ground, "a", second)
    first.start()
    ground.wait_on(first, 60)
    assert off_ns < switched(cluster, "on node1 2")[-1] < started_ns(ground, "a", first), "in this boot"


def notices(cluster: LocalCluster) -> list[str]:
    return [
        notice
        for node in cluster.nodes
        if (status := node.status(local=False)) is not None
        for notice in status.notices
    ]
