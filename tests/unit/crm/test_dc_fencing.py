"""The DC and its fencing: devices, watchdogs, liars, what an operator orders."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from crm.cib.codec import parse
from crm.cib.model import Element, element
from crm.controller.core import Phase
from crm.controller.nodes import MembershipChange
from crm.fencing.history import FencingRecord, FencingState
from crm.fencing.watchdog import waits_ms
from hacluster.errors import Unreachable
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import OperationId, ResourceId, Term
from hacluster.vocabulary.operation import ExecutionStatus, Operation
from tests.builders import a_result, an_operation
from tests.unit.crm.fakes import TERM, a_world
from tests.unit.crm.transition.test_core import a_graph

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
        assert operation.owner == "f", "whose secrets it is called with"
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


async def test_the_worse_connected_of_two_waits_longer() -> None:
    async with a_world(two_node=True) as world:
        world.replica.configuration = DEVICE
        world.reign()
        world.local.was_dc = True
        world.view("node1", counter=3)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        assert (await world.fencing.usable("node2")).extra_delay_ms == 0
        world.local.connectivity = {"node1": 1, "node2": 2}
        waits = (await world.fencing.usable("node2")).extra_delay_ms
        assert waits == 80 + 2_000, "two deadtimes, and as long as who was not DC"
        world.local.connectivity = {"node1": 2, "node2": 1}
        assert (await world.fencing.usable("node2")).extra_delay_ms == 0
        world.local.was_dc = False
        assert (await world.fencing.usable("node2")).extra_delay_ms == 0, "the better one, whoever was DC"
        world.local.connectivity = {}
        assert (await world.fencing.usable("node2")).extra_delay_ms == 2_000
        world.two_node = False  # a third has got a vote
        assert (await world.fencing.usable("node2")).extra_delay_ms == 0


async def test_a_transient_attribute_bans_a_device_at_once() -> None:
    """The configuration has not changed, and the device is not used from there all the same."""
    rule = '<expression id="e" attribute="pingd" operation="lt" value="1" type="integer"/>'
    configuration = parse(
        f"""<configuration><crm_config/><nodes><node id="1" uname="node1"/><node id="2" uname="node2"/>
        </nodes>
        <resources><primitive id="f" class="stonith" type="fence_x"/></resources><constraints>
        <rsc_location id="l" rsc="f"><rule id="r" score="-INFINITY">{rule}</rule></rsc_location></constraints>
        </configuration>"""
    )
    async with a_world() as world:
        world.replica.configuration = configuration
        world.reign()
        for number, (pingd, users) in enumerate([("1", ("node1",)), ("0", ()), ("2", ("node1",))], 1):
            world.nodes.set_attributes("node1", (1, number), {"pingd": pingd})
            assert (await world.fencing.usable("node2")).by_device == {"f": users}


async def test_a_device_that_lies_is_found_out_and_not_believed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says that node2 is off, and node2 lives on: fail closed until node2 has booted."""
    async with a_world(silent_after_ms=40) as world:
        world.replica.configuration = DEVICE
        barred: list[tuple[int, str]] = []

        async def bar(node_id: int, boot_token: str) -> None:
            barred.append((node_id, boot_token))
            if len(barred) == 1:
                raise Unreachable(who="ha-messaging")

        world.fencing.bar = bar
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2 stonith_action=off"))
        world.reign()
        await world.executed("node1", "f-fencing_off_0")
        when_fenced: list[tuple[bool, bool]] = []
        fenced = world.dc.node_fenced

        def node_fenced(node: str, by: tuple[str, ...]) -> None:
            fenced(node, by)
            when_fenced.append((world.nodes[node].fenced, world.nodes[node].lied))

        monkeypatch.setattr(world.dc, "node_fenced", node_fenced)
        world.result("node1")
        await world.until(lambda: world.nodes["node2"].lied)
        assert when_fenced == [(True, False)], "it may need a moment to fall silent"
        await world.until(lambda: barred == [(2, "b" * 64)])
        world.fencing.adopt()  # another reign says it again
        await world.until(lambda: barred == [(2, "b" * 64)] * 2)
        (notice,) = [notice for notice in world.fencing.notices() if "lives on" in notice]
        assert notice.startswith("node2 was confirmed to be off by f, but lives on")
        await world.until(lambda: any("lives on" in one.cause for one in world.scheduler.requests))
        world.fencing.fence("node2", "off")
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


async def test_who_is_let_in_is_not_fenced_by_who_lied() -> None:
    """An operator's word is on the node, not on the device."""
    async with a_world(silent_after_ms=40) as world:
        world.replica.configuration = DEVICE
        said: list[str] = []

        async def bar(node_id: int, boot_token: str) -> None:
            said.append(boot_token[:2])
            if len(said) == 2:
                raise Unreachable(who="ha-messaging")

        world.fencing.bar = bar
        world.scheduler.graphs.append(a_graph("1 stonith node2 node2 stonith_action=off"))
        world.reign()
        await world.executed("node1", "f-fencing_off_0")
        world.result("node1")
        await world.until(lambda: world.nodes["node2"].lied)
        await world.until(lambda: said == ["bb"])
        with pytest.raises(Unreachable):
            await world.fencing.let_in("node2", "root")
        assert world.nodes["node2"].lied, "nothing has changed"
        await world.fencing.let_in("node2", "root")
        assert said == ["bb", "", ""]
        assert not world.nodes["node2"].lied
        assert [(one.state, one.why) for one in world.fencing.records.history.records("node2")] == [
            (FencingState.CANCELLED, "a lie: let in by root")
        ], "who is told that it was fenced ends itself"
        (notice,) = [notice for notice in world.fencing.notices() if "by hand" in notice]
        assert notice.startswith("node2 was let in by hand: that f can fence it is not believed")
        world.fencing.adopt()  # another reign bars nobody
        world.fencing.fence("node2", "off", client="root")
        await world.executed("node1", "f-fencing_off_0", "f-fencing_off_0")
        world.result("node1")
        await world.until(lambda: any("as before" in notice for notice in world.fencing.notices()))
        assert not world.nodes["node2"].fenced
        assert said == ["bb", "", ""]


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
ON_TARGET = """<resource-agent name="fence_x" version="1"><parameters><parameter name="plug"/></parameters>
<actions><action name="on" automatic="1" on_target="1"/><action name="off"/></actions></resource-agent>"""


async def test_a_device_is_asked_which_nodes_it_knows_and_cannot_reboot() -> None:
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.lrms["node1"].described["stonith:fence_x"] = FABRIC.replace(' automatic="1"', "")
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


async def test_what_a_former_dc_has_begun_ends_before_the_device_is_used_again() -> None:
    """It lets node2 in, which is lost since: "off" must not be overtaken by that."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        former = (TERM.counter - 1, 2, 7, 1_000_001)
        began = FencingRecord(
            id="node2.node1.1",
            target="node2",
            action="on",
            dc="node2",
            client="",
            state=FencingState.PENDING,
            version=3,
            began_s=1,
            changed_s=2,
            device="f",
            step="on",
            executor="node2",
            operation=former,
        )
        world.fencing.records.take((began,))
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        world.view("node1", counter=3)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        world.fencing.fence("node2", "off")
        await world.until(lambda: world.fencing.notices() == ["node2 is being fenced"])
        await asyncio.sleep(0.1)
        assert world.lrms["node1"].executed == []
        operation = Operation(
            resource=ResourceId("f-fencing"),
            agent=AgentName.parse("stonith:fence_x"),
            action="on",
            meta={"fence_target": "node2"},
        )
        identity = OperationId(Term(former[0], former[1]), former[2], former[3])
        world.hear("node2", replace(a_result(operation), id=identity))
        await world.executed("node1", "f-fencing_off_0")
        assert not world.nodes["node2"].fenced


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


async def test_a_watchdog_has_its_time_from_when_the_others_may_have_lost_the_node() -> None:
    """This node was cut off for long; the node that is gone was a member of the others' views meanwhile."""
    async with a_world() as world:
        world.replica.configuration = guarded_by("400ms")
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        world.nodes.set_attributes("node2", (1, 1), {"#watchdog": "hardware 30"})
        world.view("node1", counter=3)
        world.dc.membership_changed(MembershipChange(gone=("node2", "node3")))
        await asyncio.sleep(0.5)
        began = asyncio.get_running_loop().time()
        world.dc.membership_changed(MembershipChange(joined=("node3",)), apart=True)
        world.fencing.fence("node2", "off")
        await world.until(lambda: world.nodes["node2"].fenced)
        assert asyncio.get_running_loop().time() - began >= 0.4
        assert world.nodes["node2"].fenced_by == ("watchdog",)


async def test_a_watchdog_that_did_not_bite_confirms_nothing() -> None:
    async with a_world() as world:
        world.replica.configuration = guarded_by("500ms")
        world.reign()
        world.nodes.set_attributes("node2", (1, 1), {"#watchdog": "hardware 30"})
        world.view("node1", counter=3)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        world.fencing.fence("node2", "off")
        await world.until(lambda: "node2" in world.fencing.records.history.records()[0].target)
        world.view("node1", "node2", counter=4)
        world.dc.membership_changed(MembershipChange(joined=("node2",)))
        await asyncio.sleep(0.6)  # its time would be over
        assert not world.nodes["node2"].fenced
        assert world.fencing.records.history.records()[0].state is FencingState.CANCELLED


async def test_what_an_operator_wants_is_given_up_when_it_fails() -> None:
    """It would be carried out later, when nobody thinks of it any more."""
    async with a_world() as world:
        world.replica.configuration = DEVICE
        world.reign()
        world.fencing.fence("node2", "off", client="root")
        await world.executed("node1", "f-fencing_off_0")
        world.result("node1", rc=1, status=ExecutionStatus.TIMEOUT)
        history = world.fencing.records.history
        await world.until(lambda: history.records()[0].state is FencingState.FAILED)
        assert history.under_way() == ()
        assert world.fencing.notices() == []
        again = world.fencing.fence("node2", "off", client="root")
        assert again.state is FencingState.PENDING
        assert len(history.records()) == 2
