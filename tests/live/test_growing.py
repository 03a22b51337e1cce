"""A cluster grows and shrinks by the commands that one types: real daemons on loopback addresses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hacluster import settings as ha_settings
from tests.live.local_cluster import ROOT, LocalNode, until
from tests.ports import loopback_net

pytestmark = [pytest.mark.slow, pytest.mark.alone]
CONFIGURATION = """\
property stonith-enabled=false
primitive a ocf:hacluster:Dummy op monitor interval=2s
primitive b ocf:hacluster:Dummy op monitor interval=2s
"""


def command(node: LocalNode, *words: str) -> list[str]:
    return [sys.executable, "-m", "cli", "--root", str(node.root), "--node", node.name, *words]


def hacli(node: LocalNode, *words: str, status: int = 0) -> str:
    """Run it on a node; standard output, or the errors when it is to fail."""
    done = subprocess.run(
        command(node, *words),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if status == 0 else done.stderr


class Site:
    """Nodes that `hacli cluster init` made, and a machine that is none yet."""

    def __init__(self, folder: Path, count: int = 3, deadtime: str = "1s") -> None:
        net = loopback_net()
        self.machines = [LocalNode(f"n{n}", f"{net}.{n}", folder / f"m{n}") for n in range(1, count + 2)]
        self.nodes = self.machines[:count]
        self.ca = folder / "made/ca"
        made = [f"--node={node.name}={node.address}" for node in self.nodes]
        times = ("--keepalive=100ms", f"--deadtime={deadtime}")
        self.machines[count].root.mkdir()
        hacli(
            self.machines[count],
            "cluster",
            "init",
            "--name=web",
            *made,
            *times,
            "--output",
            str(folder / "made"),
        )
        for node in self.nodes:
            shutil.copytree(folder / "made" / node.name, node.root)

    def voters(self, node: LocalNode) -> set[str]:
        """The names of those with a vote, in cluster.toml there."""
        settings = ha_settings.load(node.paths.cluster_toml)
        return {str(one.name) for one in settings.nodes if one.votes}

    def wait(self, nodes: list[LocalNode], names: set[str], voters: set[str]) -> None:
        """Until each of these nodes has those members and voters."""
        for node in nodes:
            until(partial(self._has, node, names, voters), 30, f"{names}, {voters} on {node.name}")

    def _has(self, node: LocalNode, names: set[str], voters: set[str]) -> bool:
        return self.members(node) == names and self.voters(node) == voters

    def views(self) -> list[int]:
        return [status.view.counter for node in self.machines if (status := node.status())]

    def members(self, node: LocalNode) -> set[str]:
        status = node.status()
        return set() if status is None else {one.name for one in status.nodes if one.state == "member"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("growing"))
    for node in site.nodes:
        node.start()
    try:
        until(lambda: all((status := node.status()) and status.dc for node in site.nodes), 40, "a DC")
        text = site.nodes[0].root / "site.crm"
        text.write_text(CONFIGURATION)
        hacli(site.nodes[0], "-w", "configure", "load", "update", str(text))
        yield site
    finally:
        for node in site.machines:
            node.power_cut()


def invite(site: Site, host: LocalNode, *words: str) -> tuple[subprocess.Popen[str], str]:
    """`hacli cluster token` on a member: the process, and the token."""
    process = subprocess.Popen(
        command(host, "cluster", "token", "--ca", str(site.ca), *words),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    token = process.stdout.readline().strip()
    assert re.fullmatch(r"ha1\.[A-Za-z0-9_-]+", token), process.communicate()
    return process, token


def test_a_fourth_joins_and_votes(site: Site) -> None:
    host, new = site.nodes[1], site.machines[3]
    process, token = invite(site, host)
    looked = hacli(new, "cluster", "join", token, "--check", f"--address={new.address}")
    assert looked == "the node can join\n"
    assert not new.paths.cluster_toml.exists()
    hacli(new, "cluster", "join", token, f"--address={new.address}")
    for name in ("node.key", "node.pem", "ca.pem"):
        assert (new.paths.tls / name).exists()
    assert new.paths.authkeys.stat().st_mode & 0o777 == 0o600
    new.start()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "n4 votes" in out
    site.wait(site.machines, {"n1", "n2", "n3", "n4"}, {"n1", "n2", "n3", "n4"})
    assert token.encode() not in b"".join(path.read_bytes() for path in new.root.glob("*.log"))


def test_a_resource_moves_to_it(site: Site) -> None:
    hacli(site.nodes[0], "-w", "resource", "move", "a", "n4")
    seen = json.loads(hacli(site.nodes[0], "status", "--json"))
    places = {one["id"]: [place["node"] for place in one["places"]] for one in seen["resources"]}
    assert places["a"] == ["n4"]


def test_another_node_decides(site: Site) -> None:
    before = site.nodes[0].status()
    assert before is not None
    wanted = next(node.name for node in site.nodes if node.name != before.dc)
    assert hacli(site.nodes[0], "cluster", "move-dc", wanted) == f"the DC is {wanted}\n"
    until(lambda: all((s := node.status()) and s.dc == wanted for node in site.machines), 10, "one DC")
    hacli(site.nodes[0], "cluster", "move-dc")
    until(lambda: (s := site.nodes[0].status()) and s.dc and s.dc != wanted, 10, "another DC")
    hacli(site.nodes[0], "cluster", "move-dc", "n9", status=1)


def test_the_key_is_rotated_without_a_lost_view(site: Site) -> None:
    views = site.views()
    before = site.nodes[0].paths.authkeys.read_text()
    hacli(site.nodes[0], "cluster", "key", "rotate")
    after = site.nodes[0].paths.authkeys.read_text()
    assert after.startswith("auth 2\n2 sha256 ")
    assert before.split()[-1] not in after
    for node in site.machines:
        assert node.paths.authkeys.read_text() == after
        dropped = json.loads(hacli(node, "status", "--links", "--json"))["dropped"]
        assert not any(int(dropped.get(reason, 0)) for reason in ("bad_tag", "unknown_key")), dropped
    time.sleep(1.5)  # more than the deadtime
    assert site.views() == views


def test_a_node_that_was_away_hears_of_it(site: Site) -> None:
    away = site.nodes[2]
    away.kill(number=15)
    until(lambda: "n3" not in site.members(site.nodes[0]), 20, "n3 gone")
    hacli(site.nodes[0], "cluster", "key", "rotate")
    wanted = site.nodes[0].paths.authkeys.read_text()
    assert away.paths.authkeys.read_text() != wanted
    away.start()
    until(lambda: away.paths.authkeys.read_text() == wanted, 20, "the new key there")
    until(lambda: site.members(site.nodes[0]) == {"n1", "n2", "n3", "n4"}, 30, "n3 back")


def test_it_is_removed(site: Site) -> None:
    gone = site.machines[3]
    hacli(site.nodes[0], "cluster", "remove", "n4", "--ca", str(site.ca))
    site.wait(site.nodes, {"n1", "n2", "n3"}, {"n1", "n2", "n3"})
    for node in site.nodes:
        assert (node.paths.tls / "crl.pem").exists()
    assert "n4" not in hacli(site.nodes[0], "configure", "show", "xml")
    seen = json.loads(hacli(site.nodes[0], "status", "--json"))
    assert {one["id"]: len(one["places"]) for one in seen["resources"]} == {"a": 1, "b": 1}
    gone.kill()
    assert hacli(site.nodes[0], "cluster", "health") == "the cluster is well\n"


def serial_of(node: LocalNode) -> str:
    """Of the certificate that it presents now."""
    found = re.search(r"node\.pem: .*serial ([0-9a-f]+),", hacli(node, "cluster", "cert", "show"))
    assert found is not None
    return found[1]


def test_certificates_change(site: Site) -> None:
    one, other = site.nodes[:2]
    ca = ("--ca", str(site.ca))
    former = {node.name: serial_of(node) for node in (one, other)}
    hacli(one, "cluster", "cert", "renew", *ca)
    request = other.root / "request.pem"
    request.write_text(hacli(other, "cluster", "cert", "request"))
    signed = other.root / "signed.pem"
    signed.write_text(hacli(one, "cluster", "cert", "sign", str(request), other.name, *ca))
    assert "cert request" in hacli(site.nodes[2], "cluster", "cert", "install", str(signed), status=1)
    hacli(other, "cluster", "cert", "install", str(signed))
    time.sleep(2.5)  # the daemons look every two seconds
    for node in (one, other):
        assert serial_of(node) != former[node.name]
        hacli(one, "cluster", "cert", "revoke", former[node.name], *ca)
    time.sleep(2.5)
    for node in site.nodes:
        assert hacli(node, "cluster", "health") == "the cluster is well\n"
    hacli(site.nodes[2], "-w", "resource", "move", "b", one.name)
    assert site.members(one) == {"n1", "n2", "n3"}


def quorum_of(node: LocalNode) -> tuple[bool, bool]:
    quorum = ha_settings.load(node.paths.cluster_toml).quorum
    return quorum.two_node, quorum.wait_for_all


def test_two_become_three_and_two_again(tmp_path: Path) -> None:
    site = Site(tmp_path, 2)
    new = site.machines[2]
    try:
        for node in site.nodes:
            node.start()
        until(lambda: all((s := node.status()) and s.dc for node in site.nodes), 40, "a DC")
        assert quorum_of(site.nodes[0]) == (True, True)
        hacli(site.nodes[0], "configure", "property", "stonith-enabled=false")
        process, token = invite(site, site.nodes[0])
        hacli(new, "cluster", "join", token, f"--address={new.address}")
        new.start()
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        site.wait(site.machines, {"n1", "n2", "n3"}, {"n1", "n2", "n3"})
        assert {quorum_of(node) for node in site.machines} == {(False, False)}
        site.nodes[1].power_cut()  # two of three are enough, and one of them is new
        until(lambda: site.members(new) == {"n1", "n3"}, 20, "n2 lost")
        until(lambda: (s := new.status()) and s.quorate and s.dc, 20, "quorum without it")
        hacli(site.nodes[0], "configure", "property", "maintenance-mode=false")
        site.nodes[1].start()
        site.wait(site.machines, {"n1", "n2", "n3"}, {"n1", "n2", "n3"})
        until(lambda: (s := site.nodes[0].status()) and s.dc, 20, "a DC")
        hacli(site.nodes[0], "cluster", "remove", "n3", "--ca", str(site.ca))
        site.wait(site.nodes, {"n1", "n2"}, {"n1", "n2"})
        assert {quorum_of(node) for node in site.nodes} == {(True, True)}
        hacli(site.nodes[0], "configure", "property", "maintenance-mode=true")
        site.nodes[1].power_cut()  # one of two goes on
        until(lambda: site.members(site.nodes[0]) == {"n1"}, 20, "n2 lost")
        until(lambda: (s := site.nodes[0].status()) and s.quorate and s.dc == "n1", 20, "n1 alone")
        site.nodes[0].power_cut()
        site.nodes[0].start()  # and after a boot it waits for the other
        until(lambda: (s := site.nodes[0].status()) and s.waiting_for_all, 30, "n1 waits")
    finally:
        for node in site.machines:
            node.power_cut()
