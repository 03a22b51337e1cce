"""What is stopped is what runs: with the agent and the parameters that it was started with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import ResourceId
from hacluster.vocabulary.operation import ExecutionStatus, Operation
from lrm.journal.model import Ledger
from lrm.journal.records import Forgotten, Record
from lrm.queue.events import AuthorityChanged, Begin, Ended, Publish
from tests.unit.lrm.queue.world import a_queue, an_authority, an_execute, an_operation

OTHER = AgentName("ocf", "heartbeat", "IPaddr2")
WEB = ResourceId("web")


class Node:
    """A queue, and agents that end at once."""

    def __init__(self) -> None:
        self.queue = a_queue()
        self.queue.handle(AuthorityChanged(an_authority()), 0)
        self.journal: list[Record] = []
        self._action = 0

    def run(
        self,
        action: str,
        address: str = "",
        *,
        rc: int = 0,
        status: ExecutionStatus = ExecutionStatus.DONE,
        interval_ms: int = 0,
        agent: AgentName | None = None,
        **more: str,
    ) -> Operation:
        """Have it done; what was executed."""
        self._action += 1
        operation = replace(
            an_operation(action=action, interval_ms=interval_ms),
            parameters={"ip": address, **more} if address else more,
            meta={"timeout": str(self._action)},
        )
        if agent is not None:
            operation = replace(operation, agent=agent)
        effects = self.queue.handle(an_execute(operation, action=self._action), self._action)
        (begun,) = [effect for effect in effects if isinstance(effect, Begin)]
        ended = self.queue.handle(Ended(run=begun.run, status=status, rc=rc), self._action)
        for effect in ended:
            if isinstance(effect, Publish):
                assert effect.result.operation == begun.operation, "the history has what was executed"
        return begun.operation

    def forget(self, *, failures_only: bool = False) -> None:
        """As somebody cleans up."""
        record = Forgotten(resource=WEB, action="", interval_ms=0, failures_only=failures_only)
        self.queue.ledger.apply(record)

    def compacted(self) -> None:
        """As after a restart from a journal that was written anew."""
        ledger = Ledger()
        for record in self.queue.ledger.records():
            ledger.apply(record)
        self.queue = a_queue(ledger)
        self.queue.handle(AuthorityChanged(an_authority()), 0)


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("action", ["stop", "demote"])
@pytest.mark.parametrize("ordered", ["10.0.0.2", ""], ids=["changed", "removed"])
def test_the_address_that_is_there_goes(action: str, ordered: str, compacted: bool) -> None:
    """With the new one it would stay, and be on two nodes after the next move."""
    node = Node()
    node.run("start", "10.0.0.1", nic="eth0")
    node.run("monitor", "10.0.0.1", nic="eth0", interval_ms=10_000)
    if compacted:
        node.compacted()
    stopped = node.run(action, ordered)
    assert stopped.parameters == {"ip": "10.0.0.1", "nic": "eth0"}
    assert stopped.action == action
    assert stopped.meta != {"timeout": "1"}, "the rest is as ordered: its own timeout, and who is told"


def test_a_stop_that_failed_is_tried_again_with_the_same() -> None:
    node = Node()
    node.run("start", "10.0.0.1")
    assert node.run("stop", "10.0.0.2", rc=1).parameters == {"ip": "10.0.0.1"}
    assert node.run("stop", "10.0.0.3").parameters == {"ip": "10.0.0.1"}
    assert node.run("stop", "10.0.0.4").parameters == {"ip": "10.0.0.4"}, "nothing runs any more"


def test_another_agent_does_not_stop_it() -> None:
    node = Node()
    node.run("start", "10.0.0.1", agent=OTHER)
    assert node.run("stop", "10.0.0.1").agent == OTHER
    node.run("start", "10.0.0.1")
    assert node.run("stop", "10.0.0.1", agent=OTHER).agent != OTHER


@pytest.mark.parametrize(
    ("action", "rc", "expected"),
    [
        ("reload-agent", 0, "10.0.0.2"),
        ("reload-agent", 3, "10.0.0.1"),
        ("reload", 0, "10.0.0.2"),
        ("monitor", 0, "10.0.0.2"),
        ("monitor", 8, "10.0.0.2"),
        ("monitor", 7, "10.0.0.1"),
        ("notify", 0, "10.0.0.1"),
        ("start", 1, "10.0.0.2"),
        ("migrate_from", 0, "10.0.0.2"),
    ],
)
def test_the_newest_that_may_be_active_counts(action: str, rc: int, expected: str) -> None:
    node = Node()
    node.run("start", "10.0.0.1")
    node.run(action, "10.0.0.2", rc=rc)
    assert node.run("stop", "10.0.0.3").parameters == {"ip": expected}


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize(
    ("rc", "status"),
    [(2, ExecutionStatus.INVALID), (5, ExecutionStatus.NOT_INSTALLED), (4, ExecutionStatus.ERROR)],
)
def test_what_was_refused_has_changed_nothing(rc: int, status: ExecutionStatus, compacted: bool) -> None:
    """Neither a start nor a stop: what ran before still does."""
    node = Node()
    node.run("start", "10.0.0.1")
    assert node.run("stop", "bad", rc=rc, status=status).parameters == {"ip": "10.0.0.1"}
    node.run("start", "bad", rc=rc, status=status)
    if compacted:
        node.compacted()
    assert not node.queue.ledger.never_began(WEB)
    assert [result.rc for result in node.queue.ledger.results()] == [rc, rc], "as a DC is told"
    assert node.run("stop", "bad").parameters == {"ip": "10.0.0.1"}


def test_how_a_monitor_looked_is_not_said_to_a_stop_but_how_to_trace_it_is() -> None:
    node = Node()
    node.run("monitor", "10.0.0.1", OCF_CHECK_LEVEL="10", trace_ra="1")
    assert node.run("stop", "10.0.0.2", trace_dir="/t").parameters == {"ip": "10.0.0.1", "trace_dir": "/t"}


def test_a_start_that_is_not_known_any_more_hides_nothing() -> None:
    assert Node().run("stop", "10.0.0.1").parameters == {"ip": "10.0.0.1"}


def test_it_is_known_what_runs_when_the_stop_has_begun() -> None:
    """Whoever reads the journal in the middle of it knows whose exit codes these are."""
    node = Node()
    node.run("start", "10.0.0.1", agent=OTHER)
    stop = replace(an_operation(action="stop"), parameters={"ip": "10.0.0.2"})
    node.queue.handle(an_execute(stop, action=9), 9)
    for ledger in (node.queue.ledger, Ledger()):
        for record in node.queue.ledger.records() if ledger is not node.queue.ledger else ():
            ledger.apply(record)
        (flight,) = ledger.flights()
        assert flight.accepted.operation.agent == OTHER
        assert flight.accepted.operation.parameters == {"ip": "10.0.0.1"}


INVALID, NOT_INSTALLED = ExecutionStatus.INVALID, ExecutionStatus.NOT_INSTALLED


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([("start", 2, INVALID)], True),
        ([("monitor", 7, ExecutionStatus.DONE), ("start", 5, NOT_INSTALLED)], True),
        ([("monitor", 7, ExecutionStatus.DONE), ("start", 4, ExecutionStatus.ERROR)], True),
        ([("start", 4, ExecutionStatus.DONE)], False),
        ([("start", 1, ExecutionStatus.ERROR)], False),
        (
            [
                ("start", 0, ExecutionStatus.DONE),
                ("stop", 4, ExecutionStatus.ERROR),
                ("start", 4, ExecutionStatus.ERROR),
            ],
            False,
        ),
        (
            [("start", 0, ExecutionStatus.DONE), ("stop", 0, ExecutionStatus.DONE), ("start", 2, INVALID)],
            True,
        ),
        ([], False),
        ([("monitor", 5, NOT_INSTALLED)], False),
        ([("start", 1, ExecutionStatus.DONE)], False),
        ([("start", 1, ExecutionStatus.TIMEOUT)], False),
        ([("monitor", 0, ExecutionStatus.DONE), ("start", 2, INVALID)], False),
        ([("monitor", 1, ExecutionStatus.DONE), ("start", 2, INVALID)], False),
        ([("monitor", 4, ExecutionStatus.ERROR), ("start", 2, INVALID)], False),
        (
            [("start", 0, ExecutionStatus.DONE), ("stop", 1, ExecutionStatus.DONE), ("start", 2, INVALID)],
            False,
        ),
        ([("promote", 0, ExecutionStatus.DONE), ("start", 2, INVALID)], False),
    ],
)
def test_what_never_began(before: list[tuple[str, int, ExecutionStatus]], expected: bool) -> None:
    """Only then is a stop that cannot be executed a success: any doubt is for fencing."""
    node = Node()
    for action, rc, status in before:
        node.run(action, "10.0.0.1", rc=rc, status=status)
    assert node.queue.ledger.never_began(WEB) is expected


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("failures_only", [False, True])
def test_what_is_forgotten_is_not_gone(failures_only: bool, compacted: bool) -> None:
    """Started, its agent removed, cleaned up again and again: neither a stop nor the sentinel may miss it."""
    node = Node()
    node.run("start", "10.0.0.1")
    node.run("monitor", "10.0.0.1", interval_ms=10_000, rc=1)
    for _ in range(2):
        node.forget(failures_only=failures_only)
        if compacted:
            node.compacted()
        assert node.queue.ledger.may_be_active() == 1
        assert {result.operation.resource for result in node.queue.ledger.forgotten()} == {WEB}
        node.run("monitor", "10.0.0.2", rc=5, status=NOT_INSTALLED)
        node.run("start", "10.0.0.2", rc=5, status=NOT_INSTALLED)
        assert not node.queue.ledger.never_began(WEB)
    assert node.run("stop", "10.0.0.3").parameters == {"ip": "10.0.0.1"}
    node.forget()
    assert node.queue.ledger.may_be_active() == 0
    node.run("start", "10.0.0.2", rc=5, status=NOT_INSTALLED)
    assert node.queue.ledger.never_began(WEB)


def test_what_is_forgotten_and_found_absent_is_gone() -> None:
    node = Node()
    node.run("start", "10.0.0.1")
    node.forget()
    node.run("monitor", "10.0.0.2", rc=7)
    assert node.queue.ledger.may_be_active() == 0
    assert node.queue.ledger.forgotten() == []
    node.run("start", "10.0.0.2", rc=2, status=INVALID)
    assert node.queue.ledger.never_began(WEB)


@pytest.mark.parametrize("before", [("monitor", 7), ("stop", 0)])
def test_what_is_older_says_nothing_of_what_is_left(before: tuple[str, int]) -> None:
    """Only the failure is cleaned up; the probe or the stop that came before it stays, and is read again."""
    node = Node()
    node.run(before[0], "10.0.0.1", rc=before[1])
    node.run("start", "10.0.0.1", rc=1, status=ExecutionStatus.TIMEOUT)
    node.forget(failures_only=True)
    for _ in range(2):
        assert node.queue.ledger.may_be_active() == 1
        node.compacted()
    node.run("start", "10.0.0.2", rc=5, status=NOT_INSTALLED)
    assert not node.queue.ledger.never_began(WEB)
    assert node.run("stop", "10.0.0.3").parameters == {"ip": "10.0.0.1"}
    node.compacted()
    assert node.queue.ledger.may_be_active() == 0


def test_a_notification_leaves_nothing() -> None:
    node = Node()
    node.run("start")
    node.run("stop")
    node.run("notify")
    node.forget()
    assert node.queue.ledger.may_be_active() == 0
