"""A cluster gets another name while it runs, and its daemons are killed under the eyes of `crash_test`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hacluster import settings as ha_settings
from tests.live.local_cluster import ROOT, LocalNode, until
from tests.live.test_growing import Site, command, hacli

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("crashes"), deadtime="8s")
    for node in site.nodes:
        node.start()
    try:
        until(lambda: all((status := node.status()) and status.dc for node in site.nodes), 200, "a DC")
        hacli(site.nodes[0], "-F", "configure", "property", "stonith-enabled=false")
        yield site
    finally:
        for node in site.machines:
            node.power_cut()


def test_it_is_renamed_and_nothing_restarts(site: Site) -> None:
    views = site.views()
    assert hacli(site.nodes[1], "cluster", "rename", "shop") == "the cluster is called shop, and was web\n"
    for node in site.nodes:
        assert ha_settings.load(node.paths.cluster_toml).cluster_name == "shop"
        until(partial(_is_called, node, "shop"), 20, f"the name on {node.name}")
    assert "already" in hacli(site.nodes[0], "cluster", "rename", "shop")
    hacli(site.nodes[0], "cluster", "rename", "", status=2)
    assert site.views() == views


def _is_called(node: LocalNode, name: str) -> bool:
    status = node.status()
    return status is not None and status.cluster_name == name


@pytest.mark.parametrize("daemon", ["crm", "messaging", "lrm"])
def test_a_crash_is_watched_to_its_end(site: Site, daemon: str, tmp_path: Path) -> None:
    node, said = site.nodes[2], tmp_path / "said"
    hacli(node, "cluster", "crash_test", "kill", daemon, status=7)  # nobody to ask
    hacli(node, "cluster", "crash_test", "--split-brain-iptables", status=1)
    words = ("-F", "--wait-time", "90s", "cluster", "crash_test", "kill", daemon)
    with said.open("w") as file:
        process = subprocess.Popen(
            command(node, *words),
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: node.processes[daemon].poll() is not None, 60, f"the end of {daemon}")
        until(lambda: f"ha-{daemon} is gone" in said.read_text(), 60, "the command has seen it")
        node.start(daemon)
        process.wait(120)
    finally:
        process.kill()
    assert process.returncode == 0, said.read_text()
    assert "passed: whole again" in said.read_text()
