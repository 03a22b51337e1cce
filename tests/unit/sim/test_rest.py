"""When a run is judged: who is still on the way is waited for, who never arrives is found."""

from __future__ import annotations

import pytest

from tests.sim.cib_classes import CibProfile, CibRun
from tests.sim.cib_witness import CibWitness
from tests.sim.classes import Profile, ViewsRun
from tests.sim.engine import MS, SECOND, START_NS, InvariantBroken
from tests.sim.plan import Fault


@pytest.fixture
def views() -> ViewsRun:
    """Three nodes in one view."""
    run = ViewsRun(1, Profile())
    run.cluster.boot_all()
    run.world.run_until(START_NS + 5 * SECOND)
    assert run.cluster.one_view()
    return run


def test_who_was_silent_when_the_faults_ended_is_left_out_and_waited_for(views: ViewsRun) -> None:
    world, network = views.world, views.cluster.network
    network.cut_edge("n1", "n3")
    for _ in range(5_000):
        if "node_silent" in world.seen:
            break
        world.run_until(world.now_ns + MS)
    assert views.cluster.one_view()
    network.heal()
    views.settle()
    assert "eliminated" in world.seen, "it was not left out"


def test_who_never_comes_back_is_found(views: ViewsRun) -> None:
    views.cluster.network.partition(["n3"], ["n1", "n2"])
    with pytest.raises(InvariantBroken, match="I16"):
        views.settle()


def test_who_is_left_out_without_a_fault_is_found(views: ViewsRun) -> None:
    network, late = views.cluster.network, views.cluster.processes["n3"]
    late.crash()
    views.world.run_until(views.world.now_ns + 5 * SECOND)  # n1 and n2 go on
    views.world.after(4 * SECOND, "start", late.start)  # it is waited for
    views.world.after(5 * SECOND, "cut", lambda: network.partition(["n1"], ["n2"]))
    with pytest.raises(InvariantBroken, match="I15"):
        views.settle()


def witnessed() -> tuple[CibRun, CibWitness]:
    """Three nodes with a DC, and a witness of two votes."""
    run = CibRun(3, CibProfile(nodes=3, witness_votes=2))
    witness = run.cluster.witness
    assert witness is not None
    return run, witness


@pytest.mark.parametrize("turns", range(1, 9))
def test_the_witness_s_last_choice_is_known_everywhere_in_the_end(turns: int) -> None:
    run, witness = witnessed()
    run.boot()
    for turn in range(turns):  # faster than the nodes notice
        witness.cut = turn % 2 == 0
        witness._choose()
        run.world.run_until(run.world.now_ns + 3 * MS)
    witness.cut = False
    witness._choose()
    run.world.run_until(run.world.now_ns + 60 * SECOND)
    for process in run.cluster.processes:
        view, _ = witness._views.at[process.id]
        assert witness.supports(process.id, view)


def test_no_disk_is_wiped_beside_a_witness_that_was_told_nothing() -> None:
    """One of three votes and the witness's two of five are more than a minority."""
    run, witness = witnessed()
    witness.cut = True
    run.boot()
    assert not witness.in_sync
    wipe = Fault(at_ns=0, kind="wipe", nodes=("n3",), for_ns=SECOND)
    run.inflict(wipe)
    assert run.cluster.nodes[3].up
    run._cut_witness(cut=False)
    run.world.run_until(run.world.now_ns + 20 * SECOND)
    assert witness.in_sync == {1, 2, 3}
    run.inflict(wipe)
    assert not run.cluster.nodes[3].up
    run.settle()
