from __future__ import annotations

import pytest

from crm.cib import codec
from crm.cib.model import element
from crm.transition.graph import ActionKind, GraphAction, Synapse, TransitionGraph, from_element, to_element

START = GraphAction(
    id=4,
    kind=ActionKind.RESOURCE,
    xml={"operation": "start", "operation_key": "web_start_0", "on_node": "n1", "on_node_uuid": "1"},
    attributes={"CRM_meta_timeout": "20000", "1st": "x"},
    children=(element("primitive", {"id": "web", "class": "ocf", "type": "Dummy"}),),
)
RUNNING = GraphAction(
    id=7, kind=ActionKind.PSEUDO, xml={"operation": "running", "operation_key": "g_running_0"}
)
GRAPH = TransitionGraph(
    synapses=(
        Synapse(id=0, actions=(START,), priority=5),
        Synapse(id=1, actions=(RUNNING,), inputs=(4,)),
    ),
    xml={"transition_id": "0", "cluster-delay": "60s"},
)


def test_xml_reads_back() -> None:
    assert from_element(codec.parse(codec.render(to_element(GRAPH)))) == GRAPH


def test_triggers_name_the_action_without_its_attributes() -> None:
    trigger = to_element(GRAPH).children[1].path("inputs", "trigger", "rsc_op")
    assert trigger is not None
    assert trigger.get("operation_key") == "web_start_0"
    assert not trigger.children


def test_a_graph_without_numbers_is_named() -> None:
    with pytest.raises(ValueError, match="synapse x"):
        from_element(element("transition_graph", None, element("synapse", {"id": "x"})))
