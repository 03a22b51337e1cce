"""Who votes is an entry of the log: the replicas of a few nodes, wired together without delay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crm.cib.replication.basis import Basis
from crm.cib.replication.codec import decode_snapshot, encode_snapshot
from crm.cib.replication.messages import Append
from crm.cib.replication.model import Kind, Stored
from crm.cib.replication.voters import VotersWanted, decode_voters, encode_voters, voters_text
from crm.election.quorum import could_be_quorate
from crm.replica.core import Replica
from crm.replica.effects import Call, CallFailed, Effect, ForceQuorum, VotersChangeRequested
from crm.replica.events import BecameDc, Outcome, VotersCommitted, WriteOutcome
from hacluster.vocabulary.ids import NodeId
from hacluster.vocabulary.membership import QuorumConfig
from tests.unit.crm.replica.net import SECOND, Net


def voters(config: QuorumConfig) -> list[int]:
    return [int(node) for node, _ in config.voters]


def config_of(*ids: int) -> QuorumConfig:
    return QuorumConfig(voters=tuple((NodeId(node), 1) for node in ids))


def change(net: Net, node: int, wanted: VotersWanted, *, request_id: str = "v") -> WriteOutcome | None:
    net.tokens += 1
    token = net.tokens
    net.give(
        node,
        VotersChangeRequested(
            token=token,
            wanted=wanted,
            author="root",
            request_id=request_id,
            deadline_ns=net.now + 10 * SECOND,
        ),
    )
    return net.answers.get(token)


def add(*ids: int) -> VotersWanted:
    return VotersWanted(add=tuple((NodeId(node), 1) for node in ids))


@pytest.fixture
def four() -> Net:
    """Nodes 1 to 3 with a vote have founded the cluster; node 4 has come."""
    net = Net(4, founders=3)
    net.view(1, 2, 3)
    net.view(1, 2, 3, 4)
    assert net.nodes[1].dc.is_me
    return net


def at(net: Net, node: int) -> Replica:
    return net.nodes[node]


def test_the_founding_voters_become_the_logs_own(four: Net) -> None:
    index, config = at(four, 1).replication.log.voters
    assert (index, voters(config or config_of())) == (2, [1, 2, 3])
    assert voters(at(four, 4).quorum) == [1, 2, 3]


def test_a_voter_is_added_jointly_and_counts(four: Net) -> None:
    outcome = change(four, 1, add(4))
    assert outcome is not None
    assert outcome.outcome is Outcome.OK
    assert [voters(at(four, node).quorum) for node in four.nodes] == [[1, 2, 3, 4]] * 4
    assert at(four, 4).promise.voter
    told = [event for node, event in four.events if node == 2 and isinstance(event, VotersCommitted)]
    texts = [voters_text(event.quorum) for event in told]
    assert texts == ["1 2 3", "1 2 3 -> 1 2 3 4", "1 2 3 4"]
    four.view(3, 4)  # two of four are no quorum, though two of three were
    assert not any(at(four, node).dc.established for node in (3, 4))


@pytest.mark.parametrize(
    ("before", "wanted", "two_node", "waits"),
    [
        (config_of(1, 2, 3), VotersWanted(remove=(3,), two_node=True), True, True),
        (config_of(1, 2, 3), VotersWanted(remove=(3,)), False, False),  # last_man_standing
        (
            replace(config_of(1, 2, 3), witness_votes=1),
            VotersWanted(remove=(3,), two_node=True),
            False,
            False,
        ),
        (
            replace(config_of(1, 2, 3), tiebreak_order=(NodeId(1),)),
            VotersWanted(remove=(3,), two_node=True),
            False,
            False,
        ),
        (config_of(1, 2, 3), VotersWanted(add=((NodeId(1), 2),), remove=(3,), two_node=True), False, False),
        (replace(config_of(1, 2), two_node=True, wait_for_all=True), add(3), False, True),
        (
            replace(config_of(1, 2), two_node=True, wait_for_all=True),
            VotersWanted(add=((NodeId(3), 1),), two_node=True),
            False,
            False,
        ),
        (
            replace(config_of(1, 2), two_node=True),
            VotersWanted(add=((NodeId(3), 1),), two_node=True),
            False,
            False,
        ),
        (
            replace(config_of(1, 2, 3), wait_for_all=True),
            VotersWanted(remove=(3,), two_node=True),
            True,
            True,
        ),
        (config_of(1, 2), VotersWanted(add=((NodeId(3), 1),), remove=(2,), two_node=True), False, False),
        (config_of(1, 2, 3), VotersWanted(remove=(2, 3), two_node=True), False, False),
    ],
)
def test_two_that_are_left_of_more_may_act_alone_if_an_operator_made_them_two(
    before: QuorumConfig, wanted: VotersWanted, two_node: bool, waits: bool
) -> None:
    after = wanted.among(before, before)
    assert (after.two_node, after.wait_for_all) == (two_node, waits)


@pytest.mark.parametrize(
    ("before", "rules"),
    [
        (replace(config_of(1, 2, 3), wait_for_all=True), False),
        (replace(config_of(1, 2, 3), wait_for_all=True), True),
        (config_of(1, 2, 3), False),
        (replace(config_of(1, 2, 3), wait_for_all=False), True),
    ],
)
def test_wait_for_all_is_as_before_when_two_are_three_again(before: QuorumConfig, rules: bool) -> None:
    fewer = VotersWanted(remove=(3,), two_node=True).among(before, before)
    assert (fewer.two_node, fewer.wait_for_all) == (True, True)
    fewer = decode_voters(encode_voters(replace(before, next=fewer))).next or before
    if rules:  # cluster.toml is applied again: it says the same
        fewer = VotersWanted(rules=True).among(fewer, replace(fewer, wait_for_all_kept=False))
    again = VotersWanted(add=((NodeId(3), 1),), two_node=True).among(fewer, before)
    assert (again.two_node, again.wait_for_all) == (False, before.wait_for_all)


def test_two_that_need_not_wait_need_not_when_they_were_three() -> None:
    before = replace(config_of(1, 2), two_node=True)
    three = VotersWanted(add=((NodeId(3), 1),), two_node=True).among(before, before)
    again = VotersWanted(remove=(3,), two_node=True).among(three, before)
    assert (again.two_node, again.wait_for_all) == (True, False)


def test_one_of_two_that_are_left_goes_on_alone(four: Net) -> None:
    four.view(1, 2, 3)
    outcome = change(four, 1, VotersWanted(remove=(3,), two_node=True))
    assert outcome is not None
    assert outcome.outcome is Outcome.OK
    four.view(1)
    dc = at(four, 1).dc
    assert (dc.is_me, dc.basis) == (True, Basis.FENCED), "it waits for the fence of the other"
    assert not dc.established


def test_one_of_two_waits_in_a_view_that_counts_more_voters(four: Net) -> None:
    """Its ha-messaging has not heard of there being two: one of two would not wait for the other."""
    four.view(1, 2, 3)
    change(four, 1, VotersWanted(remove=(3,), two_node=True))
    four.view(1, 3, by_votes=True)
    assert not any(at(four, node).dc.established for node in (1, 3))
    assert at(four, 1).dc.basis in (None, Basis.CARETAKER)
    four.same_view(1, 3)
    assert (at(four, 1).dc.is_me, at(four, 1).dc.basis) == (True, Basis.FENCED)


def test_a_change_that_does_not_end_is_ended_by_decree(four: Net) -> None:
    """Too few of the new voters have stored it, and they do not come back."""
    four.deaf = {4}
    assert change(four, 1, VotersWanted(add=((NodeId(4), 1),), remove=(2, 3))) is None
    four.view(1, 2, 3, by_votes=True)  # ha-messaging counts the old ones: nothing is committed yet
    four.wait(5 * SECOND)
    assert not any(at(four, node).dc.established for node in (1, 2, 3))
    (dc,) = (node for node in (1, 2, 3) if at(four, node).dc.is_me)
    assert not any(isinstance(event, BecameDc) and event.basis is Basis.CARETAKER for _, event in four.events)
    refused = four.answers[four.write(dc, "a")]
    assert (refused.outcome, refused.reason[:9]) == (Outcome.FAILED, "no quorum")
    four.give(dc, ForceQuorum(77, "root"))
    assert four.answers[77].outcome is Outcome.OK
    assert voters(at(four, dc).quorum) == [1, 4]
    four.same_view(1, 2, 3, quorate=False)  # ha-messaging counts the new ones now: that ends the decree
    assert not any(at(four, node).dc.established for node in (1, 2, 3))
    (dc,) = (node for node in (1, 2, 3) if at(four, node).dc.is_me)
    four.give(dc, ForceQuorum(78, "root"))
    assert four.answers[78].outcome is Outcome.OK
    outcome = change(four, dc, VotersWanted(remove=(4,)), request_id="w")
    assert outcome is not None
    assert outcome.outcome is Outcome.OK
    four.deaf = set()
    four.view(1, 2, 3, 4)
    four.wait(5 * SECOND)
    assert [voters(node.quorum) for node in four.nodes.values()] == [[1]] * 4
    assert (at(four, 1).dc.is_me, at(four, 1).dc.established) == (True, True)


def test_a_change_that_does_not_end_ends_when_the_new_ones_are_back(four: Net) -> None:
    four.deaf = {4}
    change(four, 1, VotersWanted(add=((NodeId(4), 1),), remove=(2, 3)))
    four.view(1, 2, 3, by_votes=True)
    four.wait(5 * SECOND)
    assert not any(at(four, node).dc.established for node in (1, 2, 3))
    four.deaf = set()
    four.view(1, 2, 3, 4)
    four.wait(5 * SECOND)
    assert [voters(node.quorum) for node in four.nodes.values()] == [[1, 4]] * 4
    assert sum(node.dc.is_me and node.dc.established for node in four.nodes.values()) == 1


def test_those_who_do_not_know_of_a_change_go_on_without_the_one_who_does() -> None:
    """Only the former DC has stored it, and hangs; the others are a quorum of the voters that they know."""
    net = Net(5, founders=3)
    net.view(1, 2, 3)
    net.view(1, 2, 3, 4, 5)
    net.deaf = {2, 3, 4, 5}
    new = ((NodeId(4), 1), (NodeId(5), 1))
    assert change(net, 1, VotersWanted(add=new, remove=(2, 3))) is None
    net.deaf = set()
    net.view(1, 2, 3, by_votes=True)
    net.wait(5 * SECOND)
    assert [node for node in (1, 2, 3) if at(net, node).dc.is_me and at(net, node).dc.established] == [2]
    assert [voters(at(net, node).quorum) for node in (1, 2, 3)] == [[1, 2, 3]] * 3
    assert at(net, 1).quorum.next is None


def test_the_next_voters_do_not_act_alone() -> None:
    two = replace(config_of(1, 2), two_node=True)
    assert could_be_quorate(two, {1})
    joint = replace(config_of(1, 2, 3), next=two)
    assert not could_be_quorate(joint, {1, 3})
    assert could_be_quorate(joint, {1, 2})
    assert could_be_quorate(replace(two, next=config_of(1)), {1})
    assert could_be_quorate(replace(config_of(1, 2, 3), witness_votes=1), {1, 2}), "without the witness"


def test_without_the_new_ones_no_change_begins(four: Net) -> None:
    four.view(1, 2, 3)
    outcome = change(four, 1, add(4))
    assert outcome is not None
    assert outcome.outcome is Outcome.FAILED
    assert "node 4 is not here" in outcome.reason
    assert at(four, 1).replication.log.voters[0] == 2


def test_the_old_ones_must_agree(four: Net) -> None:
    """The others of the old voters do not store it: the new ones alone do not decide."""
    four.deaf = {2, 3}
    assert change(four, 1, VotersWanted(add=((NodeId(4), 1),), remove=(2, 3))) is None
    log = at(four, 1).replication.log
    assert log.commit_index < log.voters[0]
    assert at(four, 4).replication.log.last_index == log.last_index
    four.deaf = set()
    four.wait(SECOND)
    assert voters(at(four, 1).quorum) == [1, 4]
    assert at(four, 1).quorum.next is None


def test_a_node_is_ready_for_a_vote_when_something_is_committed_without_it(four: Net) -> None:
    assert at(four, 4).promise.voter
    four.restart(4, Stored())  # its disk is lost
    four.deaf = {2, 3}
    four.same_view(1, 2, 3, 4)
    assert not at(four, 4).promise.voter
    refused = change(four, 1, add(4))
    assert refused is not None
    assert refused.outcome is Outcome.FAILED
    four.deaf = set()
    four.wait(SECOND)
    assert at(four, 4).promise.voter
    changed = change(four, 1, add(4), request_id="w")
    assert changed is not None
    assert changed.outcome is Outcome.OK


def test_one_change_at_a_time(four: Net) -> None:
    four.deaf = {2, 3}
    change(four, 1, add(4))
    second = change(four, 1, VotersWanted(remove=(3,)), request_id="w")
    assert second is not None
    assert second.outcome is Outcome.FAILED
    assert "another change" in second.reason


def test_the_next_dc_ends_the_change(four: Net) -> None:
    four.deaf = {2, 3}
    change(four, 1, add(4))
    four.deaf = set()
    four.view(2, 3, 4)
    assert four.nodes[2].quorum.next is None
    four.view(1, 2, 3, 4)
    assert len({voters_text(node.quorum) for node in four.nodes.values()}) == 1
    assert at(four, 1).quorum.next is None


def test_a_change_that_another_dc_has_ended_did_not_fail(four: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Node 1 alone has its end of the change; in its place the next DC has another, of the same change."""
    apply = four._apply

    def losing(node: int, effect: Effect) -> None:
        if isinstance(effect, Call) and isinstance(effect.message, Append):
            changes = [decode_voters(e.payload) for e in effect.message.entries if e.kind is Kind.CONFIG]
            if any(config.next is None for config in changes):
                four.queue.append((node, CallFailed(effect.peer, effect.message)))
                return
        apply(node, effect)

    monkeypatch.setattr(four, "_apply", losing)
    token = four.tokens + 1
    assert change(four, 1, add(4)) is None
    assert at(four, 1).quorum.next is None
    monkeypatch.undo()
    four.view(2, 3, 4)
    assert voters(at(four, 2).quorum) == [1, 2, 3, 4]
    four.view(1, 2, 3, 4)
    four.wait(5 * SECOND)
    assert [voters(node.quorum) for node in four.nodes.values()] == [[1, 2, 3, 4]] * 4
    assert four.answers[token].outcome is Outcome.UNKNOWN


def test_the_dc_gives_its_vote_away_and_another_is_dc(four: Net) -> None:
    outcome = change(four, 1, VotersWanted(remove=(1,)))
    assert outcome is not None
    assert outcome.outcome is Outcome.OK
    assert not at(four, 1).dc.is_me
    assert sum(node.dc.is_me for node in four.nodes.values()) == 1
    assert voters(at(four, 4).quorum) == [2, 3]


def test_who_alone_has_the_end_of_a_change_hands_it_on_and_is_dc_no_more(
    four: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Node 1 has stored that it has no vote any more, and no voter has: none could win against its log."""
    change(four, 1, VotersWanted(remove=(3,)))
    apply = four._apply

    def losing(node: int, effect: Effect) -> None:
        if isinstance(effect, Call) and isinstance(effect.message, Append):
            entries = effect.message.entries
            changes = [decode_voters(e.payload) for e in entries if e.kind is Kind.CONFIG]
            if any(config.next is None and voters(config) == [2] for config in changes):
                four.queue.append((node, CallFailed(effect.peer, effect.message)))
                return
        apply(node, effect)

    monkeypatch.setattr(four, "_apply", losing)
    assert change(four, 1, VotersWanted(remove=(1,)), request_id="w") is None
    assert voters(at(four, 1).quorum) == [2]
    assert voters(at(four, 2).quorum) == [1, 2]
    monkeypatch.undo()
    four.events.clear()
    four.view(1, 2, 3, 4)
    four.wait(5 * SECOND)
    assert [voters(node.quorum) for node in four.nodes.values()] == [[2]] * 4
    assert [node for node in four.nodes if at(four, node).dc.is_me] == [2]
    assert at(four, 2).dc.established
    won = [node for node, event in four.events if isinstance(event, BecameDc) and event.established]
    assert won[-1] == 2


def test_expected_voters_and_repeated_requests(four: Net) -> None:
    stale = VotersWanted(remove=(3,), expected=((NodeId(1), 1), (NodeId(2), 1)))
    outcome = change(four, 1, stale)
    assert outcome is not None
    assert "changed meanwhile" in outcome.reason
    first, again = change(four, 1, add(4), request_id="a"), change(four, 1, add(4), request_id="a")
    assert first is not None
    assert again is not None
    assert first.outcome is again.outcome is Outcome.OK


def test_voters_that_nobody_would_be_a_quorum_of_are_refused(four: Net) -> None:
    for wanted, why in (
        (VotersWanted(remove=(1, 2, 3)), "last voter"),
        (VotersWanted(remove=(9,)), "node 9 has no vote"),
        (VotersWanted(add=((NodeId(4), 0),)), "one vote or more"),
    ):
        outcome = change(four, 1, wanted)
        assert outcome is not None
        assert outcome.outcome is Outcome.FAILED
        assert why in outcome.reason


def test_after_the_decree_the_lost_can_be_taken_out(four: Net) -> None:
    four.view(3, quorate=False)
    four.give(3, ForceQuorum(77, "root"))
    assert at(four, 3).dc.basis is Basis.FORCED
    outcome = change(four, 3, VotersWanted(remove=(1, 2)))
    assert outcome is not None
    assert outcome.outcome is Outcome.OK
    four.view(3)
    assert (at(four, 3).dc.basis, at(four, 3).dc.established) == (Basis.MAJORITY, True)
    four.view(1, 2, 3, 4)
    assert [voters(node.quorum) for node in four.nodes.values()] == [[3]] * 4


def test_by_decree_two_of_whom_one_is_not_here_are_no_two_node(four: Net) -> None:
    four.view(3, quorate=False)
    four.give(3, ForceQuorum(77, "root"))
    for gone, left, request_id in ((1, [2, 3], "v"), (2, [3], "w")):
        outcome = change(four, 3, VotersWanted(remove=(gone,), two_node=True), request_id=request_id)
        assert outcome is not None
        assert outcome.outcome is Outcome.OK
        assert voters(at(four, 3).quorum) == left
        assert not at(four, 3).quorum.two_node


def test_the_voters_survive_compaction() -> None:
    net = Net(3, keep_entries=2)
    net.view(1, 2, 3)
    change(net, 1, VotersWanted(remove=(3,)))
    for name in "abcdefgh":
        net.write(1, name)
    base = at(net, 1).replication.log.base
    assert base.voters is not None
    assert (voters(base.voters), base.index >= base.voters_index) == ([1, 2], True)
    assert decode_snapshot(encode_snapshot(base)) == base


def test_voters_are_written_down_and_read_back() -> None:
    config = QuorumConfig(
        voters=((NodeId(1), 1), (NodeId(2), 3)),
        two_node=True,
        wait_for_all=True,
        tiebreak=NodeId(2),
        tiebreak_order=(NodeId(2), NodeId(1)),
        lms_window_ms=10_000,
        witness_votes=1,
        next=config_of(1),
    )
    assert decode_voters(encode_voters(config)) == config
    assert voters_text(config) == "1 2:3 -> 1"
    for raw in (b"", b"[]", b"{}", b'{"voters":[[1]]}'):
        with pytest.raises(ValueError, match=r"voters|Expecting"):
            decode_voters(raw)
