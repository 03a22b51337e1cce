"""What runs on a node that was fenced and lives is stopped by itself, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from crm import wire
from crm.last_stops import TRANSITION, running, stop_everything, wanted
from hacluster import wire as common_wire
from hacluster.errors import StaleTerm, Unreachable
from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import OperationId, ResourceId, Term, ViewId
from hacluster.vocabulary.operation import ExecutionStatus, Operation, OperationResult


def a_result(call_id: int, resource: str, action: str, *, interval_ms: int = 0) -> OperationResult:
    operation = Operation(
        resource=ResourceId(resource),
        agent=AgentName("ocf", "hacluster", "Dummy"),
        action=action,
        interval_ms=interval_ms,
        parameters={"state": f"/run/{resource}"},
        meta={"name": action, "interval": str(interval_ms), "timeout": "20000", "op_target_rc": "7"},
    )
    return OperationResult(
        id=OperationId(Term(2, 1), 1, call_id),
        call_id=call_id,
        operation=operation,
        status=ExecutionStatus.DONE,
        rc=0,
    )


RESULTS = (
    a_result(1, "db", "monitor"),
    a_result(2, "db", "start"),
    a_result(3, "db", "promote"),
    a_result(4, "ip", "start"),
    a_result(5, "ip", "monitor", interval_ms=10_000),
    a_result(6, "old", "stop"),
)


def test_the_newest_start_is_stopped_first_and_the_promoted_demoted() -> None:
    operations = wanted(RESULTS, ("db", "ip"))
    assert [(one.resource, one.action) for one in operations] == [
        ("ip", "stop"),
        ("db", "demote"),
        ("db", "stop"),
    ]
    stop = operations[0]
    assert (stop.interval_ms, stop.timeout_ms, stop.parameters) == (0, 60_000, {"state": "/run/ip"})
    assert stop.meta == {"name": "stop", "interval": "0", "timeout": "60000"}


class FakeLrm:
    """Answers with the result at the second asking; `refuses` the first order of a term that is over."""

    def __init__(self, rcs: dict[str, int], *, refuses: bool = False) -> None:
        self.rcs, self.refuses = rcs, refuses
        self.terms: Iterator[int] = iter(range(5, 99))
        self.asked: list[tuple[int, int, str, str]] = []
        self.results: tuple[OperationResult, ...] = RESULTS
        self.forgotten: tuple[OperationResult, ...] = ()

    async def recorded(self) -> tuple[lrm_pb2.OperationResult, ...]:
        return tuple(common_wire.result_to(result) for result in self.results)

    async def status(self) -> lrm_pb2.LrmStatusReply:
        left = [common_wire.result_to(result) for result in self.forgotten]
        return lrm_pb2.LrmStatusReply(max_term=wire.term_to(Term(next(self.terms), 1)), left=left)

    async def execute(
        self,
        identity: OperationId,
        operation: Operation,
        *,
        view: ViewId,
        boot_token: str,
        without_quorum: bool,
    ) -> lrm_pb2.ExecuteReply:
        assert identity.transition == TRANSITION
        if self.refuses:
            self.refuses = False
            raise StaleTerm(term=identity.term, current=Term(9, 9))
        told = (identity.term.counter, identity.action, str(operation.resource), operation.action)
        if told not in self.asked:
            self.asked.append(told)
            return lrm_pb2.ExecuteReply(call_id=9)
        result = replace(a_result(9, operation.resource, operation.action), rc=self.rcs[operation.resource])
        message = common_wire.result_to(result)
        return lrm_pb2.ExecuteReply(call_id=9, result=message)


async def test_what_cannot_be_stopped_is_named() -> None:
    lrm = FakeLrm({"db": 0, "ip": 1})
    assert await stop_everything(lrm, ("db", "ip"), "b") == ("ip",)
    assert [told[2:] for told in lrm.asked] == [("ip", "stop"), ("db", "demote"), ("db", "stop")]


async def test_another_term_is_no_obstacle() -> None:
    lrm = FakeLrm({"db": 0, "ip": 0}, refuses=True)
    assert await stop_everything(lrm, ("db", "ip"), "b") == ()
    assert lrm.asked[0][0] == 7, "tried again with the term of now"


async def test_what_ha_lrm_remembers_is_stopped_by_an_ha_crm_that_has_not_heard_it_yet() -> None:
    """It has just been restarted: its own history of this node is empty."""
    lrm = FakeLrm({"db": 0, "ip": 1})
    assert await stop_everything(lrm, (), "b") == ("ip",)
    assert [told[2:] for told in lrm.asked] == [("ip", "stop"), ("db", "demote"), ("db", "stop")]


async def test_without_ha_lrm_nobody_knows_what_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent() -> tuple[lrm_pb2.OperationResult, ...]:
        raise Unreachable(who="ha-lrm")

    lrm = FakeLrm({})
    monkeypatch.setattr(lrm, "recorded", silent)
    assert await stop_everything(lrm, (), "b") is None


async def test_what_was_cleaned_up_and_not_looked_at_since_may_run() -> None:
    """Of a result that was deleted nothing is in the history, but the instance is not gone by that."""
    lrm = FakeLrm({"db": 0, "ip": 0})
    lrm.results, lrm.forgotten = RESULTS[3:], RESULTS[1:3]
    assert await running(lrm) == ("db", "ip")
    assert await stop_everything(lrm, (), "b") == ()
    assert [told[2:] for told in lrm.asked] == [("ip", "stop"), ("db", "demote"), ("db", "stop")]


async def test_what_was_reloaded_before_it_was_cleaned_up_is_stopped() -> None:
    """Of what was forgotten the last operation that tells how it runs is kept: that may be a reload."""
    lrm = FakeLrm({"db": 0})
    lrm.results, lrm.forgotten = (), (a_result(7, "db", "reload-agent"),)
    assert await stop_everything(lrm, (), "b") == ()
    assert [told[2:] for told in lrm.asked] == [("db", "stop")]
