"""What ha-lrm makes of a run in flight when it meets lrm-exec: the same one, or another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import OperationId, ResourceId, Term, ViewId
from hacluster.vocabulary.operation import Operation
from lrm.exec.protocol import Adopt, Running, Welcome
from lrm.journal.model import Ledger
from lrm.journal.records import Accepted, Begun, Spawned
from lrm.reattach import Fate, Find, Lost, NeverBegan, ResultFollows, Runs, fate

BEGAN_NS = 50_000_000_000
TOKEN = "j.1.0"
OLDER = Welcome(pid=9, exec_id="same", since_ns=BEGAN_NS - 1)
NEWER = Welcome(pid=9, exec_id="another", since_ns=BEGAN_NS + 1)
RUNNING = Running(token=TOKEN, pid=77, start_ticks=5_001, started_ns=BEGAN_NS + 10)


def begun() -> Ledger:
    """The journal of a start that was about to be made."""
    ledger = Ledger()
    operation = Operation(
        resource=ResourceId("web"),
        agent=AgentName("ocf", "test", "Slow"),
        action="start",
        timeout_ms=20_000,
    )
    id_ = OperationId(term=Term(1, 1), transition=1, action=1)
    ledger.apply(
        Accepted(
            call_id=1,
            id=id_,
            operation=operation,
            view=ViewId(5, 1),
            without_quorum=False,
            received_ns=BEGAN_NS,
            due_ns=BEGAN_NS,
        )
    )
    ledger.apply(Begun(call_id=1, run=0, began_ns=BEGAN_NS))
    return ledger


def spawned(pid: int = 77, ticks: int = 5_001) -> Ledger:
    """The same, and the process is known."""
    ledger = begun()
    ledger.apply(Spawned(call_id=1, run=0, pid=pid, start_ticks=ticks, deadline_ns=99))
    return ledger


def fate_of(ledger: Ledger, welcome: Welcome, *, by_systemd: bool = False) -> Fate:
    (flight,) = ledger.flights()
    return fate(flight, TOKEN, welcome, by_systemd=by_systemd, grace_ms=2_000)


@pytest.mark.parametrize("welcome", [OLDER, NEWER], ids=["same", "another"])
def test_what_runs_is_recorded_if_it_was_not(welcome: Welcome) -> None:
    """ha-lrm was killed before it heard of the process: the next kill may be lrm-exec's."""
    has_it = replace(welcome, running=(RUNNING,))
    assert fate_of(begun(), has_it) == Runs(running=RUNNING, unrecorded=True)
    assert fate_of(spawned(pid=76), has_it) == Runs(running=RUNNING, unrecorded=True)
    assert fate_of(spawned(), has_it) == Runs(running=RUNNING, unrecorded=False)


def test_a_result_that_waits_is_not_looked_for() -> None:
    assert fate_of(begun(), replace(NEWER, ended=(TOKEN,))) == ResultFollows()


def test_a_new_lrm_exec_looks_for_the_recorded_process() -> None:
    adopt = Adopt(
        token=TOKEN, resource="web", pid=77, start_ticks=5_001, deadline_ns=99, grace_ms=2_000, timeout_ms=0
    )
    assert fate_of(spawned(), NEWER) == Find(adopt)
    assert fate_of(spawned(), OLDER) == Find(adopt)


def test_a_new_lrm_exec_looks_for_one_that_nobody_was_told_of() -> None:
    """The former one may have been killed between the start of the agent and the word of it."""
    adopt = Adopt(
        token=TOKEN, resource="web", pid=0, start_ticks=0, deadline_ns=0, grace_ms=2_000, timeout_ms=20_000
    )
    assert fate_of(begun(), NEWER) == Find(adopt)
    unsaid = replace(NEWER, since_ns=0)  # an older version, which does not say when it began
    assert fate_of(begun(), unsaid) == Find(adopt)


def test_one_that_was_there_all_the_time_and_never_heard_of_it() -> None:
    assert fate_of(begun(), OLDER) == NeverBegan()


@pytest.mark.parametrize("welcome", [OLDER, NEWER], ids=["same", "another"])
def test_units_have_no_process_of_ours(welcome: Welcome) -> None:
    assert fate_of(begun(), welcome, by_systemd=True) == Lost()
