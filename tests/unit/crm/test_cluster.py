"""What clients may ask, without gRPC: attributes, clean-up, leaving; and the agents' backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from crm.api.agent_socket import AttributeKey, AttributeSection, Location
from crm.api.backend import Backend, with_attribute
from crm.api.changes import Changes
from crm.api.cluster import PRIORITY_LEAVING, Cluster
from crm.attributes import AttributeKeeper
from crm.cib.codec import parse
from crm.cib.model import Element
from crm.cib.objects import encode, undo_of
from crm.confirmation import Pending, Watch, pending_in, with_pending
from crm.confirming import take_back
from crm.controller.core import Phase
from crm.replica.events import DcState
from hacluster.clock import SystemClock
from hacluster.errors import Conflict, HaError, InvalidRequest, NoDc, NotFound, Timeout, Unreachable
from hacluster.v1 import crm_pb2
from hacluster.vocabulary.ids import NO_VIEW, BootToken, NodeId
from hacluster.vocabulary.membership import NodeState, QuorumConfig
from tests.builders import a_result, an_operation
from tests.unit.crm.fakes import World

CONFIGURATION = parse(
    """<configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
    <nvpair id="o" name="batch-limit" value="3"/></cluster_property_set></crm_config>
    <nodes><node id="1" uname="node1"><instance_attributes id="n1">
    <nvpair id="n1-s" name="standby" value="off"/>
    </instance_attributes></node><node id="2" uname="node2"/></nodes>
    <resources><group id="g"><primitive id="web"/><primitive id="db"/></group></resources></configuration>"""
)


class FakeMessaging:
    """And this node's ha-lrm: what runs by its own word."""

    def __init__(self) -> None:
        self.runs: tuple[str, ...] | HaError = ()
        self.left: list[tuple[str, ...]] = []
        self.known = True
        self.down = 0  # so many calls find nobody
        self.while_asked: Callable[[], Awaitable[None]] | None = None  # happens while ha-lrm answers

    async def leave(self, active_unmanaged: tuple[str, ...], *, known: bool = True) -> None:
        if self.down:
            self.down -= 1
            raise Unreachable(who="ha-messaging")
        self.left.append(active_unmanaged)
        self.known = known

    async def running(self) -> tuple[str, ...]:
        if self.while_asked is not None:
            await self.while_asked()
        if isinstance(self.runs, HaError):
            raise self.runs
        return self.runs


@asynccontextmanager
async def a_cluster(tmp_path: Path) -> AsyncIterator[tuple[World, Cluster, FakeMessaging]]:
    async with asyncio.TaskGroup() as tasks:
        world = World(tasks)
        world.replica.configuration = CONFIGURATION
        messaging = FakeMessaging()
        keeper = AttributeKeeper(
            tmp_path / "a.json", BootToken("b" * 64), 1, later=lambda *_: None, changed=lambda: None
        )
        cluster = Cluster(
            local=world.local,
            nodes=world.nodes,
            replica=world.replica,
            dc=world.dc,
            orders=world.orders,
            fencing=world.fencing,
            keeper=keeper,
            messaging=messaging,  # type: ignore[arg-type]
            clock=SystemClock(),
            changes=Changes(),
            running=messaging.running,
        )
        yield world, cluster, messaging
        world.close()


async def test_a_node_with_another_cluster_toml_is_alive(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        world.reign()
        world.view("node1", counter=3)
        cluster.notes.states = {"node2": (NodeState.ESTRANGED, False)}
        (notice,) = [notice for notice in cluster.notices() if "cluster.toml" in notice]
        assert notice.startswith("node2 is alive")
        with pytest.raises(InvalidRequest, match=r"^node2 is alive .*not off") as refused:
            cluster.confirm_fenced("node2", "root")
        assert "repeat" not in str(refused.value)


async def test_the_dc_moves_only_to_who_is_here(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        world.reign()
        world.view("node1", counter=3)
        with pytest.raises(InvalidRequest, match=r"^node2 is not here and integrated"):
            await cluster.move_dc("node2", "root")
        with pytest.raises(InvalidRequest, match=r"^no other node is here"):
            await cluster.move_dc("", "root")


async def test_only_who_is_barred_and_heard_is_let_in(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        let_in: list[tuple[int, str]] = []

        async def bar(node_id: int, boot_token: str) -> None:
            let_in.append((node_id, boot_token))

        world.fencing.bar = bar
        with pytest.raises(NoDc):
            await cluster.forgive("node2", "root")
        world.reign()
        world.nodes.blame("node2")
        with pytest.raises(NotFound):
            await cluster.forgive("node9", "root")
        with pytest.raises(InvalidRequest, match="node1 is not barred"):
            await cluster.forgive("node1", "root", force=True)
        world.view("node1", counter=3)
        cluster.notes.states = {"node2": (NodeState.LOST, False)}
        with pytest.raises(InvalidRequest, match=r"not heard \(lost\)"):
            await cluster.forgive("node2", "root")
        assert world.nodes["node2"].lied
        assert let_in == []
        cluster.notes.states = {"node2": (NodeState.BARRED, False)}
        await cluster.forgive("node2", "root")
        assert not world.nodes["node2"].lied
        world.nodes.blame("node2")
        cluster.notes.states = {"node2": (NodeState.LOST, False)}
        await cluster.forgive("node2", "root", force=True)
        assert let_in == [(2, ""), (2, "")]


async def test_a_clean_up_forgets_failures_and_history(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        with pytest.raises(NoDc):
            await cluster.clean_up("web", "", "", 0)
        world.peers["node1"].values = {"fail-count-web#start_0": "INFINITY"}
        for name in world.names:
            world.sync(name)
        world.hear("node1", a_result(an_operation(), rc=1, at_s=5))
        world.hear("node2", a_result(an_operation("db")))
        world.reign(sync=False)
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        plans = len(world.scheduler.requests)
        assert await cluster.clean_up("", "", "", 0) == ["web@node1"], "only what failed"
        await world.until(lambda: "delete web  0 False" in world.lrms["node1"].orders)
        await world.until(lambda: not world.peers["node1"].values)
        await world.until(lambda: len(world.scheduler.requests) > plans)
        assert world.nodes["node1"].history.resources() == ()
        assert await cluster.clean_up("g", "node2", "", 0) == ["db@node2"], "a group means its members"
        with pytest.raises(NotFound, match="'nonsense'"):
            await cluster.clean_up("nonsense", "", "", 0)
        with pytest.raises(NotFound, match="node"):
            await cluster.clean_up("web", "node9", "", 0)


async def test_a_clean_up_of_one_operation_keeps_the_history(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        world.reign()
        monitor = an_operation(action="monitor", interval_ms=10_000)
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        world.hear("node1", a_result(an_operation()))
        world.hear("node1", a_result(monitor, rc=7))
        assert world.nodes["node1"].effective_attributes["fail-count-web#monitor_10000"] == "1"
        assert await cluster.clean_up("web", "node1", "monitor", 10_000) == ["web@node1"]
        assert world.nodes["node1"].effective_attributes == {}
        await world.until(lambda: world.lrms["node1"].orders == ["delete web monitor 10000 True"])
        assert [e.id for r in world.nodes["node1"].history.elements() for e in r.children] == ["web_last_0"]


async def test_attributes_of_any_node_are_set_at_the_dc(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        with pytest.raises(NoDc):
            cluster.set_attribute("node2", {"x": "1"}, "me")
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        plans = len(world.scheduler.requests)
        cluster.set_attribute("node2", {"x": "1"}, "me")
        await world.until(lambda: world.peers["node2"].values == {"x": "1"})
        await world.until(lambda: len(world.scheduler.requests) == plans + 1)
        cluster.set_attribute("node2", {"x": "1"}, "me")
        await asyncio.sleep(0)
        assert len(world.scheduler.requests) == plans + 1, "nothing changed"
        with pytest.raises(NotFound):
            cluster.set_attribute("node9", {"x": "1"}, "me")
        with pytest.raises(InvalidRequest):
            cluster.check_attribute("", "1")
        with pytest.raises(InvalidRequest, match="value"):
            cluster.check_attribute("colour", "\x1b[31m")


async def test_a_fail_count_that_is_removed_by_hand_takes_the_failure_with_it(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        world.hear("node1", a_result(an_operation(), rc=1))
        cluster.set_attribute("node1", {"fail-count-web#start_0": ""}, "me")
        await world.until(lambda: world.lrms["node1"].orders == ["delete web start 0 True"])
        assert world.nodes["node1"].effective_attributes == {}
        assert world.nodes["node1"].history.failures() == ()


async def test_a_node_without_a_disk_never_becomes_eligible(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        cluster.local.may_be_dc = False
        stopping = asyncio.ensure_future(cluster.stop_node())
        await world.until(lambda: "shutdown" in cluster.keeper.current)
        assert not world.replica.eligible
        world.hear("node1", a_result(an_operation()))
        await cluster.leave()
        await stopping


async def test_leaving_waits_for_the_dc(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, messaging):
        with pytest.raises(Conflict):
            await cluster.leave()
        stopping = asyncio.ensure_future(cluster.stop_node())
        await world.until(lambda: "shutdown" in cluster.keeper.current)
        assert (world.replica.eligible, world.replica.priority) == (True, PRIORITY_LEAVING)
        world.hear("node1", a_result(an_operation()))
        await cluster.leave()
        await stopping
        assert messaging.left == [("web",)], "what still runs is named"
        assert "shutdown" not in cluster.keeper.current
        await cluster.stop_node()


async def test_leaving_without_a_dc_is_bounded(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, messaging):
        world.replica.dc = DcState()
        await cluster.stop_node(without_dc_ms=200)
        assert messaging.left == [()]


async def test_without_a_view_an_empty_node_says_that_it_leaves(tmp_path: Path) -> None:
    """It may have accepted a view that the others have installed: silent, it would be fenced."""
    async with a_cluster(tmp_path) as (world, cluster, messaging):
        world.replica.dc, world.local.view, messaging.down = DcState(), NO_VIEW, 1
        world.sync("node1")
        await asyncio.wait_for(cluster.stop_node(), 5)
        assert (messaging.left, messaging.known) == ([()], True), "ha-messaging was waited for"


async def test_the_dc_lets_a_node_go_while_that_asks_itself(tmp_path: Path) -> None:
    """Both have come to it: the node leaves once, and `cluster stop` is no failure."""
    async with a_cluster(tmp_path) as (world, cluster, messaging):
        world.replica.dc, world.local.view = DcState(), NO_VIEW
        world.sync("node1")
        messaging.while_asked = cluster.leave
        await asyncio.wait_for(cluster.stop_node(), 5)
        assert (messaging.left, messaging.known) == ([()], True)


async def test_a_node_does_not_leave_cleanly_as_long_as_its_lrm_says_nothing(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, messaging):
        world.replica.dc, world.local.view = DcState(), NO_VIEW
        world.nodes.lost_sync("node1")
        messaging.runs = Unreachable(who="ha-lrm")
        await cluster.stop_node(without_dc_ms=200)
        assert (messaging.left, messaging.known) == ([()], False)


async def test_what_was_begun_and_not_told_yet_is_asked_for(tmp_path: Path) -> None:
    """Ha-lrm hung, or was killed, between an agent's begin and its report: the history here has nothing."""
    for runs, left in ((("web",), ("web",)), (Timeout(what="History", after_ms=3_000), ())):
        async with a_cluster(tmp_path) as (world, cluster, messaging):
            world.replica.dc, world.local.view = DcState(), NO_VIEW
            world.sync("node1")
            messaging.runs = runs
            await cluster.stop_node(without_dc_ms=300)
            clean = messaging.known and not messaging.left[0]
            assert (messaging.left, clean) == ([left], False)


async def test_a_node_that_is_let_go_names_what_only_ha_lrm_knows(tmp_path: Path) -> None:
    """A cleanup since: the DC's history has nothing of it, and nobody has looked."""
    for runs, left in ((("web",), ("web",)), ((), ()), (Timeout(what="History", after_ms=3_000), ())):
        async with a_cluster(tmp_path) as (world, cluster, messaging):
            world.sync("node1")
            cluster.keeper.change({"shutdown": "1"})
            messaging.runs = runs
            await cluster.leave_by_order()
            assert (messaging.left, messaging.known) == ([left], True)


async def test_without_ha_messaging_a_stop_ends_in_an_error(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, messaging):
        world.replica.dc, world.local.view, messaging.down = DcState(), NO_VIEW, 100
        world.sync("node1")
        with pytest.raises(Unreachable):
            await cluster.stop_node(without_dc_ms=200)


async def test_notices(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        world.local.quorate = False
        cluster.notes.orphans["f"] = "2 changes"
        member, lost = (NodeState.MEMBER, False), (NodeState.LOST, False)
        cluster.notes.states = {"node1": member, "node2": member}
        assert cluster.notices() == [
            "no quorum: no-quorum-policy decides what happens to resources",
            "2 changes",
        ]
        # Who is missing is named, and what can be done.
        cluster.notes.states = {"node1": member, "node2": lost}
        assert cluster.notices()[0].startswith(
            "no quorum: no-quorum-policy decides what happens to resources, for want of node2 (lost) (start "
        )
        assert "`hacli -F cluster force-quorum`, then `hacli -F cluster remove node2`" in cluster.notices()[0]
        # Two of three have the votes: after the decree nobody need be removed. One of three has not.
        every = tuple((NodeId(node), 1) for node in (1, 2, 3))
        world.replica.quorum = QuorumConfig(voters=every, wait_for_all=True)
        world.view("node1", "node2", counter=5)
        assert "then `hacli" in cluster.notices()[0], "but nothing waits"
        world.local.waiting = True
        assert "stays so: `hacli -F cluster force-quorum`)" in cluster.notices()[0]
        world.view("node1", counter=6)
        world.local.waiting = True
        assert "then `hacli -F cluster remove node2`" in cluster.notices()[0]
        assert cluster.notices()[0].startswith("waiting for node2 (lost) after a boot: nothing is started")
        cluster.notes.states = {}
        assert "waiting for node2 (not heard since the start here)" in cluster.notices()[0]
        cluster.notes.states = {"node1": member, "node2": member}
        assert cluster.notices()[0].startswith("waiting for all nodes after a boot")


STATUS = AttributeSection.STATUS
NODES = AttributeSection.NODES
CRM_CONFIG = AttributeSection.CRM_CONFIG
UTILIZATION = AttributeSection.UTILIZATION


def a_key(section: AttributeSection, node: str, name: str) -> AttributeKey:
    return AttributeKey(section=section, node=node, name=name)


async def no_dc(_method: str, _request: bytes) -> bytes:
    raise NoDc


async def a_status() -> crm_pb2.ClusterStatus:
    return crm_pb2.ClusterStatus(node="node1", cib_xml=b"<cib/>", age_ms=1_200, notices=["alone"])


async def test_status_for_agents_is_plain_and_needs_no_dc(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (_, cluster, _):
        answer = await Backend(cluster, no_dc, a_status).status()
        assert (answer["status"]["dc"], answer["status"]["age_ms"]) == ("", 1_200)
        assert answer["status"]["notices"] == ["alone"]


async def test_agents_change_a_resource(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        backend = Backend(cluster, cluster_status, a_status)
        world.reign()
        await backend.set_parameter("web", "utilization", "cpu", "2")
        await backend.set_parameter("web", "utilization", "cpu", "3")
        assert backend.parameter("web", "utilization", "cpu") == "3"
        assert 'name="cpu" value="3"' in backend.cib("//utilization/nvpair")
        await backend.set_parameter("web", "utilization", "cpu", None)
        assert backend.parameter("web", "utilization", "cpu") is None
        await backend.ban("web", "node1")
        ban = world.replica.configuration.by_id("cli-ban-web-on-node1")
        assert ban is not None
        assert (ban.get("rsc"), ban.get("node"), ban.get("score")) == ("web", "node1", "-INFINITY")
        await backend.clear("web", "node2")
        assert world.replica.configuration.by_id("cli-ban-web-on-node1") is not None
        await backend.clear("web", "")
        assert world.replica.configuration.by_id("cli-ban-web-on-node1") is None
        with pytest.raises(NotFound):
            await backend.ban("nonsense", "node1")
        assert await backend.transition() == ("web_start_0@node1", "1 more actions")


async def cluster_status(method: str, _request: bytes) -> bytes:
    assert method == "Status"
    transition = crm_pb2.TransitionStatus(state="running", actions=3, done=1, running=["web_start_0@node1"])
    return crm_pb2.ClusterStatus(transition=transition).SerializeToString()


async def test_agents_read_their_writes(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        backend = Backend(cluster, no_dc, a_status)
        world.reign()
        own, other = a_key(STATUS, "node1", "master-db"), a_key(STATUS, "node2", "master-db")
        await backend.set_attribute(own, "10", None)
        assert backend.attribute(own) == "10"
        await backend.set_attribute(other, "5", None)
        assert backend.attribute(other) == "5"
        await backend.set_attribute(own, None, None)
        assert backend.attribute(own) is None
        assert [node.name for node in backend.nodes()] == ["node1", "node2"]


async def test_agents_see_where_a_resource_runs(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        backend = Backend(cluster, no_dc, a_status)
        world.reign()
        world.hear("node1", a_result(an_operation(), call_id=1))
        world.hear("node1", a_result(an_operation(action="promote"), call_id=2))
        world.hear("node2", a_result(an_operation(), call_id=1))
        world.hear("node2", a_result(an_operation(action="stop"), call_id=2))
        assert backend.locations("web") == (Location(node="node1", role="Promoted"),)
        assert 'id="web"' in backend.resource_xml("web")
        for call in (backend.locations, backend.resource_xml):
            with pytest.raises(NotFound):
                call("nonsense")


@pytest.mark.parametrize(
    ("key", "value", "path", "expected"),
    [
        (a_key(NODES, "node1", "standby"), "on", "n1-s", "on"),
        (a_key(NODES, "node2", "standby"), "on", "nodes-2-standby", "on"),
        (a_key(CRM_CONFIG, "", "batch-limit"), "9", "o", "9"),
        (a_key(CRM_CONFIG, "", "stonith-enabled"), "false", "cib-bootstrap-options-stonith-enabled", "false"),
        (a_key(NODES, "node1", "standby"), None, "n1-s", None),
        (a_key(UTILIZATION, "node2", "cpu"), "8", "nodes-2-utilization-cpu", "8"),
        (a_key(UTILIZATION, "node1", "standby"), "8", "nodes-1-utilization-standby", "8"),
    ],
)
async def test_permanent_attributes_go_into_the_configuration(
    key: AttributeKey, value: str | None, path: str, expected: str | None, tmp_path: Path
) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        backend = Backend(cluster, no_dc, a_status)
        await backend.set_attribute(key, value, None)
        found = world.replica.configuration.by_id(path)
        assert (found.get("value") if found is not None else None) == expected
        assert backend.attribute(key) == expected


def test_a_node_that_does_not_exist_gets_no_attribute() -> None:
    with pytest.raises(HaError):
        with_attribute(Element("configuration"), a_key(NODES, "node9", "x"), "1")


async def test_a_commit_that_cannot_be_taken_back_is_said_to_have_failed_once(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as (world, cluster, _):
        pending = Pending(id="1", until_s=1, within_ms=1, by="eve", undo="?")
        world.replica.configuration = with_pending(CONFIGURATION, pending)
        with capture_logs() as logs:
            assert await take_back(cluster, pending, "time is over") == ""
        assert [(one["event"], one["log_level"]) for one in logs] == [("crm.commit_rollback_failed", "error")]
        assert world.replica.authors[-1][1].startswith("hacluster: rollback FAILED: ")
        found = pending_in(world.replica.configuration)
        assert found is not None
        assert "not readable" in found.failed
        assert Watch().verdict(found, now_ns=0, wall_s=9, idle=True, missing=()) == ""
        # One that can be: it is gone, and said so.
        sections = (Element(name) for name in ("crm_config", "nodes", "resources", "constraints"))
        valid = Element("configuration", {}, tuple(sections))
        pending = Pending(id="2", until_s=1, within_ms=1, by="eve", undo=encode(undo_of(valid, valid)))
        world.replica.configuration = with_pending(valid, pending)
        with capture_logs() as logs:
            assert await take_back(cluster, pending, "time is over") == ""
        assert [one["event"] for one in logs] == ["crm.commit_rolled_back"]
        assert pending_in(world.replica.configuration) is None
