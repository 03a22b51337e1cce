"""A fourth machine joins three in namespaces, over multicast; then it is removed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cli.certificates import make_authority, make_node
from cli.demo.ground import until
from cli.demo.lab import Lab
from cli.demo.node import Node
from hacluster import cluster_toml as toml
from hacluster import settings as ha_settings
from tests.live.cluster import Cluster, Times, cluster_toml

pytestmark = pytest.mark.netns
NAMES = ["n1", "n2", "n3", "n4"]
CONFIGURATION = """\
property stonith-enabled=false
primitive a ocf:hacluster:Dummy op monitor interval=2s
primitive b ocf:hacluster:Dummy op monitor interval=2s
"""


class Site(Cluster):
    """Three of the lab's four nodes are a cluster; n1 holds the CA's key."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab, kind="mcast")
        whole = ha_settings.parse(cluster_toml(lab, Times(), name="live", kind="mcast"))
        text = toml.render(replace(whole, nodes=whole.nodes[:3]))
        authority = make_authority("live")
        newcomer = lab.nodes[3]
        for path in ("cluster.toml", "authkeys", "tls/ca.pem", "tls/node.pem", "tls/node.key"):
            (newcomer.disk / "etc/hacluster" / path).unlink()
        for node in lab.nodes[:3]:
            pair = make_node(authority, node.name, [interface.ip for interface in node.interfaces])
            node.write("/etc/hacluster/cluster.toml", text)
            node.write("/etc/hacluster/tls/ca.pem", authority.certificate.decode())
            node.write("/etc/hacluster/tls/node.pem", pair.certificate.decode())
            node.write("/etc/hacluster/tls/node.key", pair.key.decode(), 0o600)
        lab["n1"].write("/etc/hacluster/ca/ca.pem", authority.certificate.decode())
        lab["n1"].write("/etc/hacluster/ca/ca.key", authority.key.decode(), 0o600)
        self.three = lab.nodes[:3]

    def views(self) -> list[int]:
        return [self.messaging(node).authority.view.id.counter for node in self.nodes if node.is_on]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Lab(NAMES, name="cluster") as lab:
        site = Site(lab)
        for node in site.three:
            node.boot()
        lab["n4"].boot(command=[shutil.which("sleep") or "sleep", "1000"])
        site.wait_members(NAMES[:3], 15, on=site.three)
        until(lambda: len({site.dc(node) for node in site.three} - {""}) == 1, 20, what="a DC")
        lab["n1"].exec(
            sys.executable, "-m", "cli", "-w", "configure", "load", "update", "-", stdin=CONFIGURATION
        )
        yield site


def token_of(node: Node, *words: str) -> tuple[subprocess.Popen[str], str]:
    """`hacli cluster token`, and what it printed first."""
    process = subprocess.Popen(
        node.enter(sys.executable, "-m", "cli", "cluster", "token", *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=node.environment,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def addresses(node: Node) -> str:
    return ",".join(interface.ip for interface in node.interfaces)


def places(node: Node) -> dict[str, list[str]]:
    seen = json.loads(node.hacli("status", "--json"))
    return {one["id"]: [place["node"] for place in one["places"]] for one in seen["resources"]}


def test_it_joins_once_it_hears_heartbeats_and_takes_over(site: Site) -> None:
    host, new = site.lab["n1"], site.lab["n4"]
    process, token = token_of(host)
    for kind in ("drop", "accept"):
        new.exec("nft", "add", "table", "inet", "deaf")
        new.exec("nft", "add", "chain", "inet", "deaf", "in", "{ type filter hook input priority 0 ; }")
        new.exec("nft", "add", "rule", "inet", "deaf", "in", "udp", "dport", "694", kind)
        words = ("cluster", "join", token, "--check", "--verbose", "--address", addresses(new))
        done = new.exec(sys.executable, "-m", "cli", *words, check=False)
        new.exec("nft", "delete", "table", "inet", "deaf")
        if kind == "drop":
            assert done.returncode == 1
            assert "no heartbeat of this cluster" in done.stderr
            assert "the token is still good" in done.stderr
        else:
            assert done.returncode == 0, done.stderr
            assert "heartbeats of" in done.stderr
    new.hacli("cluster", "join", token, "--address", addresses(new))
    new.power_cut()
    new.boot()
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert "n4 votes" in out
    site.wait_members(NAMES, 15)
    host.hacli("-w", "resource", "move", "a", "n4")
    assert places(host)["a"] == ["n4"]
    new.power_cut()
    site.wait_members(NAMES[:3], 5, on=site.three)
    host.hacli("fence", "confirm", "n4", check=False)
    until(lambda: places(host)["a"] in (["n1"], ["n2"], ["n3"]), 15, what="a taken over")
    new.boot()
    site.wait_members(NAMES, 20)


def test_the_key_changes_under_traffic(site: Site) -> None:
    """No packet is refused, and no view changes for it.

    On a busy machine a node may be silent for a deadtime by itself, which is no matter of keys: then another
    key has to be taken without a view. What is refused for its key counts each time.
    """
    host = site.lab["n2"]
    for _ in range(4):
        site.wait_members(NAMES, 40)
        site.wait_dc(40)
        views = site.views()
        dropped = [dict(site.messaging(node).dropped) for node in site.nodes]
        host.hacli("cluster", "key", "rotate")
        time.sleep(2 * site.times.deadtime / 1_000)
        after = [dict(site.messaging(node).dropped) for node in site.nodes]
        for reason in ("bad_tag", "unknown_key"):
            assert [one[reason] for one in after] == [one[reason] for one in dropped]
        assert len({(node.disk / "etc/hacluster/authkeys").read_text() for node in site.nodes}) == 1
        if site.views() == views:
            return
    raise AssertionError("each new key changed the view")


def test_it_is_removed(site: Site) -> None:
    host, gone = site.lab["n1"], site.lab["n4"]
    host.hacli("-w", "resource", "move", "b", "n4")
    host.hacli("cluster", "remove", "n4", within_s=150)
    site.wait_members(NAMES[:3], 10, on=site.three)
    assert all("n4" not in nodes for nodes in places(host).values())
    gone.power_cut()
    gone.boot()  # its former certificate and key: nobody listens
    time.sleep(4 * site.times.deadtime / 1_000)
    for node in site.three:
        assert sorted(site.members(node)) == NAMES[:3]
    assert "votes: 3 of 3" in host.hacli("cluster", "quorum")
