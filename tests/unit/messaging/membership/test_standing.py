"""last_man_standing: after a stable window, a suggestion; both configurations count meanwhile."""

from __future__ import annotations

from dataclasses import replace

from hacluster.vocabulary.ids import NodeId, NodeName, ViewId
from hacluster.vocabulary.membership import QuorumConfig
from messaging.membership.durable import durable_content, durable_from, encode_slot
from messaging.membership.events import (
    CommittedQuorum,
    Config,
    ConfiguredNode,
    Durable,
    InstalledView,
    ViewMember,
)
from messaging.membership.quorum import is_quorate
from messaging.membership.standing import LastManStanding

MS = 1_000_000
ALL = tuple((NodeId(n), 1) for n in range(1, 6))
RULE = QuorumConfig(
    voters=ALL, tiebreak=NodeId(2), tiebreak_order=(NodeId(2), NodeId(1)), lms_window_ms=10_000
)


def a_view(*nodes: int, counter: int = 4) -> InstalledView:
    members = tuple(ViewMember(id=NodeId(n), incarnation=1) for n in nodes)
    return InstalledView(id=ViewId(counter, 1), members=members)


def a_watch() -> LastManStanding:
    nodes = tuple(ConfiguredNode(id=NodeId(n), name=NodeName(f"n{n}")) for n in range(1, 6))
    nodes += (ConfiguredNode(id=NodeId(6), name=NodeName("n6"), votes=0, diskless=True),)
    return LastManStanding(
        Config(
            node_id=NodeId(1),
            nodes=nodes,
            links=1,
            keepalive_ns=1,
            warntime_ns=2,
            deadtime_ns=3,
            initdead_ns=6,
            quorum=RULE,
        )
    )


def test_after_the_window_and_not_before() -> None:
    watch, quorum, view = a_watch(), CommittedQuorum(config=RULE), a_view(1, 3, 4, 6)
    watch.look(view, quorum, 0, quorate=True)
    assert (watch.suggested, watch.wake_ns) == (None, 10_000 * MS)
    watch.look(view, quorum, 10_000 * MS, quorate=True)
    assert watch.suggested is not None
    assert [node for node, _ in watch.suggested.voters] == [1, 3, 4]
    assert watch.suggested.tiebreak == 1  # the first of the order that is still a voter


def test_another_view_or_a_lost_quorum_starts_anew() -> None:
    watch, quorum = a_watch(), CommittedQuorum(config=RULE)
    watch.look(a_view(1, 3, 4), quorum, 0, quorate=True)
    watch.look(a_view(1, 3, 4), quorum, 9_000 * MS, quorate=False)
    watch.look(a_view(1, 3, 4), quorum, 9_500 * MS, quorate=True)
    watch.look(a_view(1, 3, 4), quorum, 10_500 * MS, quorate=True)
    assert watch.suggested is None
    watch.look(a_view(1, 3, counter=5), quorum, 19_500 * MS, quorate=True)
    assert (watch.suggested, watch.wake_ns) == (None, 29_500 * MS)


def test_returning_voters_are_suggested_too() -> None:
    watch, small = a_watch(), CommittedQuorum(config=RULE.among(ALL[:2]), log_index=5)
    for now_ms in (0, 10_000):
        watch.look(a_view(1, 2, 3, 4, 5), small, now_ms * MS, quorate=True)
    assert watch.suggested == RULE


def test_none_while_nothing_would_change_or_another_change_is_under_way() -> None:
    watch = a_watch()
    joint = replace(RULE, next=RULE.among(ALL[:3]))
    two = QuorumConfig(voters=ALL[:2], two_node=True, lms_window_ms=10_000)
    plain = replace(RULE, lms_window_ms=0)
    for config, nodes in ((RULE, (1, 2, 3, 4, 5)), (joint, (1, 2, 3)), (two, (1,)), (plain, (1, 2, 3))):
        for now_ms in (0, 20_000):
            watch.look(a_view(*nodes), CommittedQuorum(config=config), now_ms * MS, quorate=True)
            assert watch.suggested is None


def test_while_voters_change_both_have_to_agree() -> None:
    joint = replace(RULE, next=RULE.among(ALL[2:]))
    assert not is_quorate(joint, {1, 2, 3})  # a majority of the old, a third of the new
    assert not is_quorate(joint, {4, 5})
    assert is_quorate(joint, {1, 3, 4})


def test_all_of_it_survives_on_disk() -> None:
    joint = replace(RULE, next=RULE.among(ALL[2:]))
    durable = Durable(quorum=CommittedQuorum(config=joint, log_index=9), told_deadtime_ns=7)
    assert durable_from([encode_slot(1, durable_content(durable)), None]) == durable
