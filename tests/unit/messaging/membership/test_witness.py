"""What a node makes of the witness's answers: late ones about older views change nothing."""

from __future__ import annotations

import pytest

from hacluster.vocabulary.ids import NodeId, ViewId
from hacluster.vocabulary.membership import QuorumConfig
from messaging.membership.events import CommittedQuorum, Config, InstalledView, ViewMember, WitnessAnswered
from messaging.membership.witness import WitnessSide

SECOND = 1_000_000_000
QUORUM = CommittedQuorum(
    config=QuorumConfig(voters=((NodeId(1), 1), (NodeId(2), 1)), witness_votes=1), log_index=1
)
OLD, NEW = (
    InstalledView(id=ViewId(n, 1), members=(ViewMember(id=NodeId(1), incarnation=1),)) for n in (4, 5)
)


@pytest.fixture
def side() -> WitnessSide:
    """It has asked for the old view (1), then for the new one (2)."""
    side = WitnessSide(
        Config(
            node_id=NodeId(1),
            nodes=(),
            links=1,
            keepalive_ns=SECOND,
            warntime_ns=5 * SECOND,
            deadtime_ns=10 * SECOND,
            initdead_ns=30 * SECOND,
            quorum=QUORUM.config,
        )
    )
    assert side.ask(OLD, QUORUM, 0) is not None
    assert side.ask(NEW, QUORUM, SECOND) is not None
    return side


def yes(nonce: int, view: InstalledView) -> WitnessAnswered:
    return WitnessAnswered(nonce=nonce, view=view.id, granted=True, lease_ms=20_000)


def test_an_answer_about_an_older_view_that_comes_late_ends_nothing(side: WitnessSide) -> None:
    side.answered(yes(2, NEW), 2 * SECOND)
    until_ns = side.support_until_ns(NEW)
    assert until_ns == SECOND + 18 * SECOND
    side.answered(yes(1, OLD), 3 * SECOND)
    assert side.support_until_ns(NEW) == until_ns
    assert side.support_until_ns(OLD) == 0


def test_support_goes_over_to_the_new_view(side: WitnessSide) -> None:
    side.answered(yes(1, OLD), 2 * SECOND)
    assert side.support_until_ns(OLD) == 18 * SECOND
    assert side.support_until_ns(NEW) == 0
    side.answered(yes(2, NEW), 2 * SECOND)
    assert side.support_until_ns(NEW) == 19 * SECOND
    assert side.support_until_ns(OLD) == 0
