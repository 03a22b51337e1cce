"""Who may lead without a majority that remembers: by decree, after a fence, with wiped disks."""

from __future__ import annotations

from crm.cib.model import element
from crm.cib.replication.basis import Basis
from crm.cib.replication.model import Promise, Stored
from crm.replica.effects import (
    AuthorityChanged,
    FenceConfirmed,
    ForceQuorum,
    Started,
    WriteRequested,
    WritesRequested,
)
from crm.replica.events import BecameDc, Outcome
from hacluster.vocabulary.membership import Authority, MembershipView
from tests.unit.crm.replica.net import SECOND, Net


def test_how_long_no_dc_was_heard() -> None:
    """Counted from the start of a node that never heard one, and from the end of a reign of its own."""
    net = Net(3)
    net.now = 90_000 * SECOND
    net.give(3, Started())
    assert net.nodes[3].election.dc_heard_ns == net.now
    net.view(1, 2, 3)
    assert net.nodes[1].dc.is_me
    net.now += 100 * SECOND
    net.view(2, 3)
    net.counter += 1
    net.give(1, AuthorityChanged(Authority(view=MembershipView(), quorate=False)))
    assert not net.nodes[1].dc.is_me
    assert net.nodes[1].election.dc_heard_ns == net.now


def test_force_quorum_is_safe_by_decree_and_wins(three: Net) -> None:
    three.view(1, 2)
    three.view(3, quorate=False)
    assert three.nodes[3].dc.caretaker
    three.write(1, "majority")
    three.give(3, ForceQuorum(77, "root"))
    assert three.answers[77].outcome is Outcome.OK
    assert three.nodes[3].dc.established
    assert three.nodes[3].replication.log.committed.version.admin_epoch == 1
    token = three.write(3, "decree")
    assert (three.answers[token].outcome, three.answers[token].reason) == (Outcome.OK, "")
    three.view(1, 2, 3)
    assert three.nodes[3].dc.is_me
    assert three.names(1) == ["crm_config", "decree"]


def test_force_quorum_with_quorum_is_refused(three: Net) -> None:
    three.give(1, ForceQuorum(77, "root"))
    assert three.answers[77].outcome is Outcome.FAILED


def test_a_write_waits_for_the_fence() -> None:
    net = Net(2, two_node=True)
    net.view(1, 2)
    net.view(2)
    held = [net.write(2, name) for name in ("a", "b")]
    net.wait(SECOND)
    assert not net.answers
    net.give(2, FenceConfirmed(1, net.token(1)))
    assert [net.answers[token] for token in held] != []
    assert all(net.answers[token].outcome is Outcome.OK for token in held)
    assert all(not net.answers[token].reason for token in held), "safely"
    assert net.names(2) == ["crm_config", "a", "b"]


def test_disabling_fencing_by_force_lets_a_lone_survivor_go_on() -> None:
    net = Net(2, two_node=True)
    net.view(1, 2)
    net.view(2)
    assert not net.nodes[2].dc.established
    held = net.write(2, "a", request_id="held")
    assert held not in net.answers, "the fence may succeed while there is time"
    net.wait(5 * SECOND)
    assert net.answers[held].outcome is Outcome.FAILED
    assert "not confirmed fenced" in net.answers[held].reason
    assert net.nodes[2].dc.authority == "none before the other node is fenced"
    off = element(
        "crm_config",
        {},
        element(
            "cluster_property_set",
            {"id": "o"},
            element("nvpair", {"id": "s", "name": "stonith-enabled", "value": "false"}),
        ),
    )
    net.tokens += 1
    token = net.tokens
    net.give(
        2,
        WritesRequested(
            (
                WriteRequested(
                    token=token,
                    change=lambda old: old.with_child(off),
                    author="root",
                    request_id="off",
                    force=True,
                    deadline_ns=net.now + SECOND,
                ),
            )
        ),
    )
    assert net.answers[token].outcome is Outcome.OK
    assert net.nodes[2].dc.established
    assert net.nodes[2].dc.authority == "assumed"
    again = net.write(2, "a", request_id="held")
    assert net.answers[again].outcome is Outcome.FAILED, "what was answered so stays so"
    another = net.write(2, "a")
    assert net.answers[another].outcome is Outcome.OK
    reigns = [event for node, event in net.events if node == 2 and isinstance(event, BecameDc)]
    assert [(event.basis.value, event.established) for event in reigns] == [
        ("fenced", False),
        ("assumed", True),
    ]


def test_wiped_disks_of_a_majority_found_no_new_cluster(three: Net) -> None:
    """The third node has the configuration; but what the majority had promised nobody knows."""
    three.write(1, "kept")
    for node in (1, 2):
        three.restart(node, Stored())
    three.events.clear()
    dc = 0
    for members in ((1, 2), (1, 2, 3)):
        three.view(*members)
        three.wait(10 * SECOND)
        assert [event for _, event in three.events if isinstance(event, BecameDc)] == []
        assert three.nodes[1].replication.log.blank
        (dc,) = [node for node in members if three.nodes[node].dc.is_me]
        refused = three.write(dc, "early")
        assert three.answers[refused].outcome is Outcome.FAILED
    assert dc == 3, "it remembers"
    three.give(3, ForceQuorum(77, "root"))
    three.wait(2 * SECOND)
    assert three.answers[77].outcome is Outcome.OK
    assert three.names(1) == three.names(2) == three.names(3) == ["crm_config", "kept"]
    assert all(replica.promise.voter for replica in three.nodes.values())


def test_the_operator_may_begin_without_those_who_remember(three: Net) -> None:
    three.write(1, "gone")
    for node in (1, 2):
        three.restart(node, Stored())
    three.view(1, 2)
    three.wait(5 * SECOND)
    (dc,) = [node for node in (1, 2) if three.nodes[node].dc.is_me]
    three.give(dc, ForceQuorum(77, "root"))
    three.wait(2 * SECOND)
    assert three.answers[77].outcome is Outcome.OK
    assert all(three.nodes[node].promise.voter for node in (1, 2)), "this is all there is to remember"
    three.write(dc, "new")
    three.view(1, 2)
    three.wait(5 * SECOND)
    assert {three.nodes[node].dc.basis for node in (1, 2)} == {Basis.MAJORITY}, "no decree is needed again"
    three.view(1, 2, 3)
    three.wait(5 * SECOND)
    assert three.names(3) == ["crm_config", "new"], "and it wins: it has the higher admin_epoch"


def test_a_corrupt_copy_is_no_new_one(three: Net) -> None:
    three.write(1, "kept")
    for node in (1, 2, 3):
        three.restart(node, Stored(promise=Promise(lost=True), corrupt="a bit flipped"))
    three.events.clear()
    three.view(1, 2, 3)
    three.wait(10 * SECOND)
    assert [event for _, event in three.events if isinstance(event, BecameDc)] == []
    assert all(replica.replication.log.blank for replica in three.nodes.values())


def test_a_decree_stands_when_it_has_ended_the_waiting_of_one_of_two() -> None:
    net = Net(2, two_node=True)
    net.view(1, 2)
    net.view(2, quorate=False, waiting=True)
    assert not net.nodes[2].dc.established
    net.give(2, ForceQuorum(77, "root"))
    assert net.answers[77].outcome is Outcome.OK
    term = net.nodes[2].dc.term
    assert (net.nodes[2].dc.basis, net.nodes[2].dc.established) == (Basis.FORCED, True)
    net.same_view(2)  # what ha-messaging says when it is told
    net.wait(5 * SECOND)
    dc = net.nodes[2].dc
    assert (dc.term, dc.basis, dc.established) == (term, Basis.FORCED, True), "nothing is to be said again"
    token = net.write(2, "alone")
    assert (net.answers[token].outcome, net.answers[token].reason) == (Outcome.OK, "")
    net.give(2, ForceQuorum(78, "root"))
    assert net.answers[78].outcome is Outcome.FAILED, "it has quorum now"
    net.view(2)
    assert not net.nodes[2].dc.established, "another view ends it"


def test_a_majority_that_waits_may_be_decreed(three: Net) -> None:
    three.view(1, 2, quorate=False, waiting=True)
    dc = next(node for node in (1, 2) if three.nodes[node].dc.is_me)
    assert three.nodes[dc].dc.basis is Basis.MAJORITY
    three.give(dc, ForceQuorum(77, "root"))
    assert three.answers[77].outcome is Outcome.OK
    assert all(three.nodes[node].dc.basis is Basis.FORCED for node in (1, 2)), "both are to know"
    assert all(three.nodes[node].dc.established for node in (1, 2))
