"""The DC's shell with fakes around it: from becoming DC to a finished transition, and what disturbs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from crm.cib.codec import parse
from crm.cib.model import Element, element
from crm.cib.status import history_of
from crm.controller.core import Phase, Timings
from crm.controller.nodes import MembershipChange, node_ids
from crm.fencing.history import FencingRecord, FencingState
from crm.fencing.watchdog import waits_ms
from hacluster.errors import NoAuthority, StaleTerm, Timeout, Unavailable, Unreachable
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import OperationId, ResourceId, Term
from hacluster.vocabulary.operation import ExecutionStatus, Operation
from tests.builders import a_result, an_operation
from tests.unit.crm.fakes import TERM, World
from tests.unit.crm.transition.test_core import a_graph

PATIENT = Timings(integration_ms=20_000, node_pending_ms=30_000, retry_ms=5, retry_ms_max=20)
IMPATIENT = Timings(integration_ms=400, node_pending_ms=800, retry_ms=5, retry_ms_max=20)
TWO_STEPS = "1 start web node1\n2 monitor/10000 web node1 <- 1"


@asynccontextmanager
async def a_world(timings: Timings = PATIENT) -> AsyncIterator[World]:
    async with asyncio.TaskGroup() as tasks:
        world = World(tasks, timings)
        yield world
        world.close()


async def test_from_the_first_plan_to_the_end() -> None:
    async with a_world() as world:
        world.scheduler.graphs.append(a_graph(TWO_STEPS))
        world.reign()
        await world.executed("node1", "web_start_0")
        assert world.lrms["node2"].accepted == [TERM]
        (identity, operation) = world.lrms["node1"].executed[0]
        assert (identity.term, identity.transition, identity.action) == (TERM, 1, 1)
        assert operation.transition_key == "1:1:0:u"
        world.result("node1")
        await world.executed("node1", "web_start_0", "web_monitor_10000")
        world.result("node1")
        await world.until(lambda: world.scheduler.outcomes == [(1, "complete")])
        assert world.dc.phase is Phase.IDLE
        await world.until(lambda: world.replica.published)
        resources = history_of(world.dc.status(), "node1")
        assert [entry.id for entry in resources[0].children] == ["web_last_0", "web_monitor_10000"]
        assert node_ids(world.replica.configuration) == {"node1": "1", "node2": "2"}


async def test_the_scheduler_sees_quorum_nodes_and_the_dc() -> None:
    async with a_world() as world:
        world.reign()
        await world.until(lambda: world.scheduler.requests)
        cib = world.scheduler.requests[0].cib
        assert (cib.get("have-quorum"), cib.get("dc-uuid")) == ("1", "1")
        status = cib.child("status")
        assert status is not None
        assert [(s.get("uname"), s.get("join")) for s in status.children] == [
            ("node1", "member"),
            ("node2", "member"),
        ]


async def test_a_failed_start_is_counted_and_planned_anew() -> None:
    async with a_world() as world:
        world.scheduler.graphs.append(a_graph(TWO_STEPS))
        world.reign()
        await world.executed("node1", "web_start_0")
        world.result("node1", rc=1, exit_reason="port in use")
        await world.until(lambda: len(world.scheduler.requests) == 2)
        assert world.scheduler.outcomes == [(1, "aborted")]
        count = world.scheduler.requests[1].cib.by_id("status-1-fail-count-web.start_0")
        assert count is not None
        assert count.get("value") == "INFINITY"
        await world.until(lambda: "fail-count-web#start_0" in world.peers["node1"].values)
        await world.until(lambda: not world.nodes["node1"].unconfirmed)
        assert world.nodes["node1"].effective_attributes["fail-count-web#start_0"] == "INFINITY"


async def test_a_monitor_that_fails_later_makes_a_new_plan() -> None:
    async with a_world() as world:
        world.scheduler.graphs.append(a_graph("1 monitor/10000 web node1"))
        world.reign()
        await world.executed("node1", "web_monitor_10000")
        world.result("node1")
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        plans = len(world.scheduler.requests)
        world.result("node1")
        assert len(world.scheduler.requests) == plans, "a good result of a known monitor is no news"
        world.result("node1", rc=7)
        await world.until(lambda: len(world.scheduler.requests) == plans + 1)
        assert world.nodes["node1"].effective_attributes["fail-count-web#monitor_10000"] == "1"


async def test_an_lrm_that_is_out_of_reach_is_asked_again_and_one_that_refuses_is_not() -> None:
    async with a_world() as world:
        world.lrms["node1"].raises.extend([Unreachable(who="lrm"), Timeout(what="lrm", after_ms=1)])
        world.scheduler.graphs.append(a_graph("1 start web node1"))
        world.reign()
        await world.executed("node1", "web_start_0")
        world.result("node1")
        await world.until(lambda: world.scheduler.outcomes == [(1, "complete")])
        world.lrms["node1"].raises.append(NoAuthority(why="no lease"))
        world.scheduler.graphs.extend([a_graph("1 start db node1"), a_graph("1 start db node1")])
        world.dc.configuration_changed("test")
        await world.executed("node1", "web_start_0", "db_start_0")
        assert world.scheduler.outcomes == [(1, "complete"), (2, "aborted")]
        assert world.nodes["node1"].effective_attributes == {}, "a refusal is no failure of the resource"


async def test_a_result_that_was_known_already_confirms() -> None:
    async with a_world() as world:
        world.scheduler.graphs.append(a_graph("1 start web node1"))
        lrm = world.lrms["node1"]
        plain = lrm.execute

        async def known(identity, operation, **rest):  # type: ignore[no-untyped-def]
            reply = await plain(identity, operation, **rest)
            reply.result.CopyFrom(lrm_pb2.OperationResult(status=0, rc=0))
            reply.result.id.term.counter, reply.result.id.term.node_id = TERM.counter, TERM.node_id
            reply.result.id.transition, reply.result.id.action = identity.transition, identity.action
            reply.result.operation.transition_key = operation.transition_key
            return reply

        lrm.execute = known  # type: ignore[method-assign]
        world.reign()
        await world.until(lambda: world.scheduler.outcomes == [(1, "complete")])


async def test_a_member_without_lrm_is_held_then_given_up_and_comes_back() -> None:
    async with a_world(IMPATIENT) as world:
        world.sync("node1")
        world.reign(sync=False)
        await world.until(lambda: world.nodes["node2"].held)
        await world.until(lambda: world.scheduler.requests)
        assert world.scheduler.requests[0].cib.by_id("status-2-maintenance") is not None
        await world.until(lambda: world.nodes["node2"].given_up)
        await world.until(lambda: len(world.scheduler.requests) >= 2)
        status = world.scheduler.requests[-1].cib.child("status")
        assert status is not None
        assert [s.get("crmd") for s in status.children] == ["1000", "0"]
        world.sync("node2")
        await world.until(lambda: not world.nodes["node2"].given_up)
        await world.until(lambda: len(world.scheduler.requests) >= 3)


async def test_a_lost_stream_is_taken_up_again_without_a_new_reign() -> None:
    async with a_world() as world:
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        world.histories.heard("node2", None)
        world.sync("node2")
        await world.until(lambda: len(world.lrms["node2"].accepted) == 2)
        assert not world.nodes["node2"].held


async def test_what_happened_while_the_stream_was_away_confirms_the_action() -> None:
    async with a_world() as world:
        world.scheduler.graphs.append(a_graph("1 start web node1"))
        world.reign()
        await world.executed("node1", "web_start_0")
        world.histories.heard("node1", None)
        identity, operation = world.lrms["node1"].executed[0]
        world.histories.begun("node1")
        done = lrm_pb2.OperationResult(status=0, rc=0)
        done.id.term.counter, done.id.term.node_id = TERM.counter, TERM.node_id
        done.id.transition, done.id.action = identity.transition, identity.action
        done.operation.resource, done.operation.action = operation.resource, operation.action
        done.operation.agent = str(operation.agent)
        world.histories.heard("node1", lrm_pb2.HistoryEvent(result=done, initial=True))
        world.histories.heard("node1", lrm_pb2.HistoryEvent(synced=True, initial=True))
        await world.until(lambda: world.scheduler.outcomes == [(1, "complete")])


async def test_a_new_view_abandons_everything() -> None:
    async with a_world() as world:
        world.scheduler.graphs.append(a_graph("1 start web node1"))
        world.reign()
        await world.executed("node1", "web_start_0")
        world.dc.stopped_being_dc("a new view")
        assert world.dc.phase is Phase.NOT_DC
        assert world.scheduler.outcomes == [(1, "abandoned")]
        plans = len(world.scheduler.requests)
        world.result("node1", rc=1)
        world.dc.configuration_changed("someone")
        await asyncio.sleep(0.01)
        assert len(world.scheduler.requests) == plans
        assert world.nodes["node1"].effective_attributes == {}, "only a DC counts"


async def test_a_new_dc_counts_failures_that_none_saw() -> None:
    async with a_world() as world:
        for name in world.names:
            world.sync(name)
        monitor = an_operation(action="monitor", interval_ms=10_000)
        world.hear("node1", a_result(monitor, rc=7, at_s=900))
        world.reign(sync=False)
        await world.until(lambda: world.scheduler.requests)
        count = world.scheduler.requests[0].cib.by_id("status-1-fail-count-web.monitor_10000")
        assert count is not None
        assert count.get("value") == "1"


async def test_a_node_that_is_gone_ends_what_runs_there() -> None:
    async with a_world() as world:
        world.scheduler.graphs.append(a_graph("1 start web node2"))
        world.reign()
        await world.executed("node2", "web_start_0")
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        await world.until(lambda: world.scheduler.outcomes == [(1, "aborted")])


async def test_history_that_is_deleted_by_order_is_no_surprise() -> None:
    async with a_world() as world:
        for name in world.names:
            world.sync(name)
        world.hear("node1", a_result(an_operation("old")))
        world.scheduler.graphs.append(a_graph("1 lrm_delete old node1\n2 start web node1 <- 1"))
        world.reign(sync=False)
        await world.executed("node1", "web_start_0")
        forgotten = lrm_pb2.HistoryEvent(forgotten=lrm_pb2.ResourceForgotten(resource="old"))
        world.histories.heard("node1", forgotten)
        world.result("node1")
        await world.until(lambda: world.scheduler.outcomes == [(1, "complete")])
        plans = len(world.scheduler.requests)
        world.histories.heard(
            "node1", lrm_pb2.HistoryEvent(forgotten=lrm_pb2.ResourceForgotten(resource="web"))
        )
        await world.until(lambda: len(world.scheduler.requests) == plans + 1)


async def test_a_scheduler_that_fails_is_asked_again() -> None:
    async with a_world() as world:
        world.scheduler.graphs.append(Unavailable(why="killed"))
        world.reign()
        await world.until(lambda: len(world.scheduler.requests) == 2)
        await world.until(lambda: world.dc.phase is Phase.IDLE)


async def test_orders_beside_operations() -> None:
    graph = a_graph(
        "1 cancel/10000 web node1 operation=monitor\n2 lrm_delete old node1\n"
        "3 clear_failcount web node1 op_no_wait=true\n4 do_shutdown x node2 op_no_wait=true"
    )
    async with a_world() as world:
        world.peers["node1"].values = {"fail-count-web#start_0": "3", "last-failure-web#start_0": "7"}
        world.sync("node1")
        world.hear("node1", a_result(an_operation(), rc=1, at_s=5))
        world.scheduler.graphs.append(graph)
        world.sync("node2")
        world.reign(sync=False)
        await world.until(lambda: world.scheduler.outcomes == [(1, "complete")])
        await world.until(lambda: world.peers["node2"].left)
        await world.until(lambda: not world.peers["node1"].values)
        await world.until(lambda: len(world.lrms["node1"].orders) == 3)
        assert sorted(world.lrms["node1"].orders) == [
            "cancel web monitor 10000",
            "delete old  0 False",
            "delete web start 0 True",
        ]


@pytest.mark.parametrize(("status", "rc"), [(ExecutionStatus.NOT_RUN, 1), (ExecutionStatus.UNKNOWN, 1)])
async def test_an_operation_that_was_not_run_or_lost_is_planned_anew(
    status: ExecutionStatus, rc: int
) -> None:
    async with a_world() as world:
        world.scheduler.graphs.append(a_graph("1 start web node1"))
        world.reign()
        await world.executed("node1", "web_start_0")
        world.result("node1", status=status, rc=rc)
        await world.until(lambda: len(world.scheduler.requests) == 2)
        assert world.nodes["node1"].effective_attributes == {}


async def test_a_dc_does_nothing_while_quorum_settles() -> None:
    async with a_world() as world:
        world.local.quorate, world.local.settling = False, True
        world.reign()
        await asyncio.sleep(0.01)
        assert world.dc.phase is Phase.NOT_DC
        world.local.quorate, world.local.settling = True, False
        world.dc.quorum_changed()
        await world.until(lambda: world.scheduler.requests)
        assert world.scheduler.requests[0].cib.get("have-quorum") == "1"
        world.local.quorate, world.local.settling = False, True
        world.dc.quorum_changed()
        assert world.dc.phase is Phase.NOT_DC
        await world.until(lambda: len(world.scheduler.requests) > 1)
        assert world.scheduler.requests[-1].cib.get("have-quorum") == "0", "it did not come"


async def test_a_dc_that_an_lrm_does_not_obey_stops() -> None:
    async with a_world() as world:
        world.lrms["node1"].raises.append(StaleTerm(term=TERM, current=Term(9, 2)))
        world.scheduler.graphs.append(a_graph("1 start web node1"))
        world.reign()
        await world.until(lambda: world.scheduler.outcomes == [(1, "abandoned")])
        assert world.dc.phase is Phase.NOT_DC
        world.dc.stopped_being_dc("another DC")


DEVICE = parse(
    """<configuration><crm_config/><nodes/><resources><primitive id="f" class="stonith" type="fence_x"/>
    </resources></configuration>"""
)


async def test_what_waits_for_a_fence_waits_for_its_success() -> None:
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.scheduler.graphs.append(
            a_graph("1 stonith node2 node2 stonith_action=off\n2 start web node1 <- 1")
        )
        for name in world.names:
            world.sync(name)
        world.hear("node2", a_result(an_operation()))
        world.reign(sync=False)
        await world.executed("node1", "f-fencing_off_0")
        (identity, operation) = world.lrms["node1"].executed[0]
        assert operation.parameters == {"port": "node2", "nodename": "node2"}
        assert world.dc.progress().waits == ("node2 must be fenced",)  # type: ignore[union-attr]
        world.result("node1", rc=1)
        await world.until(lambda: "f: done, rc 1 on node1" in world.fencing.notices()[0])
        assert world.nodes["node2"].history.resources() == ("web",), "not confirmed: nothing is forgotten"
        await world.executed("node1", "f-fencing_off_0", "f-fencing_off_0")
        assert world.lrms["node1"].executed[1][0] != identity, "another attempt is another operation"
        world.result("node1")
        await world.executed("node1", "f-fencing_off_0", "f-fencing_off_0", "web_start_0")
        facts = {fact.name: fact for fact in world.nodes.facts(DEVICE)}
        assert (facts["node2"].expected_up, facts["node2"].resources) == (False, ())
        assert world.replica.confirmed == [], "a member that was fenced is still in the view"
        assert world.nodes["node1"].history.resources() == (), "to use a device is no part of its history"
        world.result("node1")
        await world.until(lambda: world.scheduler.outcomes == [(1, "complete")])


async def test_a_device_that_lies_is_found_out_and_not_believed_again() -> None:
    """It says that node2 is off, and node2 lives on: fail closed until node2 has booted."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2 stonith_action=off"))
        world.reign()
        await world.executed("node1", "f-fencing_off_0")
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2 stonith_action=off"))
        world.result("node1")
        await world.until(lambda: world.nodes["node2"].fenced or world.nodes["node2"].lied)
        await world.until(lambda: world.nodes["node2"].lied)
        (notice,) = [notice for notice in world.fencing.notices() if "lives on" in notice]
        assert notice.startswith("node2 was confirmed to be off by f, but lives on")
        await world.executed("node1", "f-fencing_off_0", "f-fencing_off_0")
        world.result("node1")
        await world.until(lambda: any("as before" in notice for notice in world.fencing.notices()))
        facts = {fact.name: fact for fact in world.nodes.facts(DEVICE)}
        assert (facts["node2"].lied, facts["node2"].online_since_s) == (True, 0)
        world.view("node1", counter=3)
        world.dc.node_fenced("node2", ("operator",))
        assert world.replica.confirmed == [(2, "b" * 64)], "a person may be believed, once it is silent"
        world.view("node1", "node2", counter=4)
        world.dc.membership_changed(MembershipChange(joined=("node2",)))
        await world.until(lambda: world.nodes["node2"].lied)


async def test_a_lost_node_that_no_device_can_fence_is_said() -> None:
    async with a_world() as world:
        world.reign()
        assert world.fencing.notices() == []
        world.view("node1", counter=3)
        (notice,) = world.fencing.notices()
        assert notice.startswith("node2 is lost and no device can fence it")
        assert "hacli node clearstate node2" in notice
        world.replica.configuration = parse(
            """<configuration><crm_config><cluster_property_set id="p"><nvpair id="p-s" name="stonith-enabled"
            value="false"/></cluster_property_set></crm_config><nodes/><resources/></configuration>"""
        )
        assert world.fencing.notices() == []


async def test_a_node_that_returns_is_not_shot() -> None:
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].raises.append(Unreachable(who="lrm"))
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2"))
        world.reign()
        await world.until(lambda: world.fencing.notices() and "so far" in world.fencing.notices()[0])
        world.dc.membership_changed(MembershipChange(joined=("node2",)))
        assert world.fencing.notices() == []


async def test_a_fenced_node_that_has_left_is_confirmed_to_the_replicated_cib() -> None:
    async with a_world() as world:
        world.reign()
        world.view("node1", counter=3)
        world.dc.node_fenced("node2", ("f",))
        assert world.replica.confirmed == [(2, "b" * 64)]
        world.dc.stopped_being_dc("a new view")
        world.reign()
        assert world.replica.confirmed == [(2, "b" * 64)] * 2, "each reign is told"


async def test_a_plan_from_before_a_fencing_is_not_carried_out() -> None:
    """It would fence once more, and power on what an operator has switched off."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        world.view("node1", counter=3)
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2"))
        world.scheduler.while_planning.append(lambda: world.dc.node_fenced("node2", ("f",)))
        asked = len(world.scheduler.requests)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        await world.until(lambda: len(world.scheduler.requests) == asked + 2)
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        assert world.scheduler.outcomes == []
        assert world.lrms["node1"].executed == []


async def test_no_shot_without_quorum() -> None:
    """Whoever has lost it since may shoot at a node that others have among them."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2 stonith_action=off"))
        world.reign()
        world.view("node1", counter=3)
        world.local.quorate = False
        world.fencing.fence("node2", "off")
        await world.until(lambda: world.fencing.notices() and "no quorum" in world.fencing.notices()[0])
        assert world.lrms["node1"].executed == []


FABRIC = """<resource-agent name="fence_x" version="1"><parameters><parameter name="plug"/></parameters>
<actions><action name="on" automatic="1"/><action name="off"/><action name="list"/><action name="status"/>
<action name="monitor"/></actions></resource-agent>"""


async def test_a_device_is_asked_which_nodes_it_knows_and_cannot_reboot() -> None:
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = FABRIC
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2"))
        world.reign()
        await world.executed("node1", "f-fencing_list_0")
        assert world.lrms["node1"].executed[0][1].parameters == {}
        world.result("node1", output="n1,node1\nn2,node2\n")
        await world.executed("node1", "f-fencing_list_0", "f-fencing_off_0")
        assert world.lrms["node1"].executed[1][1].parameters == {"plug": "node2", "nodename": "node2"}
        world.result("node1")
        await world.executed("node1", "f-fencing_list_0", "f-fencing_off_0", "f-fencing_on_0")
        world.result("node1")
        await world.until(lambda: world.nodes["node2"].fenced)
        (record,) = world.fencing.records.history.records("node2")
        assert (record.state, record.device, record.executor) == (FencingState.DONE, "f", "node1")
        assert world.peers["node2"].fencing[-1] == record, "the others are told"
        assert world.peers["node2"].fencing[0].state is FencingState.PENDING


async def test_a_device_that_does_not_know_the_node_is_not_used() -> None:
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = FABRIC
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2"))
        world.reign()
        await world.executed("node1", "f-fencing_list_0")
        world.result("node1", output="n1,node1\n")
        await world.until(lambda: any("no device can fence" in text for text in world.fencing.notices()))
        assert len(world.lrms["node1"].executed) == 1


async def test_a_node_that_returns_while_devices_are_asked_is_not_shot() -> None:
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = FABRIC
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2"))
        world.reign()
        await world.executed("node1", "f-fencing_list_0")
        world.dc.membership_changed(MembershipChange(joined=("node2",)))
        world.result("node1", output="node2")
        await asyncio.sleep(0)
        assert world.fencing.notices() == []
        (record,) = world.fencing.records.history.records()
        assert record.state is FencingState.CANCELLED
        assert len(world.lrms["node1"].executed) == 1


async def test_a_new_dc_awaits_what_the_former_had_begun() -> None:
    """It does not shoot again: the agent runs at node2, for the third node that is no member any more."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        began = FencingRecord(
            id="node1.node2.1",
            target="node1",
            action="off",
            dc="node2",
            client="",
            state=FencingState.PENDING,
            version=3,
            began_s=1,
            changed_s=2,
            device="f",
            step="off",
            executor="node2",
            operation=(TERM.counter - 1, 2, 7, 1_000_001),
        )
        world.fencing.records.take((began,))
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        assert world.fencing.records.history.records()[0].state is FencingState.CANCELLED, "a healthy member"
        wanted = replace(began, id="node1.node2.2", client="root")
        world.fencing.records.take((wanted,))
        world.fencing.adopt()
        await world.until(lambda: world.fencing.notices() == ["node1 is being fenced"])
        former = OperationId(Term(TERM.counter - 1, 2), 7, 1_000_001)
        operation = Operation(
            resource=ResourceId("f-fencing"),
            agent=AgentName.parse("stonith:fence_x"),
            action="off",
            meta={"fence_target": "node1"},
        )
        ended = a_result(operation)
        world.hear("node2", replace(ended, id=former))
        await world.until(lambda: world.nodes["node1"].fenced)
        assert not any(lrm.executed for lrm in world.lrms.values())


def guarded_by(time: str, **more: str) -> Element:
    pairs = {"fencing-watchdog-timeout": time, **more}
    children = tuple(Element("nvpair", {"id": n, "name": n, "value": v}) for n, v in pairs.items())
    group = Element("cluster_property_set", {"id": "p"}, children)
    return element("configuration", None, Element("crm_config", {}, (group,)), Element("nodes"))


@pytest.mark.parametrize(
    ("watchdog", "options", "expected"),
    [
        ("hardware 20", {"time": "50ms"}, 50),
        ("hardware 20", {"time": "-1"}, 40),
        ("hardware 30", {"time": "50ms"}, 0),  # less than twice
        ("hardware 20", {"time": "0"}, 0),
        ("software 20", {"time": "50ms"}, 0),
        ("software 20", {"time": "50ms", "trust-software-watchdog": "true"}, 50),
        ("test 20", {"time": "50ms", "trust-software-watchdog": "true"}, 0),
        ("", {"time": "50ms"}, 0),
        ("hardware x", {"time": "50ms"}, 0),
    ],
)
def test_which_watchdogs_confirm(watchdog: str, options: dict[str, str], expected: int) -> None:
    assert waits_ms(guarded_by(**options), {"#watchdog": watchdog}) == expected


async def test_a_watchdog_confirms_that_a_lost_node_is_dead() -> None:
    async with a_world() as world:
        world.replica.configuration = guarded_by("60ms")
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        world.nodes.set_attributes("node2", (1, 1), {"#watchdog": "hardware 30"})
        options = world.dc.scheduler_input().path("configuration", "crm_config")
        assert options is not None
        assert any(pair.get("name") == "have-watchdog" for pair in options.walk())
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2\n2 start web node1 <- 1"))
        began = asyncio.get_running_loop().time()
        world.view("node1", counter=3)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        await world.executed("node1", "web_start_0")
        assert asyncio.get_running_loop().time() - began >= 0.06, "not before its time is over"
        assert world.nodes["node2"].fenced_by == ("watchdog",)
        assert not world.lrms["node2"].executed


async def test_a_watchdog_that_did_not_bite_confirms_nothing() -> None:
    async with a_world() as world:
        world.replica.configuration = guarded_by("60ms")
        world.reign()
        world.nodes.set_attributes("node2", (1, 1), {"#watchdog": "hardware 30"})
        world.view("node1", counter=3)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        world.fencing.fence("node2", "off")
        await world.until(lambda: "node2" in world.fencing.records.history.records()[0].target)
        world.view("node1", "node2", counter=4)
        world.dc.membership_changed(MembershipChange(joined=("node2",)))
        await asyncio.sleep(0.1)
        assert not world.nodes["node2"].fenced
        assert world.fencing.records.history.records()[0].state is FencingState.CANCELLED


async def test_unfencing_is_not_fencing() -> None:
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = FABRIC.replace("list", "l").replace("status", "s")
        text = (
            "1 stonith node2 node2 stonith_action=on digests_all=f:fence_x:d1, digests_secure=f:fence_x:d2,"
        )
        world.scheduler.graphs.append(a_graph(text))
        for name in world.names:
            world.sync(name)
        world.hear("node2", a_result(an_operation()))
        world.reign(sync=False)
        await world.executed("node1", "f-fencing_on_0")
        world.result("node1")
        await world.until(lambda: world.scheduler.outcomes == [(1, "complete")])
        assert world.nodes["node2"].history.resources() == ("web",)
        attributes = world.nodes["node2"].effective_attributes
        assert int(attributes["#node-unfenced"]) > 0
        assert attributes["#digests-all"] == "f:fence_x:d1,"
        assert attributes["#digests-secure"] == "f:fence_x:d2,"
        assert all(fact.expected_up for fact in world.nodes.facts(DEVICE))
