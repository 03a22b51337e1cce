"""The DC's fencing and time: what was decided about one boot of a node does not meet a later one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crm.cib.codec import parse
from crm.controller.core import Phase
from crm.controller.nodes import MembershipChange
from crm.fencing import core
from crm.fencing.history import FencingRecord, FencingState
from hacluster.errors import HaError, Timeout, Unreachable
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.ids import OperationId
from hacluster.vocabulary.operation import Operation
from tests.unit.crm.fakes import TERM, FakeLrm, World, a_world

DEVICE = """<configuration><crm_config/><nodes/><resources><primitive id="f" class="stonith" type="fence_x">
<instance_attributes id="i"><nvpair id="n" name="pcmk_delay_base" value="{delay}"/></instance_attributes>
</primitive></resources></configuration>"""


def lose(world: World) -> None:
    world.view("node1", counter=3)
    world.dc.membership_changed(MembershipChange(gone=("node2",)))


def come_back(world: World, counter: int = 4) -> None:
    world.view("node1", "node2", counter=counter)
    world.dc.membership_changed(MembershipChange(joined=("node2",)))


async def test_a_node_that_returns_when_its_delay_ends_is_not_shot() -> None:
    """Both in one pass of the loop, the end of the delay first: the agent is looked at once more."""
    async with a_world() as world:
        world.replica.configuration = parse(DEVICE.format(delay="1h"))
        world.reign()
        await world.until(lambda: world.dc.phase is Phase.IDLE)
        lose(world)
        world.fencing.fence("node2", "off")
        await world.until(lambda: world.fencing.notices() == ["node2 is being fenced"])
        await asyncio.sleep(0.1)
        world.fencing.tell(core.TimerFired("node2"))
        come_back(world)
        await asyncio.sleep(0.1)
        assert world.lrms["node1"].executed == []
        (record,) = world.fencing.records.history.records()
        assert record.state is FencingState.CANCELLED
        world.view("node1", counter=5)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        world.replica.configuration = parse(DEVICE.format(delay="0"))
        world.fencing.fence("node2", "off")
        await world.executed("node1", "f-fencing_off_0")  # the device is free


class Asked(FakeLrm):
    """Remembers the identity of each order, answered or not."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.asked: list[OperationId] = []

    async def execute(self, identity: OperationId, operation: Operation, **more: Any) -> lrm_pb2.ExecuteReply:
        self.asked.append(identity)
        return await super().execute(identity, operation, **more)


def listening(world: World) -> Asked:
    lrm = Asked("node1")
    world.lrms["node1"] = lrm
    return lrm


@pytest.mark.parametrize("error", [Timeout(what="ha-lrm", after_ms=3_000), Unreachable(who="ha-lrm")])
async def test_an_order_without_an_answer_is_asked_for_again(error: HaError) -> None:
    """It may have arrived, and have ended the node: another shot would meet it while it boots."""
    async with a_world() as world:
        lrm = listening(world)
        world.replica.configuration = parse(DEVICE.format(delay="0"))
        world.reign()
        lose(world)
        lrm.raises.append(error)
        world.fencing.fence("node2", "off")
        await world.until(lambda: len(lrm.asked) == 2)
        assert lrm.asked[0] == lrm.asked[1]
        await world.executed("node1", "f-fencing_off_0")
        world.result("node1", rc=1)
        await world.until(lambda: len(lrm.asked) == 3)
        assert lrm.asked[2] != lrm.asked[1], "it was answered: this is another attempt"


async def test_what_got_no_answer_says_nothing_of_a_node_that_was_here_since() -> None:
    """That order's success would confirm the death of another boot."""
    async with a_world() as world:
        lrm = listening(world)
        world.replica.configuration = parse(DEVICE.format(delay="0"))
        world.reign()
        lose(world)
        lrm.raises.append(Timeout(what="ha-lrm", after_ms=3_000))
        world.fencing.fence("node2", "off")
        await world.until(lambda: world.fencing.notices() and "so far" in world.fencing.notices()[0])
        come_back(world)
        world.view("node1", counter=5)
        world.dc.membership_changed(MembershipChange(gone=("node2",)))
        world.fencing.fence("node2", "off")
        await world.until(lambda: len(lrm.asked) == 2)
        assert lrm.asked[0] != lrm.asked[1]


@pytest.mark.parametrize(("boot", "shots"), [("a" * 16, 0), ("b" * 16, 1), ("", 1)])
async def test_an_operators_order_is_for_one_boot(boot: str, shots: int) -> None:
    """The former DC died before it could say that the node was shot; it has booted, and is a member."""
    async with a_world() as world:
        world.replica.configuration = parse(DEVICE.format(delay="0"))
        began = FencingRecord(
            id="node2.node3.1",
            target="node2",
            action="reboot",
            dc="node3",
            client="root",
            state=FencingState.PENDING,
            version=3,
            began_s=1,
            changed_s=2,
            device="f",
            step="reboot",
            executor="node3",  # no member any more: nobody can tell how it ended
            operation=(TERM.counter - 1, 3, 7, 1_000_001),
            boot=boot,
        )
        world.fencing.records.take((began,))
        world.reign()
        await asyncio.sleep(0.2)
        assert len(world.lrms["node1"].executed) == shots
        (record,) = world.fencing.records.history.records()
        assert record.state is (FencingState.PENDING if shots else FencingState.CANCELLED)
