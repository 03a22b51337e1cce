from __future__ import annotations

from pathlib import Path

import pytest

from crm.cib import codec
from crm.explain.changes import edited
from crm.scheduler.pipeline import schedule
from crm.simulation.survive import losses, run_until_settled
from tests.unit.crm.scheduler.cibs import document, element, primitive

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


def test_a_device_that_fences_only_the_node_that_is_left_is_not_missed() -> None:
    """Each of two nodes is fenced by a device that must not run there, as is good practice."""
    devices = [
        primitive(f"off-{name}", agent="stonith:fence_x", params={"pcmk_host_list": name})
        for name in ("n1", "n2")
    ]
    away = "".join(
        f'<rsc_location id="away-{name}" rsc="off-{name}" node="{name}" score="-INFINITY"/>'
        for name in ("n1", "n2")
    )
    options = {"stonith-enabled": "true", "have-watchdog": "false"}

    def lost(*resources: str) -> list[set[str]]:
        cib = element(document([*devices, *resources], constraints=away, options=options))
        return [{one.resource for one in loss.unserved} for loss in losses(cib, NOW_S, 1)]

    assert lost() == [set(), set(), set()]
    both = primitive("off-both", agent="stonith:fence_x", params={"pcmk_host_list": "n1 n2"})
    away += '<rsc_location id="ban" rsc="off-both" node="n2" score="-INFINITY"/>'
    assert lost(both) == [set(), {"off-both"}, set()]


def test_a_node_that_was_unfenced_needs_it_no_more() -> None:
    """Else what unfences a node would be asked for in each transition, and the cluster never be at rest."""
    device = primitive("scsi", agent="stonith:fence_scsi", meta={"provides": "unfencing"})
    cib = element(document([device, primitive("web")], options={"stonith-enabled": "true"}))
    first = [action.key for action in schedule(cib, NOW_S).graph.actions()]
    assert {"stonith-n1-on", "stonith-n2-on"} <= set(first)
    settled = run_until_settled(cib, NOW_S)
    assert settled.settled
    assert settled.transitions == 1
    assert not schedule(settled.cib, NOW_S).graph.synapses
    assert all(loss.settled and not loss.unserved for loss in losses(cib, NOW_S, 1))


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
