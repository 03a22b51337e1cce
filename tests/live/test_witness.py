"""One of two and a witness: it writes; the other does not before it has caught up. Real daemons."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from hacluster.paths import Paths
from hacluster.v1 import crm_pb2
from tests.live.local_cluster import ROOT, UDP_PORT, LocalCluster, LocalNode, until

pytestmark = [pytest.mark.slow, pytest.mark.alone]
CONFIGURATION = """\
<configuration><crm_config><cluster_property_set id="o">
<nvpair id="o-s" name="stonith-enabled" value="false"/><nvpair id="o-t" name="cluster-name" value="{name}"/>
</cluster_property_set></crm_config><nodes/><resources/><constraints/></configuration>
"""


class Witnessed:
    """Two nodes, and a third root where ha-qnet runs."""

    def __init__(self, folder: Path) -> None:
        self.cluster = LocalCluster(folder, 2)
        address = self.cluster.nodes[0].address.rpartition(".")[0] + ".9"
        text = ""
        for node in self.cluster.nodes:
            text = node.paths.cluster_toml.read_text().replace("two_node = true", "two_node = false")
            node.paths.cluster_toml.write_text(
                f'{text}\n[witness]\naddress = "{address}"\nport = {UDP_PORT}\n'
            )
        cluster_id = tomllib.loads(text)["cluster"]["id"]
        third = Paths(folder / "third")
        third.etc.mkdir(parents=True)
        keys = third.etc / "local.authkeys"
        keys.write_text(self.cluster.nodes[0].paths.authkeys.read_text())
        keys.chmod(0o600)
        (third.etc / "qnet.toml").write_text(
            f'address = "{address}"\nport = {UDP_PORT}\n[[cluster]]\nid = "{cluster_id}"\n'
            f'nodes = [1, 2]\nauthkeys = "{keys}"\n'
        )
        command = [sys.executable, "-m", "messaging.witness", "--root", str(third.root), "--node", "w"]
        self.qnet = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self) -> None:
        for node in self.cluster.nodes:
            node.power_cut()
        self.qnet.kill()
        self.qnet.wait(10)


@pytest.fixture
def witnessed(tmp_path: Path) -> Iterator[Witnessed]:
    made = Witnessed(tmp_path)
    try:
        yield made
    finally:
        made.end()


def write(node: LocalNode, name: str, deadline_ms: int = 3_000) -> bool:
    """Whether the configuration with that name was written."""
    xml = CONFIGURATION.format(name=name).encode()
    try:
        reply = node.call(
            "WriteCib",
            crm_pb2.WriteCibRequest(configuration_xml=xml, deadline_ms=deadline_ms),
            crm_pb2.WriteReply,
        )
    except grpc.RpcError:
        return False
    return reply.outcome == crm_pb2.WriteReply.OUTCOME_OK


def has(node: LocalNode, name: str) -> bool:
    """Whether its copy has that name."""
    reply = node.call("QueryCib", crm_pb2.QueryCibRequest(local=True), crm_pb2.QueryCibReply)
    return f'value="{name}"'.encode() in reply.xml


def test_one_of_two_writes_with_the_witness_and_the_other_waits(witnessed: Witnessed) -> None:
    one, two = witnessed.cluster.nodes
    for node in (one, two):
        node.start("messaging", "crm")
    until(lambda: write(one, "both"), 25, "a DC of both")
    until(lambda: has(two, "both"), 5, "the other has it")
    two.power_cut()
    until(lambda: write(one, "alone"), 20, "one goes on with the witness")
    one.power_cut()
    two.start("messaging", "crm")
    until(lambda: two.status() is not None, 20, "the other is back, alone")
    assert not write(two, "lost", 500)
    one.start("messaging", "crm")
    until(lambda: write(two, "again"), 20, "both are back")
    until(lambda: has(one, "again") and has(two, "again"), 5, "with one history")
