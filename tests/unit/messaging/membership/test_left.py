"""An old LEAVE where the witness alone is common to two quorate views; what is kept of runs."""

from __future__ import annotations

import pytest

from hacluster.vocabulary.ids import NO_VIEW, BootToken, NodeId, ViewId
from hacluster.vocabulary.membership import NodeState, QuorumConfig
from messaging.membership.events import Accept, CommittedQuorum, Propose, ViewMember
from messaging.membership.rounds import all_accepted
from messaging.membership.runs import Run, RunTable, known_runs
from tests.sim.all_classes import REGISTRY
from tests.sim.engine import SECOND
from tests.sim.left import LeaveSteps
from tests.sim.plan import Fault


@pytest.mark.parametrize("name", ["left2-qnet", "left2-qdisk"])
def test_the_witness_says_who_came_back(name: str) -> None:
    """n1 leaves, comes back while n2 is cut off, has quorum with the witness, and is lost; n2 goes on."""
    run = REGISTRY[name](1)
    assert isinstance(run, LeaveSteps)
    run.start_up()
    for kind, node in (("leave", "n1"), ("alone", "n2"), ("join", "n1"), ("alone", "n1"), ("look", "")):
        if kind != "look":
            run.step(Fault(at_ns=0, kind=kind, nodes=(node,)))
        run.world.run_until(run.world.now_ns + 15 * SECOND)
        status = run.cluster.processes["n2"].status
        assert status is not None
        said = status.nodes[0].state, status.nodes[0].clean_leave, status.authority.quorate
        wanted = {
            "leave": (NodeState.LEFT, True, True),
            "alone": (NodeState.LEFT, node == "n2", node == "n1"),
            "join": (NodeState.LEFT, True, False),
            "look": (NodeState.LEFT, False, True),
        }
        assert said == wanted[kind], kind


def a_proposal(counter: int, coordinator: int, *runs: tuple[int, int]) -> Propose:
    members = tuple(ViewMember(id=NodeId(node), incarnation=incarnation) for node, incarnation in runs)
    return Propose(id=ViewId(counter, NodeId(coordinator)), members=members)


def test_the_latest_run_counts_and_that_it_has_left() -> None:
    table = RunTable((Run(2, 5), Run(1, 3)))
    table.learn((Run(2, 4, left=True), Run(1, 3, left=True), Run(1, 3), Run(7, 1)))
    assert table.all == (Run(1, 3, left=True), Run(2, 5), Run(7, 1))
    assert table.has_left(1, 3)
    assert not table.has_left(1, 4), "its next run has been heard"
    assert not table.has_left(2, 4), "a later one was in a view"
    assert not table.has_left(9, 0)
    assert table.kept(None) == (Run(1, 3), Run(2, 5), Run(7, 1)), "LEAVE is not for the disk"
    table.keep_only((2, 7))
    assert [run.node for run in table.all] == [2, 7]
    assert known_runs({2: 9, 7: 1}, (Run(2, 5), Run(7, 4), Run(8, 1))) == {2: 9, 7: 4, 8: 1}


@pytest.mark.parametrize(
    ("later", "counts"),
    [
        (a_proposal(8, 1, (1, 4), (2, 5)), False),  # the same run of its coordinator: it would say so
        (a_proposal(8, 1, (1, 5), (2, 5)), True),  # its next one may not know any more
        (a_proposal(8, 2, (1, 4), (2, 5)), True),
        (a_proposal(8, 2, (2, 5), (3, 1)), True),
    ],
)
def test_a_proposal_counts_unless_certainly_nobody_installed_it(later: Propose, counts: bool) -> None:
    pending = a_proposal(7, 1, (1, 4), (2, 5), (3, 9))
    table = RunTable((Run(3, 8),))
    assert table.kept(pending) == (Run(1, 4), Run(2, 5), Run(3, 9)), "the disk does not know what will be"
    table.give_up(pending, later, own=2)
    assert table.of(3) == Run(3, 9 if counts else 8)
    ours = RunTable((Run(3, 8),))
    ours.give_up(pending, later, own=1)
    assert ours.of(3) == Run(3, 8), "we would have installed it ourselves"
    ours.give_up(None, later, own=1)
    assert ours.all == (Run(3, 8),)


def test_an_empty_disk_is_lost_if_others_know_the_node() -> None:
    proposal = a_proposal(7, 1, (1, 4), (2, 1), (3, 1))
    quorum = CommittedQuorum(config=QuorumConfig(voters=((NodeId(1), 1),)))

    def accept(node: int, *, forgetful: bool = False, fresh: bool = False) -> Accept:
        return Accept(
            id=proposal.id,
            incarnation=1,
            boot_token=BootToken("ab" * 32),
            installed=NO_VIEW,
            lease_rest_ns=node,
            quorum=quorum,
            forgetful=forgetful,
            fresh=fresh,
        )

    accepts = {1: accept(1), 2: accept(2, fresh=True), 3: accept(3, fresh=True)}
    install = all_accepted(proposal, accepts, quorum, (Run(1, 4), Run(2, 1), Run(3, 1, left=True)))
    assert install.forgetful == (2,), "of 3 only a LEAVE is known: it may have been in no view yet"
    accepts[3] = accept(3, forgetful=True)
    assert all_accepted(proposal, accepts, quorum, ()).forgetful == (3,)
    table = RunTable((), fresh=True)
    table.installed(proposal.members, forgetful=True)
    assert (table.forgetful, table.fresh) == (True, False)
