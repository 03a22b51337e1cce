"""What agents call back with: the standard library alone, and 60 ms of CPU at most."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from agents.catalog import our_sbin_dir
from benchmarks.callbacks.__main__ import COMMANDS, LIMIT_MS, cpu_ms, serve

TRIES = 5
WANTED = (
    *("crm_attribute", "crm_master", "attrd_updater", "crm_node", "crm_resource", "crm_mon", "cibadmin"),
    *("crm_failcount", "crm_ticket", "stonith_admin", "crm_simulate", "pacemakerd", "crm_error"),
)
"""All that agents of resource-agents and pacemaker call (agents.md, 4)."""


def test_each_command_is_there_and_runs_without_site_packages() -> None:
    """-S, so that nothing of them can be imported; -I, so that nothing of the caller's can either."""
    found = {path.name: path.read_text().splitlines()[0] for path in our_sbin_dir().iterdir()}
    assert set(WANTED) <= set(found)
    assert set(found.values()) == {"#!/usr/bin/python3 -IS"}


@pytest.mark.parametrize("command", COMMANDS)
def test_it_needs_no_more_than_its_limit(command: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    threading.Thread(target=serve, args=(path,), daemon=True).start()
    environ = {"HACLUSTER_AGENT_SOCKET": str(path), "OCF_RESOURCE_INSTANCE": "r1", "PATH": "/usr/bin:/bin"}
    name, *argv = command.split()
    program = [str(our_sbin_dir() / name), *argv]
    assert min(cpu_ms(program, environ, 1) for _ in range(TRIES)) <= LIMIT_MS
