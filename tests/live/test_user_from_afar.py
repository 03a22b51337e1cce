"""A user on another machine: a certificate, `hacli --server`, roles, and the end of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.local_cluster import ROOT, until
from tests.live.test_growing import Site, hacli
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Site, int]]:
    site = Site(tmp_path, 1)
    port = free_port()
    (node,) = site.nodes
    text = node.paths.cluster_toml.read_text()
    node.paths.cluster_toml.write_text(text.replace("[ports]\n", f"[ports]\napi = {port}\n"))
    node.start()
    try:
        until(lambda: (status := node.status()) and status.dc, 60, "a DC")
        yield site, port
    finally:
        node.power_cut()


def test_from_the_certificate_to_its_end(site: tuple[Site, int], tmp_path: Path) -> None:
    (node,), port = site[0].nodes, site[1]
    mine = tmp_path / "mine"
    hacli(node, "cluster", "cert", "user", "alice", str(mine), "--ca", str(site[0].ca))
    assert (mine / "user.key").stat().st_mode & 0o777 == 0o600

    def afar(*words: str) -> tuple[int, str]:
        where = ("--root", str(tmp_path / "nothing"), "--server", f"{node.name}={node.address}:{port}")
        done = subprocess.run(
            [sys.executable, "-m", "cli", *where, "--tls", str(mine), *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout + done.stderr

    status, text = afar("status", "--json")
    assert status == 0, text
    assert json.loads(text)["dc"] == node.name
    assert afar("configure", "property", "stonith-enabled=false")[0] == 0
    assert "stonith-enabled=false" in hacli(node, "configure", "show")
    hacli(node, "configure", "role", "looks", "read", "xpath:/cib")
    hacli(node, "configure", "acl_target", "alice", "looks")
    hacli(node, "configure", "property", "enable-acl=true")
    status, text = afar("configure", "property", "stonith-enabled=true")
    assert (status != 0, "by alice" in text) == (True, True), text
    assert "stonith-enabled=false" in afar("configure", "show")[1]
    for refused in (("resource", "cleanup"), ("fence", "confirm", node.name)):
        status, text = afar("-F", *refused)
        assert (status != 0, "needs a role" in text) == (True, True), text
    hacli(node, "cluster", "cert", "revoke", "user:alice", "--ca", str(site[0].ca))
    until(lambda: "revoked" in afar("status")[1], 30, "the end of alice's certificate")
