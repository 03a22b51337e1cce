from __future__ import annotations

from pathlib import Path

import pytest

from crm.cib import codec
from crm.explain.changes import edited
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


def test_what_is_no_longer_configured_is_forgotten() -> None:
    """A removed resource is stopped and its history deleted: then there is nothing to do any more."""
    cib = codec.parse((BASES / "groups-running.xml").read_bytes(), source="groups")
    configuration = cib.child("configuration")
    assert configuration is not None
    kept = edited(configuration, lambda one: None if one.id in ("db", "g-db", "db-g", "db-rule") else one)
    removed = cib.with_child(kept)
    first = schedule(removed, NOW_S)
    assert {"db_stop_0", "db_delete_0"} <= {action.key for action in first.graph.actions()}
    settled = run_until_settled(removed, NOW_S)
    assert settled.settled
    assert "db" not in {one.id for one in settled.cib.walk() if one.tag == "lrm_resource"}
    assert "web" in {one.id for one in settled.cib.walk() if one.tag == "lrm_resource"}
