"""Reads of a replica: by lease, by quorum, and without either."""

from __future__ import annotations

from crm.cib.replication.model import Stored
from crm.replica.effects import (
    ForceQuorum,
    ReadAsked,
    Started,
)
from crm.replica.events import Outcome, WriteOutcome
from tests.unit.crm.replica.net import SECOND, Net


def read(net: Net, node: int, *, by_quorum: bool = False) -> WriteOutcome | None:
    token = 1_000_000 + len(net.sent)
    net.answers.pop(token, None)
    net.give(node, ReadAsked(token, by_quorum))
    return net.answers.get(token)


def test_a_read_by_quorum_waits_for_an_entry_made_since(three: Net) -> None:
    three.write(1, "a")
    last = three.nodes[1].replication.log.last_index
    answer = read(three, 1, by_quorum=True)
    assert answer is not None
    assert (answer.outcome, answer.reason) == (Outcome.OK, "")
    assert answer.digest == three.nodes[1].replication.log.committed.digest
    assert three.nodes[1].replication.log.last_index == last + 1
    three.deaf = {2, 3}
    three.give(1, ReadAsked(900, True))
    assert 900 not in three.answers
    three.wait(4 * SECOND)
    assert three.answers[900].outcome is Outcome.UNKNOWN
    answer = read(three, 2, by_quorum=True)  # it was made DC in the same view
    assert answer is not None
    assert answer.outcome is Outcome.OK
    answer = read(three, 3, by_quorum=True)
    assert answer is not None
    assert answer.outcome is Outcome.FAILED


def test_a_lease_answers_a_read_while_a_quorum_has_just_obeyed(three: Net) -> None:
    three.same_view(1, 2, 3, lease_end_ns=three.now + 60 * SECOND)
    three.wait(SECOND)
    last = three.nodes[1].replication.log.last_index
    answer = read(three, 1)
    assert answer is not None
    assert answer.outcome is Outcome.OK
    assert three.nodes[1].replication.log.last_index == last
    three.now += 2 * SECOND  # the daemon was stopped meanwhile
    three.deaf = {2, 3}
    assert read(three, 1) is None
    three.deaf = set()
    three.wait(SECOND)
    three.same_view(1, 2, 3, lease_end_ns=three.now - 1)
    answer = read(three, 1)  # the lease is over: a quorum says so
    assert answer is not None
    assert answer.outcome is Outcome.OK
    assert three.nodes[1].replication.log.last_index > last


def next_dc_while_the_first_is_stopped(net: Net) -> None:
    """The others have another DC, which has written; the first one runs again, and hears all that later."""
    for _ in range(50):
        if net.nodes[2].dc.established:
            break
        net.wait(SECOND // 10)
    assert net.answers[net.write(2, "a")].outcome is Outcome.OK
    net.stopped = set()
    net.deaf = set(net.nodes) - {1}


def test_no_lease_of_a_former_view_answers_what_the_next_dc_has_changed() -> None:
    """The DC's daemon is stopped while a node joins: its lease runs on, as its node is in both views."""
    net = Net(4, founders=3)
    net.view(1, 2, 3, lease_end_ns=net.now + 60 * SECOND)
    net.stopped = {1}
    net.view(1, 2, 3, 4, lease_end_ns=net.now + 60 * SECOND)
    next_dc_while_the_first_is_stopped(net)
    assert read(net, 1) is None
    assert net.names(1) != net.names(2)


def test_no_lease_answers_what_others_wrote_who_forgot_at_a_restart_that_they_obeyed(three: Net) -> None:
    three.same_view(1, 2, 3, lease_end_ns=three.now + 60 * SECOND)
    three.wait(SECOND)
    three.stopped = {1}
    for node in (2, 3):
        log, promise = three.nodes[node].replication.log, three.nodes[node].promise
        kept = Stored(
            promise=promise,
            snapshot=log.base,
            entries=tuple(log.after(log.base.index)),
            commit_index=log.commit_index,
        )
        three.restart(node, kept)
        three.give(node, Started())
    three.same_view(1, 2, 3, lease_end_ns=three.now + 60 * SECOND)
    next_dc_while_the_first_is_stopped(three)
    assert read(three, 1) is None
    assert three.names(1) != three.names(2)


def test_reads_without_a_quorum_say_so() -> None:
    two = Net(2, two_node=True)
    two.view(1, 2)
    two.wait(SECOND)
    answer = read(two, 1, by_quorum=True)
    assert answer is not None
    assert answer.outcome is Outcome.OK
    two.view(1)
    two.wait(3 * SECOND)
    assert two.nodes[1].dc.authority == "none before the other node is fenced"
    for by_quorum in (True, False):
        answer = read(two, 1, by_quorum=by_quorum)
        assert answer is not None
        assert answer.outcome is Outcome.FAILED
    two.give(1, ForceQuorum(900, "root"))
    answer = read(two, 1)
    assert answer is not None
    assert (answer.outcome, answer.reason) == (Outcome.OK, "")
    answer = read(two, 1, by_quorum=True)
    assert answer is not None
    assert answer.outcome is Outcome.FAILED
