"""That the DC has nothing to wait for is handed to ha-messaging where wait_for_all holds the node."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from structlog.testing import capture_logs

from crm.cib.replication.basis import Basis
from crm.peers.waiting import WaitingEnder
from crm.replica.events import DcState
from hacluster.errors import Unavailable
from hacluster.vocabulary.ids import Term, ViewId

VIEW = ViewId(3, 1)


@dataclass
class Node:
    """Both of what is asked: this node's place, and who is DC."""

    view: ViewId = VIEW
    waiting: bool = True
    dc: DcState = field(
        default_factory=lambda: DcState(term=Term(2, 2), dc_node_id=2, established=True, basis=Basis.FORCED)
    )


async def told(node: Node) -> list[ViewId]:
    ended: list[ViewId] = []

    async def end(view: ViewId) -> None:
        ended.append(view)

    await WaitingEnder(node, node, end).look()
    return ended


@pytest.mark.parametrize("basis", [Basis.MAJORITY, Basis.FENCED, Basis.FORCED])
async def test_every_member_ends_its_own_waiting_when_its_dc_acts(basis: Basis) -> None:
    dc = DcState(term=Term(2, 2), dc_node_id=2, established=True, basis=basis, acts=True)
    assert await told(Node(dc=dc)) == [VIEW]
    assert await told(Node(dc=dc, waiting=False)) == []
    assert await told(Node(dc=replace(dc, established=False))) == []


async def test_a_decree_ends_the_waiting_of_the_dc_as_well() -> None:
    assert await told(Node()) == [VIEW]


@pytest.mark.parametrize("basis", [Basis.MAJORITY, Basis.FENCED])
async def test_a_dc_that_waits_itself_ends_nothing(basis: Basis) -> None:
    dc = DcState(term=Term(2, 2), dc_node_id=2, established=True, basis=basis)
    assert await told(Node(dc=dc)) == []


@pytest.mark.parametrize("basis", [None, Basis.CARETAKER, Basis.ASSUMED, Basis.UNQUORATE])
async def test_nor_does_one_whose_commits_are_provisional(basis: Basis | None) -> None:
    dc = DcState(term=Term(2, 2), dc_node_id=2, established=True, basis=basis, acts=True)
    assert await told(Node(dc=dc)) == []
    assert await told(Node(dc=DcState())) == []


async def test_it_is_told_until_ha_messaging_has_heard_and_why_not_is_said_once() -> None:
    tries = 0

    async def end(_: ViewId) -> None:
        nonlocal tries
        tries += 1
        raise Unavailable(why="ha-messaging starts")

    ender = WaitingEnder(node := Node(), node, end)
    with capture_logs() as logged:
        await ender.look()
        await ender.look()
    assert (tries, len(logged)) == (2, 1)
