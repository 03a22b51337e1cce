"""The DC lets nodes in ("on", unfencing), which is not fencing: who waits for whom."""

from __future__ import annotations

import asyncio

from crm.controller.core import Phase
from crm.controller.nodes import MembershipChange
from crm.fencing.history import FencingState
from tests.builders import a_result, an_operation
from tests.unit.crm.fakes import a_world
from tests.unit.crm.test_dc_fencing import DEVICE, FABRIC, ON_TARGET
from tests.unit.crm.transition.test_core import a_graph


async def test_an_operator_unfences_and_nothing_restarts() -> None:
    """What the scheduler has unfenced the node with is as it was."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = FABRIC.replace("list", "l").replace("status", "s")
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        world.nodes.set_attributes("node2", (1, 1), {"#node-unfenced": "5", "#digests-all": "f:fence_x:d,"})
        world.fencing.fence("node2", "on", client="root")
        await world.executed("node1", "f-fencing_on_0")
        world.result("node1")
        await world.until(lambda: world.fencing.records.history.records()[0].state is FencingState.DONE)
        attributes = world.nodes["node2"].effective_attributes
        assert attributes == {"#node-unfenced": "5", "#digests-all": "f:fence_x:d,"}


async def test_an_operator_unfences_with_no_digests_of_one_that_was_cancelled() -> None:
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = FABRIC.replace("list", "l").replace("status", "s")
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        world.fencing.fence("node2", "on", digests=("a", "s"))
        await world.executed("node1", "f-fencing_on_0")
        world.fencing.returned("node2")
        world.result("node1")
        world.fencing.fence("node2", "on", client="root")
        await world.executed("node1", "f-fencing_on_0", "f-fencing_on_0")
        world.result("node1")
        history = world.fencing.records.history
        await world.until(lambda: any(one.state is FencingState.DONE for one in history.records()))
        assert world.nodes["node2"].effective_attributes == {}


async def test_what_was_turned_away_for_an_operator_who_failed_is_wanted_again() -> None:
    """The transition waited for the "on" that nobody had noted down."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = FABRIC.replace("list", "l").replace("status", "s")
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        world.fencing.fence("node2", "off", client="root")
        await world.executed("node1", "f-fencing_off_0")
        lets_in = a_graph("1 stonith node2 node2 stonith_action=on")
        world.scheduler.graphs.extend([lets_in, lets_in])
        world.dc.configuration_changed("root")
        await world.until(
            lambda: (now := world.dc.progress()) is not None and now.waits == ("node2 must be unfenced",)
        )
        world.result("node1", rc=1)
        await world.executed("node1", "f-fencing_off_0", "f-fencing_off_0")
        world.result("node1", rc=1)
        await world.executed("node1", "f-fencing_off_0", "f-fencing_off_0", "f-fencing_on_0")


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


async def test_a_fabric_does_not_let_in_whom_it_has_just_cut_off() -> None:
    """A reboot by off and on would: the node was not ended by it, and may still write."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = FABRIC.replace("list", "l").replace("status", "s")
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2"))
        world.reign()
        await world.executed("node1", "f-fencing_off_0")
        world.result("node1")
        await world.until(lambda: world.nodes["node2"].fenced)
        await world.until(lambda: world.scheduler.outcomes == [(1, "complete")])
        assert [operation.action for _, operation in world.lrms["node1"].executed] == ["off"]


async def test_who_is_lost_while_it_is_let_in_is_fenced_all_the_same() -> None:
    """The end of "on" says nothing about a node that has to be off by now; the "off" comes after it."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = FABRIC.replace("list", "l").replace("status", "s")
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2 stonith_action=on"))
        lost = a_graph("1 stonith node2 node2 stonith_action=off\n2 start web node1 <- 1")
        world.scheduler.graphs.extend([lost, lost])  # one plan is made while more is heard of the membership
        world.reign()
        await world.executed("node1", "f-fencing_on_0")
        assert world.fencing.notices() == ["node2 is being unfenced"]
        world.view("node1", counter=3)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        history = world.fencing.records.history
        await world.until(lambda: [one.action for one in history.under_way()] == ["off"])
        assert [one.state for one in history.records() if one.action == "on"] == [FencingState.CANCELLED]
        await world.until(lambda: "node2 is being fenced" in world.fencing.notices())
        world.result("node1", 0)
        await world.executed("node1", "f-fencing_on_0", "f-fencing_off_0")
        assert not world.nodes["node2"].fenced
        assert "#node-unfenced" not in world.nodes["node2"].effective_attributes
        world.fencing.fence("node2", "on")
        assert [one.action for one in history.under_way()] == ["off"], "not before it is back"
        world.result("node1")
        await world.executed("node1", "f-fencing_on_0", "f-fencing_off_0", "web_start_0")
        assert world.nodes["node2"].fenced


async def test_the_only_node_lets_itself_in() -> None:
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = FABRIC.replace("list", "l").replace("status", "s")
        world.reign()
        world.fencing.fence("node1", "on", digests=("a", "s"))
        await world.executed("node2", "f-fencing_on_0")
        world.view("node1", counter=3)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        await world.until(lambda: "node2 is gone" in world.fencing.notices()[0])
        world.fencing.returned("node1")
        world.fencing.fence("node1", "on", digests=("a", "s"))
        await world.executed("node1", "f-fencing_on_0")
        world.result("node1")
        await world.until(lambda: "#node-unfenced" in world.nodes["node1"].effective_attributes)
        world.fencing.fence("node1", "off")
        await world.until(lambda: "no member can run a fence agent" in "".join(world.fencing.notices()))


async def test_an_executor_that_is_lost_is_not_waited_for() -> None:
    """Its agent would have had a minute; the next executor, or the next round, has its turn at once."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.reign()
        world.fencing.fence("node1", "off")
        await world.executed("node2", "f-fencing_off_0")
        world.view("node1", counter=3)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        await world.until(
            lambda: world.fencing.notices()[0] == "node1 is being fenced; so far: f: node2 is gone"
        )


async def test_who_may_yet_let_itself_in_is_waited_for() -> None:
    """Lost, but perhaps alive: its "on" may end after our "off"."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = ON_TARGET
        world.reign()
        world.fencing.fence("node2", "on")
        await world.executed("node2", "f-fencing_on_0")
        world.view("node1", counter=3)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        world.fencing.fence("node2", "off")
        await asyncio.sleep(0.1)
        assert world.lrms["node1"].executed == []
        world.result("node2")
        await world.executed("node1", "f-fencing_off_0")
        assert not world.nodes["node2"].fenced


async def test_who_has_booted_meanwhile_is_let_in_at_once() -> None:
    """What its former boot did to let itself in has ended with that."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = ON_TARGET
        world.reign()
        world.fencing.fence("node2", "on", digests=("a", "s"))
        await world.executed("node2", "f-fencing_on_0")
        world.dc.membership_changed(MembershipChange(rebooted=("node2",)))
        world.fencing.fence("node2", "on", digests=("a", "s"))
        await world.executed("node2", "f-fencing_on_0", "f-fencing_on_0")


async def test_a_member_that_is_lost_while_it_lets_another_in_is_waited_for() -> None:
    """Both are lost, and perhaps alive: its "on" may end after our "off"."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node2"].described["stonith:fence_x"] = FABRIC.replace("list", "l").replace("status", "s")
        world.lrms["node1"].described["stonith:fence_x"] = world.lrms["node2"].described["stonith:fence_x"]
        world.reign()
        world.fencing.fence("node1", "on")
        await world.executed("node2", "f-fencing_on_0")
        world.view("node1", counter=3)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        await world.until(lambda: "node2 is gone" in world.fencing.notices()[0])
        world.fencing.fence("node1", "off")
        world.view("node2", counter=4)
        await asyncio.sleep(0.1)
        assert len(world.lrms["node2"].executed) == 1
        world.dc.membership_changed(MembershipChange(rebooted=("node2",)))
        await world.executed("node2", "f-fencing_on_0", "f-fencing_off_0")
