"""Writes of a replica: when they are answered, which are refused, which are the same."""

from __future__ import annotations

from dataclasses import replace

from crm.cib.replication.messages import Append
from crm.replica.effects import (
    OutcomeAsked,
    Persisted,
    Received,
    WritesRequested,
)
from crm.replica.events import Outcome, WriteOutcome
from tests.unit.crm.replica.net import SECOND, Net


def test_a_write_is_answered_when_a_majority_has_it(three: Net) -> None:
    three.held = {2, 3}
    token = three.write(1, "a")
    assert token not in three.answers
    three.held = set()
    three.wait(SECOND)  # no answer came from either: their calls hang, so nothing is retried here
    assert token not in three.answers
    three.view(1, 2, 3)
    assert three.answers[token].outcome is Outcome.OK
    assert three.names(2) == ["crm_config", "a"]


def test_that_it_is_committed_is_told_and_not_asked(three: Net) -> None:
    """So the next write need not wait for an answer."""
    three.sent.clear()
    three.news.clear()
    three.write(1, "a")
    assert [peer for _, peer, what in three.sent if isinstance(what, Append) and what.entries] == [2, 3]
    assert len(three.sent) == 2
    assert [(peer, what.entries) for _, peer, what in three.news] == [(2, ()), (3, ())]
    assert three.names(2) == three.names(3) == ["crm_config", "a"]


def test_news_that_get_lost_come_with_the_next_message(three: Net) -> None:
    three.lost = {3}
    three.write(1, "a")
    assert (three.names(2), three.names(3)) == (["crm_config", "a"], ["crm_config"])
    three.write(1, "b")
    assert three.names(3) == ["crm_config", "a"]
    three.wait(SECOND // 2)
    assert three.names(3) == ["crm_config", "a", "b"], "a keepalive says it, too"


def test_old_news_change_nothing(three: Net) -> None:
    three.write(1, "a")
    _, peer, news = three.news[-1]
    three.write(1, "b")
    three.give(peer, Received(1, news))
    assert three.names(peer) == ["crm_config", "a", "b"]
    three.view(1, 2, 3)
    three.give(peer, Received(1, replace(news, commit_index=news.commit_index + 5)))
    three.give(peer, Received(2, news))
    assert three.names(peer) == ["crm_config", "a", "b"]


def test_those_that_come_together_are_stored_together(three: Net) -> None:
    """Each is judged by itself, and makes an entry of its own."""
    requests = [three.request(100 + number, name) for number, name in enumerate("abc")]
    requests[1] = three.request(101, "b", expected_digest="another")
    three.sent.clear()
    before = three.nodes[1].replication.log.last_index
    three.give(1, WritesRequested(tuple(requests)))
    outcomes = [three.answers[100 + number].outcome for number in range(3)]
    assert outcomes == [Outcome.OK, Outcome.FAILED, Outcome.OK]
    first = [what for _, _, what in three.sent[:2] if isinstance(what, Append)]
    assert [[entry.index - before for entry in what.entries] for what in first] == [[1, 2], [1, 2]]
    assert three.names(1) == three.names(2) == three.names(3) == ["crm_config", "a", "c"]


def test_the_slowest_is_waited_for_only_a_little(three: Net) -> None:
    three.held = {3}
    token = three.write(1, "a")
    assert token not in three.answers
    three.wait(SECOND // 10)
    assert three.answers[token].outcome is Outcome.OK


def test_no_ok_without_a_lease() -> None:
    net = Net(3)
    net.view(1, 2, 3, lease_end_ns=net.now + SECOND)
    net.wait(2 * SECOND)
    token = net.write(1, "a")
    net.wait(SECOND)
    assert token not in net.answers
    net.same_view(1, 2, 3, lease_end_ns=net.now + SECOND)
    assert net.answers[token].outcome is Outcome.OK


def test_no_ok_when_the_lease_is_said_to_be_lost(three: Net) -> None:
    three.held = {3}
    token = three.write(1, "a")  # committed, and the third is waited for
    three.same_view(1, 2, 3, quorate=False)
    three.wait(SECOND)
    assert token not in three.answers
    three.same_view(1, 2, 3, lease_end_ns=three.now + SECOND)
    assert three.answers[token].outcome is Outcome.OK


def test_a_write_that_is_not_valid_is_refused(three: Net) -> None:
    token = three.write(1, "bad")
    assert three.answers[token] == WriteOutcome(outcome=Outcome.FAILED, reason="no <bad> wanted")


def test_a_write_that_no_message_can_carry_is_refused(three: Net) -> None:
    token = three.write(1, "x" * (13 * 1024 * 1024))
    assert three.answers[token].outcome is Outcome.FAILED
    assert "several steps" in three.answers[token].reason
    assert three.nodes[1].replication.log.last_index == 3  # barrier, voters, first configuration


def test_the_same_request_is_the_same_write(three: Net) -> None:
    first = three.write(1, "a", request_id="same")
    second = three.write(1, "a", request_id="same")
    assert three.answers[first] == three.answers[second]
    assert three.names(3) == ["crm_config", "a"]


def test_the_same_request_that_comes_while_the_first_still_waits(three: Net) -> None:
    three.held = {1}
    three.write(1, "z")  # its sync is under way: the next ones wait for that
    three.held = set()
    first = three.write(1, "a", request_id="same", expected_digest="")
    second = three.write(1, "a", request_id="same")
    leading = three.nodes[1].replication.leading
    assert leading is not None
    assert leading.is_pending("same")
    entry = three.nodes[1].replication.log.entry(4)
    three.give(1, Persisted(entry.index, entry.chain))
    three.wait(SECOND)
    assert three.answers[first] == three.answers[second]
    assert three.names(3) == ["crm_config", "z", "a"]


def test_a_request_older_than_the_log_is_not_written_again() -> None:
    net = Net(3, keep_entries=2)
    net.view(1, 2, 3)
    net.write(1, "a", request_id="old")
    for name in ("b", "c", "d", "e", "f", "g"):
        net.write(1, name)
    log = net.nodes[1].replication.log
    assert (log.find_request("old") or 0) <= log.base.index
    token = net.write(1, "a", request_id="old")
    assert net.answers[token].outcome is Outcome.OK
    assert net.names(1).count("a") == 1


def test_a_changed_configuration_is_noticed(three: Net) -> None:
    digest = three.nodes[1].replication.log.committed.digest
    first = three.write(1, "a", expected_digest=digest)
    second = three.write(1, "b", expected_digest=digest)
    assert three.answers[first].outcome is Outcome.OK
    assert three.answers[second].outcome is Outcome.FAILED


def test_what_was_answered_failed_cannot_succeed_later(three: Net) -> None:
    three.give(1, OutcomeAsked(900, "late"))
    assert three.answers[900].outcome is Outcome.FAILED
    token = three.write(1, "a", request_id="late")
    assert three.answers[token].outcome is Outcome.FAILED
    assert three.names(1) == ["crm_config"]


def test_never_written_is_said_only_with_the_consent_of_a_quorum(three: Net) -> None:
    """A DC that its followers have replaced in the same view does not know what the new one has written."""
    three.deaf = {2, 3}
    three.give(1, OutcomeAsked(900, "elsewhere"))
    assert 900 not in three.answers
    three.wait(4 * SECOND)
    assert three.answers[900].outcome is Outcome.UNKNOWN
    three.deaf = set()
    three.wait(SECOND)
    three.give(1, OutcomeAsked(901, "elsewhere"))
    assert three.answers[901].outcome is Outcome.FAILED


def test_questions_that_the_end_of_a_reign_leaves_open_are_unknown(three: Net) -> None:
    three.deaf = {2, 3}
    three.give(1, OutcomeAsked(900, "elsewhere"))
    three.view(1, 2, 3)
    assert three.answers[900].outcome is Outcome.UNKNOWN


def test_writes_during_a_sync_share_the_next(three: Net) -> None:
    three.held = {1}
    three.write(1, "a")
    three.sent.clear()
    tokens = [three.write(1, name) for name in ("b", "c", "d")]
    assert three.nodes[1].replication.log.last_index == 4
    three.held = set()
    log = three.nodes[1].replication.log
    three.give(1, Persisted(log.last_index, log.last_chain))
    appends = [m for _, peer, m in three.sent if peer == 2 and isinstance(m, Append) and m.entries]
    assert [len(append.entries) for append in appends] == [3]
    assert all(three.answers[token].outcome is Outcome.OK for token in tokens)


def test_a_question_is_answered_while_there_is_always_something_to_write(three: Net) -> None:
    """Each sync ends with the next writes waiting; the refusal goes with them."""
    three.write(1, "first")
    three.held.add(1)
    three.write(1, "a0")
    three.give(1, OutcomeAsked(900, "never"))
    log = three.nodes[1].replication.log
    for number in range(1, 4):
        three.write(1, f"a{number}")
        three.give(1, Persisted(log.last_index, log.last_chain))
    assert three.answers[900].outcome is Outcome.FAILED
    late = three.request(901, "late", request_id="never")
    three.held.clear()
    three.give(1, Persisted(log.last_index, log.last_chain))
    three.give(1, WritesRequested((late,)))
    assert three.answers[901].outcome is Outcome.FAILED
    assert three.names(1)[-4:] == ["a0", "a1", "a2", "a3"]
