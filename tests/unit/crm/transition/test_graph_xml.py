from __future__ import annotations

from pathlib import Path

import pytest

from crm.cib.codec import canonical, parse
from crm.cib.model import element
from crm.scheduler.pipeline import schedule
from crm.transition.graph import ActionKind, GraphAction, Synapse, TransitionGraph, to_element
from crm.transition.graph_xml import graph_xml

BASES = Path(__file__).parents[3] / "fuzz" / "bases"


@pytest.mark.parametrize("path", sorted(BASES.glob("*.xml")), ids=lambda path: path.stem)
def test_the_bytes_are_those_of_the_element(path: Path) -> None:
    graph = schedule(parse(path.read_bytes()), 1_700_000_000).graph
    assert graph_xml(graph) == canonical(to_element(graph))


def test_everything_a_graph_can_hold() -> None:
    first = GraphAction(id=3, kind=ActionKind.PSEUDO, xml={"operation": "a<b"})
    second = GraphAction(
        id=5,
        kind=ActionKind.RESOURCE,
        xml={"operation": "start", "on_node": 'n"1'},
        attributes={"z": "1\n2", "1st": "x&y", "a": ""},
        children=(element("primitive", {"id": "p"}, element("inner")),),
    )
    graph = TransitionGraph(
        synapses=(Synapse(id=0, actions=(second,), inputs=(3,), priority=7),),
        xml={"transition_id": "0", "batch-limit": "0"},
        unwritten=(first,),
    )
    assert graph_xml(graph) == canonical(to_element(graph))
    assert graph_xml(TransitionGraph()) == canonical(to_element(TransitionGraph()))
