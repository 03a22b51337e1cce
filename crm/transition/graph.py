"""The transition graph: what is to be done, and what must come before what.

Names follow Pacemaker's transition graph; `to_element` and `from_element` are its XML form.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from crm.cib.model import Element
from hacluster.records import field, record


class ActionKind(StrEnum):
    """The XML element an action is written as."""

    RESOURCE = "rsc_op"
    PSEUDO = "pseudo_event"
    CLUSTER = "crm_event"


@record(frozen=True, kw_only=True)
class GraphAction:
    """One thing to do.

    `xml` are the attributes of the action's element but for its id (operation, operation_key, on_node,
    on_node_uuid, router_node, ...); `attributes` the names and values of its <attributes> child: CRM_meta_*
    and instance parameters; `children` its other children (<primitive>, <downed>, <maintenance>).
    """

    id: int
    kind: ActionKind
    xml: Mapping[str, str]
    attributes: Mapping[str, str] = field(default_factory=dict)
    children: tuple[Element, ...] = ()

    @property
    def operation(self) -> str:
        """The task: start, stop, monitor, stonith, ..."""
        return self.xml.get("operation", "")

    @property
    def key(self) -> str:
        """RSC_TASK_INTERVALms."""
        return self.xml.get("operation_key", "")

    @property
    def node(self) -> str:
        """The name of the node it is for; empty for pseudo events without one."""
        return self.xml.get("on_node", "")


@record(frozen=True, kw_only=True)
class Synapse:
    """Actions that become possible once all actions named in `inputs` are confirmed."""

    id: int
    actions: tuple[GraphAction, ...]
    inputs: tuple[int, ...] = ()
    priority: int = 0


@record(frozen=True, kw_only=True)
class TransitionGraph:
    """All synapses in the order they were written; `xml` are the attributes of <transition_graph>.

    `unwritten` are actions that inputs name but no synapse holds: what waits for them can never fire.
    """

    synapses: tuple[Synapse, ...] = ()
    xml: Mapping[str, str] = field(default_factory=dict)
    unwritten: tuple[GraphAction, ...] = ()

    def actions(self) -> tuple[GraphAction, ...]:
        """Every action, in order."""
        return tuple(action for synapse in self.synapses for action in synapse.actions)


def to_element(graph: TransitionGraph) -> Element:
    """The graph as Pacemaker's XML."""
    by_id = {action.id: action for action in (*graph.unwritten, *graph.actions())}
    return Element(
        "transition_graph", dict(graph.xml), tuple(_synapse(synapse, by_id) for synapse in graph.synapses)
    )


def _synapse(synapse: Synapse, by_id: Mapping[int, GraphAction]) -> Element:
    attributes = {"id": str(synapse.id)}
    if synapse.priority > 0:
        attributes["priority"] = str(synapse.priority)
    action_set = Element("action_set", {}, tuple(_action(action, full=True) for action in synapse.actions))
    triggers = tuple(
        Element("trigger", {}, (_action(by_id[number], full=False),)) for number in synapse.inputs
    )
    return Element("synapse", attributes, (action_set, Element("inputs", {}, triggers)))


def _action(action: GraphAction, *, full: bool) -> Element:
    attributes = {"id": str(action.id), **action.xml}
    if not full:
        return Element(action.kind.value, attributes)
    named = {name: value for name, value in sorted(action.attributes.items()) if not name[:1].isdigit()}
    params = tuple(
        Element("param", {"name": name, "value": value})
        for name, value in sorted(action.attributes.items())
        if name[:1].isdigit()
    )
    return Element(action.kind.value, attributes, (*action.children, Element("attributes", named, params)))


def from_element(root: Element) -> TransitionGraph:
    """Read Pacemaker's XML. Raises ValueError naming the synapse where a number is missing."""
    return TransitionGraph(
        xml=dict(root.attributes), synapses=tuple(_read_synapse(item) for item in root.all("synapse"))
    )


def _read_synapse(item: Element) -> Synapse:
    actions = item.child("action_set")
    inputs = item.child("inputs")
    triggers = inputs.all("trigger") if inputs is not None else ()
    try:
        return Synapse(
            id=int(item.id),
            priority=int(item.get("priority", "0")),
            actions=tuple(_read_action(action) for action in (actions.children if actions else ())),
            inputs=tuple(int(inner.id) for trigger in triggers for inner in trigger.children),
        )
    except ValueError as error:
        raise ValueError(f"synapse {item.id or '(no id)'}: {error}") from None


def _read_action(item: Element) -> GraphAction:
    values = item.child("attributes")
    named = dict(values.attributes) if values is not None else {}
    for param in values.all("param") if values is not None else ():
        named[param.get("name")] = param.get("value")
    return GraphAction(
        id=int(item.id),
        kind=ActionKind(item.tag),
        xml={name: value for name, value in item.attributes.items() if name != "id"},
        attributes=named,
        children=tuple(child for child in item.children if child.tag != "attributes"),
    )
