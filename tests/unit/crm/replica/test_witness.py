"""The witness's votes in elections and commits: only with all of those that it holds for in sync."""

from __future__ import annotations

import pytest

from crm.cib.replication.basis import Basis
from crm.cib.replication.in_sync import WitnessMemory
from crm.cib.replication.model import Promise, Stored
from crm.election.quorum import agree, is_quorum, witness_helps
from crm.replica.effects import AuthorityChanged, ForceQuorum, TellWitness, TimerFired, WitnessSaid
from crm.replica.events import Outcome
from hacluster.vocabulary.ids import NO_TERM, NodeId, Term
from hacluster.vocabulary.membership import Authority, QuorumConfig
from tests.unit.crm.replica.net import SECOND, Net

TERM = Term(3, NodeId(1))


def config(count: int, witness: int) -> QuorumConfig:
    return QuorumConfig(voters=tuple((NodeId(n), 1) for n in range(1, count + 1)), witness_votes=witness)


@pytest.fixture
def two() -> Net:
    """Two nodes and a witness, that have begun together."""
    net = Net(2, witness_votes=1, witness=True)
    net.view(1, 2)
    assert net.nodes[1].dc.established
    return net


def outcome(net: Net, node: int, name: str, wait_ns: int = 6 * SECOND) -> Outcome:
    token = net.write(node, name)
    net.wait(wait_ns)
    return net.answers[token].outcome


@pytest.mark.parametrize(
    ("count", "witness", "nodes", "supports", "enough"),
    [
        (2, 1, {1}, False, False),
        (2, 1, {1}, True, True),
        (2, 1, {1, 2}, False, True),
        (3, 1, {1, 2}, False, False),  # two of four votes
        (3, 1, {1, 2}, True, True),
        (3, 2, {3}, True, True),
        (2, 5, set(), True, False),  # never the witness alone
    ],
)
def test_its_votes_are_among_all_in_any_case(
    count: int, witness: int, nodes: set[int], supports: bool, enough: bool
) -> None:
    assert is_quorum(config(count, witness), nodes, witness=supports) is enough


def test_of_two_a_blank_one_does_not_count_as_the_other_may_have_gone_on_with_the_witness() -> None:
    assert agree(config(2, 0), 1, {1}, blank={2})
    assert not agree(config(2, 1), 1, {1}, blank={2})


def test_it_helps_who_has_a_vote_of_a_node_in_sync() -> None:
    assert witness_helps(config(3, 2), frozenset({2}), {2, 3})
    assert not witness_helps(config(3, 2), frozenset({2}), {1, 3})
    assert not witness_helps(config(3, 2), frozenset(), {1, 3}), "no DC has said yet who is"
    assert witness_helps(config(3, 2), frozenset(), {1, 2, 3})


def test_the_dc_says_who_is_in_sync_and_alone_goes_on_with_the_smaller_set(two: Net) -> None:
    assert set(two.in_sync) == {1, 2}
    two.view(1)
    assert set(two.in_sync) == {1}
    assert two.nodes[1].dc.established
    assert outcome(two, 1, "alone") is Outcome.OK


def test_who_is_not_in_sync_gets_no_help(two: Net) -> None:
    two.view(1)
    assert outcome(two, 1, "alone") is Outcome.OK
    two.view(2)
    two.wait(10 * SECOND)
    assert not two.nodes[2].dc.established
    two.view(1, 2)  # and it is again when it has caught up
    assert two.in_sync == (1, 2)
    two.view(2)
    assert two.nodes[2].dc.established


def test_nothing_is_committed_before_the_witness_has_the_smaller_set(two: Net) -> None:
    two.witness = False
    two.view(1)
    two.wait(5 * SECOND)
    assert not two.nodes[1].dc.established
    two.witness = True
    two.same_view(1)
    assert two.nodes[1].dc.established


def test_a_follower_that_fails_leaves_the_set_and_comes_back(two: Net) -> None:
    two.deaf = {2}
    assert outcome(two, 1, "without") is Outcome.OK
    assert set(two.in_sync) == {1}
    two.deaf = set()
    two.wait(5 * SECOND)
    assert set(two.in_sync) == {1, 2}


def test_without_its_support_a_reign_that_stood_on_it_ends(two: Net) -> None:
    two.view(1)
    two.witness = False
    two.same_view(1, quorate=False)
    two.wait(3 * SECOND)
    assert two.nodes[1].dc.caretaker
    assert outcome(two, 1, "refused") is Outcome.FAILED


def test_a_later_term_at_the_witness_ends_a_reign_and_is_gone_above(two: Net) -> None:
    leading = two.nodes[1].dc.term
    two.give(1, WitnessSaid(TellWitness(leading, (1, 2), 9), None, Term(leading.counter + 7, NodeId(2))))
    two.wait(3 * SECOND)
    dc = next(two.nodes[node].dc for node in (1, 2) if two.nodes[node].dc.is_me)
    assert dc.term.counter > leading.counter + 7
    assert dc.established


def test_silence_of_one_of_two_is_enough_with_the_witness(two: Net) -> None:
    two.now += 4 * SECOND  # nothing was heard
    two.give(2, TimerFired("dc"))
    two.wait(3 * SECOND)
    assert [n for n in (1, 2) if two.nodes[n].dc.is_me] == [2]


def test_a_lost_memory_is_not_in_sync(two: Net) -> None:
    two.view(1)
    two.restart(2, Stored(promise=Promise(lost=True)))
    two.deaf = {2}
    two.view(1, 2)
    two.wait(3 * SECOND)
    assert two.in_sync == (1,)


def test_a_witness_that_was_told_nothing_and_a_lost_disk_wait_for_the_operator() -> None:
    """It may be one that has lost its disk, too: three of five votes without a memory are a majority."""
    net = Net(3, witness_votes=2)
    net.view(1, 2, 3)
    kept = net.write(1, "kept")
    assert net.answers[kept].outcome is Outcome.OK
    assert net.in_sync == ()
    net.restart(3, Stored())
    net.witness = True
    net.view(1, 2, 3)
    net.wait(10 * SECOND)
    (dc,) = [node for node in (1, 2) if net.nodes[node].dc.is_me]
    assert net.nodes[dc].dc.caretaker
    net.give(dc, ForceQuorum(77, "root"))
    net.wait(3 * SECOND)
    assert net.answers[77].outcome is Outcome.OK
    assert set(net.in_sync) == {1, 2, 3}
    net.view(1, 2)
    net.wait(5 * SECOND)
    assert net.nodes[dc].dc.basis is Basis.MAJORITY, "with the witness, that knows now who is in sync"
    assert net.names(1) == net.names(2) == ["crm_config", "kept"]


def test_a_lost_disk_is_no_matter_once_the_witness_was_told() -> None:
    net = Net(3, witness_votes=2, witness=True)
    net.view(1, 2, 3)
    assert set(net.in_sync) == {1, 2, 3}
    net.restart(3, Stored())
    net.deaf = {3}
    net.view(1, 2, 3)
    net.wait(5 * SECOND)
    assert [n for n in (1, 2) if net.nodes[n].dc.is_me and net.nodes[n].dc.established]


def test_what_it_may_have_heard_counts_too() -> None:
    memory = WitnessMemory(TERM, supports=True)
    assert not memory.helps({1, 2, 3})
    first = memory.tell(frozenset({1, 2}))
    assert first == TellWitness(TERM, (1, 2), 1)
    assert memory.tell(frozenset({1})) is None, "one word at a time"
    assert memory.said(WitnessSaid(first, (1, 2), TERM))
    assert memory.helps({1, 2})
    assert not memory.helps({1, 3})
    second = memory.tell(frozenset({1, 3}))
    assert second is not None
    assert not memory.said(WitnessSaid(second, None, NO_TERM))
    assert not memory.helps({1, 2}), "it may have heard of 3"
    assert memory.helps({1, 2, 3})
    third = memory.tell(frozenset({1}))
    assert third is not None
    assert not memory.said(WitnessSaid(second, (1, 3), TERM)), "that answer is too late"
    assert memory.said(WitnessSaid(third, (1,), TERM))
    assert memory.helps({1})
    memory.supports = False
    assert not memory.helps({1, 2, 3})


def test_authority_names_it() -> None:
    net = Net(2, witness_votes=1)
    net.view(1, 2)
    view = net.nodes[1].election.view
    net.give(1, AuthorityChanged(Authority(view=view, quorate=True, witness=True)))
    leading = net.nodes[1].replication.leading
    assert leading is not None
    assert leading.witness.supports
    assert net.told[-1].in_sync == (1, 2)
