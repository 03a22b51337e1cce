"""Alert agents of a running cluster: every kind of event reaches them, with who and what."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hacluster.v1 import crm_pb2
from tests.live.local_cluster import LocalCluster, until

pytestmark = [pytest.mark.slow, pytest.mark.alone]

AGENT = """#!/bin/sh
echo "$HACLUSTER_NODE $CRM_alert_kind $CRM_alert_node$CRM_alert_attribute_name $CRM_alert_task \
$CRM_alert_rsc $CRM_alert_rc $CRM_alert_desc$CRM_alert_attribute_value" >>"$CRM_alert_recipient"
"""

CIB = """<cib><configuration><crm_config><cluster_property_set id="o">
<nvpair id="o1" name="stonith-enabled" value="false"/></cluster_property_set></crm_config>
<resources><primitive id="a" class="ocf" provider="hacluster" type="Dummy"/></resources>
<constraints><rsc_location id="l" rsc="a" node="node1" score="100"/></constraints>
<alerts><alert id="al" path="{folder}/agent"><select><select_nodes/><select_resources/><select_fencing/>
<select_attributes><attribute id="x" name="colour"/></select_attributes></select>
<recipient id="r" value="{folder}/told"/></alert></alerts></configuration></cib>"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    folder = tmp_path / "alerts"
    folder.mkdir()
    (folder / "agent").write_text(AGENT)
    for path in (folder / "agent", folder, *folder.parents[:-1]):
        path.chmod(path.stat().st_mode | 0o111)
    (folder / "told").touch()
    (folder / "told").chmod(0o666)
    cluster = LocalCluster(tmp_path, 3, cib=CIB.format(folder=folder))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def test_every_kind_of_event(cluster: LocalCluster) -> None:
    path = cluster.nodes[0].root.parent / "alerts/told"

    def told(text: str) -> bool:
        return text in path.read_text().splitlines()

    until(lambda: told("node1 resource node1 start a 0 ok"), 30, "the start was told by its own node")
    assert not [line for line in path.read_text().splitlines() if " monitor a 7" in line], "expected probes"
    request = crm_pb2.SetAttributeRequest(node="node2", name="colour", value="red")
    cluster.nodes[0].call("SetAttribute", request, crm_pb2.SetAttributeReply)
    until(lambda: told("node2 attribute node2colour    red"), 10, "the attribute's keeper told")
    other = crm_pb2.SetAttributeRequest(node="node2", name="shape", value="round")
    cluster.nodes[0].call("SetAttribute", other, crm_pb2.SetAttributeReply)
    cluster.nodes[2].power_cut()
    for teller in ("node1", "node2"):
        until(partial(told, f"{teller} node node3    lost"), 15, f"{teller} lost node3")
    cluster.nodes[2].start()
    until(lambda: told("node2 node node3    member"), 20, "node3 came back")
    assert "shape" not in path.read_text()
