"""The commands agents call back with, as processes, against the server half with a backend of our own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agents.catalog import our_sbin_dir
from agents.environment import NodeFacts, environment
from cli.quick_status import status as quick_status
from crm.api.agent_socket import (
    AgentSocket,
    AttributeKey,
    AttributeSection,
    ClusterNode,
    Location,
    arithmetic,
    expanded,
)
from hacluster.errors import InvalidRequest, NoDc, NotFound
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import ResourceId
from hacluster.vocabulary.operation import Operation

NODE_UTILIZATION = Path("/usr/lib/ocf/resource.d/heartbeat/NodeUtilization")
THEIR_STATEFUL = Path("/usr/lib/ocf/resource.d/pacemaker/Stateful")


class FakeBackend:
    """A cluster of two nodes in memory."""

    local_node = "node1"
    quorate = True

    def __init__(self) -> None:
        self.values: dict[AttributeKey, str] = {}
        self.dampenings: list[int | None] = []
        self.refusals = 0
        self.parameters: dict[tuple[str, str, str], str | None] = {}
        self.bans: list[tuple[str, str]] = []
        self.fenced: list[tuple[str, str]] = []
        self.asked = 0

    def nodes(self) -> tuple[ClusterNode, ...]:
        return (ClusterNode(id=2, name="node2", member=False), ClusterNode(id=1, name="node1", member=True))

    def attribute(self, key: AttributeKey) -> str | None:
        return self.values.get(key)

    async def set_attribute(self, key: AttributeKey, value: str | None, dampen_ms: int | None) -> None:
        if self.refusals:
            self.refusals -= 1
            raise NoDc()
        self.dampenings.append(dampen_ms)
        if value is None:
            del self.values[key]
        else:
            self.values[key] = value

    def locations(self, resource: str) -> tuple[Location, ...]:
        if resource != "db":
            raise NotFound(kind="resource", name=resource)
        return (Location(node="node1", role="Promoted"), Location(node="node2", role="Unpromoted"))

    def resource_xml(self, resource: str) -> str:
        return f'<primitive id="{resource}"/>'

    def cib(self, xpath: str) -> str:
        if xpath == "//none":
            raise NotFound(kind="part of the CIB", name=xpath)
        return f'<cib xpath="{xpath}"/>'

    def parameter(self, resource: str, kind: str, name: str) -> str | None:
        return self.parameters.get((resource, kind, name))

    async def set_parameter(self, resource: str, kind: str, name: str, value: str | None) -> None:
        self.parameters[resource, kind, name] = value

    async def ban(self, resource: str, node: str) -> None:
        self.bans.append((resource, node))

    async def clear(self, resource: str, node: str) -> None:
        self.bans = [one for one in self.bans if one[0] != resource or node not in ("", one[1])]

    async def transition(self) -> tuple[str, ...]:
        return ("db_start_0@node1",)

    async def status(self) -> dict[str, Any]:
        return {"status": {"dc": "node1", "quorate": True}, "cib": ["cib", {"epoch": "4"}, [], ""]}

    async def fence(self, node: str, action: str) -> str:
        self.fenced.append((node, action))
        return "id1"

    def fencing_history(self, node: str) -> tuple[dict[str, Any], ...]:
        states = ("pending", "done") if len(self.fenced) == 1 else ("failed",)
        self.asked += 1
        return tuple(
            {
                "id": "id1", "target": "node2", "action": "reboot", "dc": "node1", "client": "agent",
                "state": states[min(self.asked, len(states)) - 1], "executor": "node1", "device": "f",
                "began_s": 10, "changed_s": 20, "why": "",
            }
            for _ in range(1 if node in ("", "node2") else 0)
        )  # fmt: skip


class Cluster:
    """The served backend, and a way to call the commands as an agent does."""

    def __init__(self, path: Path) -> None:
        self.backend = FakeBackend()
        self.path = path

    async def __call__(self, command: str, *argv: str, **environ: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            str(our_sbin_dir() / command),
            *argv,
            env={"HACLUSTER_AGENT_SOCKET": str(self.path), "OCF_RESOURCE_INSTANCE": "db", **environ},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


def key(name: str, node: str = "node1", section: AttributeSection = AttributeSection.STATUS) -> AttributeKey:
    return AttributeKey(section=section, node=node, name=name)


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    one = Cluster(tmp_path / "run/agent.sock")
    ready = asyncio.Event()
    server = AgentSocket(one.path, one.backend)
    task = asyncio.create_task(server.serve(ready.set))
    await asyncio.wait_for(ready.wait(), 5)
    yield one
    task.cancel()
    await asyncio.wait([task])


async def test_promotion_score(cluster: Cluster) -> None:
    assert await cluster("crm_master", "-l", "reboot", "-v", "10") == (0, "", "")
    assert cluster.backend.values == {key("master-db"): "10"}
    assert (await cluster("crm_attribute", "--promotion", "-G", "-q"))[:2] == (0, "10\n")
    assert (await cluster("crm_master", "-Q", "-l", "reboot"))[:2] == (0, "10\n")
    assert await cluster("crm_attribute", "-p", "db", "-D") == (0, "", "")
    assert cluster.backend.values == {}
    assert (await cluster("crm_attribute", "-p", "-D"))[0] == 0
    assert (await cluster("crm_master", "-v", "5"))[0] == 0
    assert cluster.backend.values == {key("master-db", section=AttributeSection.NODES): "5"}
    assert (await cluster("crm_master", "-v", "5", OCF_RESOURCE_INSTANCE=""))[0] == 64


async def test_utilization_and_bans(cluster: Cluster) -> None:
    """As VirtualDomain, Xen and pgsql ask for them."""
    assert (await cluster("crm_resource", "-Q", "-r", "db", "-z", "-g", "cpu"))[0] == 105
    assert await cluster("crm_resource", "-r", "db", "-z", "-p", "cpu", "-v", "4") == (0, "", "")
    assert (await cluster("crm_resource", "-Q", "-r", "db", "-z", "-g", "cpu"))[:2] == (0, "4\n")
    assert (await cluster("crm_resource", "--resource=db", "--utilization", "--delete-parameter=cpu"))[0] == 0
    assert cluster.backend.parameters == {("db", "utilization", "cpu"): None}
    assert (await cluster("crm_resource", "-B", "-r", "db", "-N", "node2", "-Q"))[0] == 0
    assert cluster.backend.bans == [("db", "node2")]
    assert (await cluster("crm_resource", "-B", "-r", "db"))[0] == 64, "it runs on two nodes"
    assert (await cluster("crm_resource", "-B", "-r", "db", "-N", "node9"))[0] == 105
    assert (await cluster("crm_resource", "--clear", "-r", "db"))[0] == 0
    assert cluster.backend.bans == []


async def test_the_cib_and_the_transition(cluster: Cluster) -> None:
    assert (await cluster("cibadmin", "-Q", "--xpath", "//nvpair"))[1] == '<cib xpath="//nvpair"/>\n'
    assert (await cluster("cibadmin", "-Q", "-o", "nodes"))[1] == '<cib xpath="//nodes"/>\n'
    assert (await cluster("cibadmin", "-Q", "--xpath", "//none"))[0] == 105
    code, out, _ = await cluster("crm_simulate", "-Ls")
    assert code == 0
    assert out.split("Transition Summary:\n")[1] == "  * db_start_0@node1\n"
    assert (await cluster("crm_mon", "-1X"))[0] == 0


async def test_stonith_admin(cluster: Cluster) -> None:
    """As controld has it."""
    cluster.backend.fenced.append(("", ""))
    code, out, _ = await cluster("stonith_admin", "-H", "*", "--output-as", "xml")
    assert code == 0
    assert 'extended-status="pending"' in out
    assert 'target="node2"' in out
    cluster.backend.fenced.clear()
    cluster.backend.asked = 0
    assert (await cluster("stonith_admin", "--reboot=node2", "--tag", "controld"))[0] == 0
    assert cluster.backend.fenced == [("node2", "reboot")]
    assert (await cluster("stonith_admin", "-F", "node2"))[0] == 1, "it has failed"
    assert (await cluster("stonith_admin", "-B", "node9"))[0] == 105
    assert (await cluster("stonith_admin", "-H", "node1"))[1] == ""


async def test_standby(cluster: Cluster) -> None:
    assert (await cluster("crm_standby", "-G", "-N", "node1"))[1] == "scope=nodes  name=standby value=off\n"
    assert (await cluster("crm_standby", "-v", "on", "-N", "node2", "-l", "reboot"))[0] == 0
    assert cluster.backend.values == {key("standby", "node2"): "on"}
    assert (await cluster("crm_standby", "-G", "-q", "-N", "node2", "-l", "reboot"))[1] == "on\n"
    assert (await cluster("crm_standby", "-D", "-N", "node2", "-l", "reboot"))[0] == 0
    assert (await cluster("crm_standby", "-D"))[0] == 0


@pytest.mark.slow
@pytest.mark.skipif(not NODE_UTILIZATION.exists(), reason="the package resource-agents is not installed")
async def test_a_shell_agent_says_what_its_node_has_to_offer(cluster: Cluster, tmp_path: Path) -> None:
    facts = NodeFacts(
        node="node1", sbin_dir=str(our_sbin_dir()), agent_socket=str(cluster.path), agent_tmp=str(tmp_path)
    )
    operation = Operation(
        resource=ResourceId("u"), agent=AgentName.parse("ocf:heartbeat:NodeUtilization"), action="start"
    )
    process = await asyncio.create_subprocess_exec(
        str(NODE_UTILIZATION),
        "start",
        env={
            **environment(operation, facts),
            "OCF_RESKEY_dynamic": "false",
            "OCF_RESKEY_utilization_hv_memory": "false",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err
    assert set(cluster.backend.values) == {
        key(name, "node1", AttributeSection.UTILIZATION) for name in ("cpu", "host_memory")
    }


@pytest.mark.slow
@pytest.mark.skipif(
    not THEIR_STATEFUL.exists(), reason="the package pacemaker-resource-agents is not installed"
)
async def test_a_shell_agent_sets_its_score_through_us(cluster: Cluster, tmp_path: Path) -> None:
    """Pacemaker's own Stateful finds our commands by HA_SBIN_DIR and PATH, and says no word of complaint."""
    facts = NodeFacts(
        node="node1", sbin_dir=str(our_sbin_dir()), agent_socket=str(cluster.path), agent_tmp=str(tmp_path)
    )

    async def run(action: str) -> int | None:
        operation = Operation(
            resource=ResourceId("db"), agent=AgentName.parse("ocf:pacemaker:Stateful"), action=action
        )
        process = await asyncio.create_subprocess_exec(
            str(THEIR_STATEFUL),
            action,
            env=environment(operation, facts),
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
        assert b"ERROR" not in err
        assert b"crm_" not in err, err
        return process.returncode

    assert [await run(action) for action in ("start", "monitor")] == [0, 0]
    assert cluster.backend.values == {key("master-db"): "5"}
    assert [await run(action) for action in ("promote", "monitor")] == [0, 8]
    assert cluster.backend.values == {key("master-db"): "10"}
    assert [await run(action) for action in ("demote", "stop", "monitor")] == [0, 0, 7]
    assert cluster.backend.values == {}


async def test_attributes_of_nodes_and_cluster(cluster: Cluster) -> None:
    await cluster("crm_attribute", "-N", "node2", "-n", "a", "-v", "1")
    await cluster("crm_attribute", "-l", "reboot", "--name=b", "--update=2", "--node", "localhost")
    await cluster("crm_attribute", "-t", "crm_config", "-n", "c", "-v", "3")
    assert cluster.backend.values == {
        key("a", "node2", AttributeSection.NODES): "1",
        key("b"): "2",
        key("c", "", AttributeSection.CRM_CONFIG): "3",
    }
    assert (await cluster("crm_attribute", "-N", "node2", "-n", "a", "-Gq"))[1] == "1\n"
    assert (await cluster("crm_attribute", "--type", "crm_config", "--name", "c", "--query"))[1] == (
        "scope=crm_config  name=c value=3\n"
    )
    assert (await cluster("crm_attribute", "-N", "node9", "-n", "a", "-v", "1"))[0] == 105


async def test_what_a_node_has_to_offer(cluster: Cluster) -> None:
    """As NodeUtilization asks: permanent attributes of another kind than the node's."""
    node2 = ("-t", "nodes", "--node", "node2", "-z", "-n", "cpu")
    assert (await cluster("crm_attribute", "--quiet", *node2))[0] == 105
    assert await cluster("crm_attribute", *node2, "-v", "8") == (0, "", "")
    assert cluster.backend.values == {key("cpu", "node2", AttributeSection.UTILIZATION): "8"}
    assert (await cluster("crm_attribute", "--quiet", *node2))[:2] == (0, "8\n")
    assert (await cluster("crm_attribute", *node2, "-G"))[1] == "scope=nodes  name=cpu value=8\n"
    assert (await cluster("crm_attribute", "-N", "node2", "-n", "cpu", "-G"))[0] == 105, (
        "not that of the node"
    )
    code, _, err = await cluster("crm_attribute", "-z", "-l", "reboot", "-n", "cpu", "-v", "8")
    assert code == 64
    assert "permanent" in err
    assert (await cluster("crm_attribute", *node2, "-D"))[0] == 0
    assert cluster.backend.values == {}


async def test_a_delay_alone_is_refused(cluster: Cluster) -> None:
    """-Y takes no value: the next word is not eaten."""
    code, _, err = await cluster("attrd_updater", "-n", "x", "-Y", "-d", "5s")
    assert code == 64
    assert "--update VALUE --delay TIME" in err


async def test_query_of_what_is_not_set(cluster: Cluster) -> None:
    code, out, err = await cluster("crm_attribute", "-n", "x", "-l", "reboot", "-G", "-q")
    assert (code, out) == (105, "")
    assert "No such device or address" in err
    assert await cluster("crm_attribute", "-n", "x", "-G", "-q", "-d", "7") == (0, "7\n", "")


async def test_attrd_updater(cluster: Cluster) -> None:
    assert await cluster("attrd_updater", "-n", "ping", "-v", "100", "-d", "5s") == (0, "", "")
    assert cluster.backend.dampenings == [5_000]
    await cluster("attrd_updater", "-n", "ping", "-U", "200", "-N", "node2", "-S", "status", "-q")
    assert (await cluster("attrd_updater", "-Q", "-n", "ping"))[1] == 'name="ping" host="node1" value="100"\n'
    assert (await cluster("attrd_updater", "-QA", "-n", "ping", "-q"))[1] == "100\n200\n"
    assert (await cluster("attrd_updater", "-D", "-n", "ping"))[0] == 0
    assert (await cluster("attrd_updater", "-Q", "-n", "ping"))[0] == 105
    assert (await cluster("attrd_updater", "-n", "ping"))[0] == 64


async def test_arithmetic_counts_each_call_once(cluster: Cluster) -> None:
    calls = (cluster("attrd_updater", "-n", "count", "-v", "count++") for _ in range(3))
    assert {code for code, _, _ in await asyncio.gather(*calls)} == {0}
    assert cluster.backend.values == {key("count"): "3"}


async def test_crm_node(cluster: Cluster) -> None:
    assert await cluster("crm_node", "-n") == (0, "node1\n", "")
    assert await cluster("crm_node", "-n", HACLUSTER_NODE="elsewhere") == (0, "elsewhere\n", "")
    assert (await cluster("crm_node", "-l"))[1] == "1 node1 member\n2 node2 lost\n"
    assert (await cluster("crm_node", "-l", "-p"))[1] == "1 node1 member\n"
    assert (await cluster("crm_node", "-p"))[1] == "node1\n"
    assert (await cluster("crm_node", "-q"))[1] == "1\n"
    assert (await cluster("crm_node", "-i"))[1] == "1\n"
    assert (await cluster("crm_node", "-N", "2"))[1] == "node2\n"
    assert (await cluster("crm_node", "-N", "9"))[0] == 105


async def test_crm_resource(cluster: Cluster) -> None:
    assert (await cluster("crm_resource", "-W", "-r", "db"))[1] == (
        "resource db is running on: node1 Promoted\nresource db is running on: node2\n"
    )
    assert (await cluster("crm_resource", "-W", "-Q", "-r", "db"))[1] == "node1\nnode2\n"
    assert (await cluster("crm_resource", "-q", "-r", "x"))[1] == '<primitive id="x"/>\n'
    assert (await cluster("crm_resource", "-W", "-r", "missing"))[0] == 105
    assert (await cluster("crm_resource", "-r", "db"))[0] == 64


async def test_pacemakerd_has_a_version_that_shell_agents_trust(cluster: Cluster) -> None:
    code, out, _ = await cluster("pacemakerd", "-$")
    assert (code, out.splitlines()[0]) == (0, "Pacemaker 2.1.5")


async def test_no_dc_for_a_moment_is_waited_for(cluster: Cluster) -> None:
    cluster.backend.refusals = 2
    assert await cluster("crm_master", "-l", "reboot", "-v", "1") == (0, "", "")
    assert cluster.backend.values == {key("master-db"): "1"}


@pytest.mark.parametrize(
    ("line", "exit_code"),
    [
        (b"hello\n", 64),
        (b"[]\n", 64),
        (b'{"command": "explode"}\n', 64),
        (b'{"command": 5}\n', 64),
        (b'{"command": "query", "section": "x", "name": "a"}\n', 64),
        (b'{"command": "query", "section": "status", "name": ""}\n', 64),
        (b'{"command": "query", "section": "status", "name": "a\\n"}\n', 64),
        (b'{"command": "update", "section": "status", "name": "a"}\n', 64),
        (b'{"command": "update", "section": "status", "name": "a", "value": "1", "dampen_ms": -1}\n', 64),
        (b'{"command": "update", "section": "status", "name": "a", "value": "\\u001b[31m"}\n', 64),
        (b'{"command": "query", "section": "nodes", "name": "a", "set": "\\u0001"}\n', 64),
        (b"[" * 200_000 + b"\n", 64),
        (b"x" * 300_000 + b"\n", 64),
    ],
)
async def test_garbage_is_refused_with_a_reason(cluster: Cluster, line: bytes, exit_code: int) -> None:
    reader, writer = await asyncio.open_unix_connection(cluster.path)
    writer.write(line)
    answer = json.loads(await asyncio.wait_for(reader.readline(), 5))
    writer.close()
    assert answer["ok"] is False
    assert answer["exit"] == exit_code
    assert answer["error"]


async def test_other_users_are_refused(tmp_path: Path) -> None:
    ready = asyncio.Event()
    server = AgentSocket(tmp_path / "a.sock", FakeBackend(), allowed_uids=frozenset({12345}))
    task = asyncio.create_task(server.serve(ready.set))
    await asyncio.wait_for(ready.wait(), 5)
    try:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "a.sock")
        answer: Mapping[str, object] = json.loads(await asyncio.wait_for(reader.readline(), 5))
        writer.close()
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert answer["exit"] == 4
    assert (tmp_path / "a.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("value", "current", "result"),
    [
        ("x++", None, "1"),
        ("x++", "4", "5"),
        ("x+=-3", "1", "-2"),
        ("x+=5", "INFINITY", "INFINITY"),
        ("x++", "999999", "INFINITY"),
        ("x+=-2", "-999999", "-INFINITY"),
    ],
)
def test_expanded(value: str, current: str | None, result: str) -> None:
    assert expanded(value, current) == result


def test_arithmetic_is_recognised() -> None:
    assert [arithmetic(text) for text in ("5", "a+b", "x++", "x+=7", "++")] == [None, None, 1, 7, 1]
    with pytest.raises(InvalidRequest):
        expanded("x++", "many")


async def test_the_state_of_the_cluster_as_hacli_asks_for_it(cluster: Cluster) -> None:
    found = await asyncio.to_thread(quick_status, cluster.path)
    assert found is not None
    cib, summary = found
    assert (cib.tag, cib.get("epoch")) == ("cib", "4")
    assert (summary.dc, summary.quorate, summary.live) == ("node1", True, True)
    assert await asyncio.to_thread(quick_status, cluster.path.with_name("nobody")) is None
