"""The agents of the package resource-agents, called by our rules: their meta-data parses, all of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.catalog import Catalog, our_sbin_dir
from agents.environment import NodeFacts, environment, metadata_environment
from agents.exit_codes import Exited, outcome
from agents.metadata import AgentMetadata, parse
from hacluster.errors import InvalidDocument
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import ResourceId
from hacluster.vocabulary.operation import Operation

HEARTBEAT = Path("/usr/lib/ocf/resource.d/heartbeat")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HEARTBEAT.is_dir(), reason="the package resource-agents is not installed"),
]


def describe(catalog: Catalog, name: AgentName, facts: NodeFacts) -> AgentMetadata:
    resolved = catalog.resolve(name)
    done = subprocess.run(
        [resolved.path, "meta-data"],
        env=metadata_environment(name, facts),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return parse(done.stdout, str(name))


def test_all_metadata_parses(tmp_path: Path) -> None:
    """An agent may need an interpreter that is not here, and say nothing at all; few do."""
    catalog = Catalog.of_this_node()
    facts = NodeFacts(node="node1", sbin_dir=str(our_sbin_dir()), agent_tmp=str(tmp_path))
    names = catalog.list("ocf", "heartbeat")
    assert len(names) > 100
    silent = []
    for name in names:
        try:
            metadata = describe(catalog, name, facts)
        except InvalidDocument as error:
            silent.append(str(error))
            continue
        assert metadata.supports("start"), name
        assert metadata.supports("stop"), name
        assert metadata.supports("monitor"), name
        assert all(action.timeout_ms is not None for action in metadata.actions), name
    assert len(silent) <= 2, silent


def test_an_agent_of_theirs_runs_in_our_environment(tmp_path: Path) -> None:
    facts = NodeFacts(node="node1", sbin_dir=str(our_sbin_dir()), agent_tmp=str(tmp_path))

    def run(action: str) -> int:
        operation = Operation(
            resource=ResourceId("d"),
            agent=AgentName.parse("ocf:heartbeat:Dummy"),
            action=action,
            parameters={"state": str(tmp_path / "state")},
        )
        done = subprocess.run(
            [Catalog.of_this_node().resolve(operation.agent).path, action],
            env=environment(operation, facts),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return outcome("ocf", action, Exited(done.returncode), stderr=done.stderr).rc

    assert [run(action) for action in ("monitor", "start", "monitor", "stop", "monitor")] == [7, 0, 0, 0, 7]
