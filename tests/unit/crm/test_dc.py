"""The DC's shell with fakes around it: from becoming DC to a finished transition, and what disturbs it."""

from __future__ import annotations

import asyncio

import pytest

from crm.cib.model import Element, element
from crm.cib.status import history_of
from crm.controller.core import Phase, Timings
from crm.controller.nodes import MembershipChange, node_ids
from hacluster.errors import NoAuthority, StaleTerm, Timeout, Unavailable, Unreachable
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.ids import Term
from hacluster.vocabulary.operation import ExecutionStatus
from tests.builders import a_result, an_operation
from tests.unit.crm.fakes import TERM, a_world
from tests.unit.crm.transition.test_core import a_graph

IMPATIENT = Timings(integration_ms=400, node_pending_ms=800, retry_ms=5, retry_ms_max=20)
TWO_STEPS = "1 start web node1\n2 monitor/10000 web node1 <- 1"


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


async def test_a_time_that_no_timer_can_hold_ends_no_daemon() -> None:
    """It passes the schema, so the next DC would end of it as well."""
    async with a_world() as world:
        pair = Element("nvpair", {"id": "r", "name": "cluster-recheck-interval", "value": "9" * 400 + "h"})
        options = Element("crm_config", {}, (Element("cluster_property_set", {"id": "c"}, (pair,)),))
        world.replica.configuration = element("configuration", None, options, Element("nodes"))
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)


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
