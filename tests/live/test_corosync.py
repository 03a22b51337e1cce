"""The whole cluster on a real corosync: one view and DC; a killed ha-messaging, a power cut, a split."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator

import pytest

from cli.demo.ground import until
from cli.demo.lab import Lab
from cli.demo.node import Node
from tests.live.cluster import Cluster, Times

pytestmark = [
    pytest.mark.netns,
    pytest.mark.alone,
    pytest.mark.skipif(shutil.which("corosync") is None, reason="corosync is not installed"),
]

TIMES = Times(keepalive=200, warntime=1_000, deadtime=2_500)
CONF = """\
totem {{
 version: 2
 cluster_name: live
 transport: udpu
 token: 1000
 token_coefficient: 0
 crypto_cipher: none
 crypto_hash: none
}}
system {{
 sched_rr: no
 priority: 0
}}
logging {{
 to_syslog: no
 to_logfile: no
 to_stderr: yes
}}
quorum {{
 provider: corosync_votequorum
}}
nodelist {{
{nodes}}}
"""
NODE = " node {{\n  name: {name}\n  nodeid: {number}\n  ring0_addr: {ip}\n }}\n"
BOOT = (
    "mkdir -p /var/lib/corosync /etc/corosync; "
    "/usr/sbin/corosync -f -c /etc/hacluster/corosync.conf >/var/log/corosync.out 2>&1 & "
    "exec {python} -m hacluster.supervisor --node {name} --log-dir /var/log/hacluster --log-format json"
)


def boot(node: Node) -> None:
    node.boot(command=["/bin/sh", "-c", BOOT.format(python=sys.executable, name=node.name)])


@pytest.fixture
def three() -> Iterator[Cluster]:
    with Lab(["n1", "n2", "n3"], name="corosync") as lab:
        cluster = Cluster(lab, TIMES)
        nodes = "".join(NODE.format(name=n.name, number=n.number, ip=n.interfaces[0].ip) for n in lab.nodes)
        for node in lab.nodes:
            text = (node.disk / "etc/hacluster/cluster.toml").read_text()
            changed = re.sub(r"^id = ", 'backend = "corosync"\nid = ', text, count=1, flags=re.MULTILINE)
            node.write("/etc/hacluster/cluster.toml", changed)
            node.write("/etc/hacluster/corosync.conf", CONF.format(nodes=nodes))
        yield cluster


def quorate(cluster: Cluster, node: Node) -> bool:
    return cluster.messaging(node).authority.quorate


def test_a_cluster_on_corosync(three: Cluster) -> None:
    """What ha-crm needs is there: a view, quorum, a DC; and it goes with what fails."""
    for node in three.nodes:
        boot(node)
    three.wait_members(["n1", "n2", "n3"], 60)
    three.wait_dc(60)
    one, two, gone = three.nodes
    until(lambda: all(quorate(three, node) for node in three.nodes), 10, what="quorum")
    view = three.messaging(one).authority.view.id
    assert {three.messaging(n).authority.view.id.counter for n in three.nodes} == {view.counter}

    two.kill_service("messaging")
    until(lambda: three.messaging(one).authority.view.id.counter > view.counter, 20, what="its new run")
    three.wait_members(["n1", "n2", "n3"], 20)
    installed = [r for r in one.log_records("messaging") if r.get("event") == "messaging.view_installed"]
    assert installed[-1]["members"] == "n1 n2 n3"
    after = installed[[r["members"] for r in installed].index("n1 n2 n3") :]
    assert all(r["members"] == "n1 n2 n3" for r in after), "it was back in time: nobody lost it"

    gone.power_cut()
    three.wait_members(["n1", "n2"], 20, on=[one, two])
    until(lambda: quorate(three, one), 5, what="two of three are quorate")
    states = {node.name: node.state for node in three.messaging(one).authority.nodes}
    assert states == {"n1": "member", "n2": "member", "n3": "lost"}
    three.wait_dc(30, not_node=gone)

    three.lab.split([one], [two])
    until(lambda: three.members(one) == ["n1"] and three.members(two) == ["n2"], 20, what="each alone")
    assert not quorate(three, one)
    assert not quorate(three, two)
    three.lab.heal()
    three.wait_members(["n1", "n2"], 30, on=[one, two])
    until(lambda: quorate(three, one), 10, what="together again")
    three.wait_dc(30, not_node=gone)
