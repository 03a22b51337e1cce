"""The transition graph as bytes, at once: what `codec.canonical(graph.to_element(graph))` would give."""

from __future__ import annotations

from collections.abc import Mapping

from crm.cib.codec import canonical_text, escape
from crm.transition.graph import GraphAction, TransitionGraph


def graph_xml(graph: TransitionGraph) -> bytes:
    """Pacemaker's XML in canonical form. An action's head is made once, however often it is named."""
    heads: dict[int, str] = {}
    for action in graph.unwritten:
        heads[action.id] = _head(action)
    for synapse in graph.synapses:
        for action in synapse.actions:
            heads[action.id] = _head(action)
    triggers = {number: f"<trigger>{_closed(head)}</trigger>" for number, head in heads.items()}
    parts = [f"<transition_graph{_attributes(graph.xml)}>"]
    for synapse in graph.synapses:
        priority = f' priority="{synapse.priority}"' if synapse.priority > 0 else ""
        parts.append(f'<synapse id="{synapse.id}"{priority}><action_set>')
        for action in synapse.actions:
            parts += [heads[action.id], *map(canonical_text, action.children), _values(action)]
            parts.append(f"</{action.kind.value}>")
        parts.append("</action_set><inputs>")
        parts += [triggers[number] for number in synapse.inputs]
        parts.append("</inputs></synapse>")
    parts.append("</transition_graph>")
    return "".join(parts).encode()


def _head(action: GraphAction) -> str:
    return f"<{action.kind.value}{_attributes({'id': str(action.id), **action.xml})}>"


def _closed(head: str) -> str:
    return f"{head}</{head[1 : head.index(' ')]}>"


def _attributes(values: Mapping[str, str]) -> str:
    return "".join([f' {name}="{escape(value)}"' for name, value in sorted(values.items())])


def _values(action: GraphAction) -> str:
    """<attributes>: names that XML does not allow become <param>s."""
    named: list[str] = []
    params: list[str] = []
    for name, value in sorted(action.attributes.items()):
        if name[:1].isdigit():
            params.append(f'<param name="{escape(name)}" value="{escape(value)}"></param>')
        else:
            named.append(f' {name}="{escape(value)}"')
    return f"<attributes{''.join(named)}>{''.join(params)}</attributes>"
