from __future__ import annotations

from pathlib import Path

import pytest

from crm.cib import codec
from crm.scheduler.pipeline import schedule
from crm.simulation.survive import losses, run_until_settled

BASES = Path(__file__).parents[3] / "fuzz" / "bases"
NOW_S = 1_790_000_060


@pytest.mark.parametrize("name", ["groups", "clones", "bundles"])
def test_what_was_carried_out_leaves_nothing_to_do(name: str) -> None:
    cib = codec.parse((BASES / f"{name}.xml").read_bytes(), source=name)
    settled = run_until_settled(cib, NOW_S)
    assert settled.settled
    assert settled.transitions <= 2
    assert not schedule(settled.cib, NOW_S).graph.synapses


def test_the_loss_of_any_node_of_three_is_survived() -> None:
    cib = codec.parse((BASES / "groups-running.xml").read_bytes(), source="groups")
    found = list(losses(cib, NOW_S, 1))
    assert [loss.nodes for loss in found] == [(), ("n1",), ("n2",), ("n3",)]
    assert all(loss.settled and not loss.unserved for loss in found)
    assert any(loss.transitions for loss in found[1:])


def test_without_quorum_nothing_is_served() -> None:
    cib = codec.parse((BASES / "clones-running.xml").read_bytes(), source="clones")
    for loss in list(losses(cib, NOW_S, 2))[1:]:
        assert {one.resource for one in loss.unserved} == {"c", "p", "ip"}
        assert all("no quorum" in one.reasons[0] for one in loss.unserved)
