"""Mutants of the fencer, of who is barred, and of what a node says of its resources."""

from __future__ import annotations

from dataclasses import replace

from crm.cib.history import NodeHistory
from crm.fencing import core as fencing
from crm.fencing.core import Fencer
from messaging.membership.core import MembershipCore
from tests.sim.mutants.membership import CoreMutant


def _one_device_is_enough(self: Fencer, under_way: fencing._Fencing) -> None:
    _ENTER_LEVEL(self, under_way)
    del under_way.steps[1:]


def _failures_count(self: Fencer, event: fencing.Ran, effects: list[fencing.Effect], now_ns: int) -> None:
    _RAN(self, replace(event, succeeded=True), effects, now_ns)


def _goes_on(self: MembershipCore, now_ns: int) -> None:
    return


def _stopped_by_any_stop(self: NodeHistory, name: str) -> bool:
    last = self._resources[name].entries.get(f"{name}_last_0")
    return (last is None or last.get("operation") != "stop") and _MAY_BE_ACTIVE(self, name)


_ENTER_LEVEL, _RAN = Fencer._enter_level, Fencer._ran
_MAY_BE_ACTIVE = NodeHistory._may_be_active

MUTANTS = (
    CoreMutant(
        what="one of the devices of a level is enough",
        scenario="fence3",
        owner=Fencer,
        name="_enter_level",
        broken=_one_device_is_enough,
        invariant="11.2",
    ),
    CoreMutant(
        what="a device that has failed has done it",
        scenario="fence3",
        owner=Fencer,
        name="_ran",
        broken=_failures_count,
        invariant="11.2",
    ),
    CoreMutant(
        what="who is barred acts on",
        scenario="liar3",
        owner=MembershipCore,
        name="_mind_own_bar",
        broken=_goes_on,
        invariant="6.5",
    ),
    CoreMutant(
        what="a stop that failed has stopped it",
        scenario="agents3",
        owner=NodeHistory,
        name="_may_be_active",
        broken=_stopped_by_any_stop,
        invariant="I21",
    ),
)
