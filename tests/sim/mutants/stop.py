"""Mutants of what a node that stops says, and of who hears it."""

from __future__ import annotations

from collections.abc import Mapping

from crm.controller.nodes import MembershipChange, NodeTable
from hacluster.vocabulary.membership import MembershipView, NodeState
from messaging.membership.core import MembershipCore
from messaging.membership.events import Leave
from messaging.packet import State
from messaging.transport.links import LinkTracker
from tests.sim.mutants.membership import CoreMutant


def _silent_without_a_view(self: MembershipCore, leave: Leave) -> None:
    if self.agreement.installed is not None:
        _BEGIN_LEAVE(self, leave)
    else:
        self.agreement.withdraw(State.LEAVING, self._last_ns)


def _not_heard_later(
    self: NodeTable,
    view: MembershipView,
    states: Mapping[str, tuple[NodeState, bool]],
    wall_s: int,
    runs: Mapping[str, int],
) -> MembershipChange:
    """LEAVE counts only together with the view without the node."""
    gone = [record for record in self.records() if not record.member and record.seen]
    before = [(record, record.left_cleanly) for record in gone]
    change = _SET_VIEW(self, view, states, wall_s, runs=runs)
    for record, left in before:
        if not record.member:
            record.left_cleanly = left
    return change


def _all_is_news(self: LinkTracker, sequence: int) -> bool:
    return True


_BEGIN_LEAVE = MembershipCore._begin_leave
_SET_VIEW = NodeTable.set_view

MUTANTS = (
    CoreMutant(
        what="a node that is stopped before it has a view says no LEAVE",
        scenario="stop3",
        owner=MembershipCore,
        name="_begin_leave",
        broken=_silent_without_a_view,
        invariant="I17",
    ),
    CoreMutant(
        what="LEAVE does not count after the view without the node",
        scenario="stop3",
        owner=NodeTable,
        name="set_view",
        broken=_not_heard_later,
        invariant="I17",
    ),
    CoreMutant(
        what="a heartbeat that the network has kept counts as news",
        scenario="stop3",
        owner=LinkTracker,
        name="is_news",
        broken=_all_is_news,
        invariant="I17",
    ),
)
