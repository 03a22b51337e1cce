"""A stored transition's graph (XML) as Graphviz text: each action, and an arrow to each that waits. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from crm.cib.model import Element

_KINDS = ("rsc_op", "pseudo_event", "crm_event")


def graph_dot(graph: Element) -> str:
    """Orange letters: nothing is run for it."""
    lines = ['digraph "transition" {']
    names: set[str] = set()
    arrows: list[str] = []
    synapses = graph.all("synapse")
    for synapse in synapses:
        for action in _actions(synapse):
            names.add(action.get("id"))
            label = _escaped(action.get("operation_key") or action.get("operation"))
            if action.get("on_node"):
                label += f"\\n{_escaped(action.get('on_node'))}"
            colour = "orange" if action.tag == "pseudo_event" else "black"
            lines.append(f'  "{_escaped(action.get("id"))}" [label="{label}" fontcolor="{colour}"]')
    for synapse in synapses:
        before = [one.get("id") for part in synapse.all("inputs") for one in part.walk() if one.tag in _KINDS]
        for action in _actions(synapse):
            arrows += [
                f'  "{_escaped(one)}" -> "{_escaped(action.get("id"))}"' for one in before if one in names
            ]
    return "\n".join([*lines, *arrows, "}"]) + "\n"


def _actions(synapse: Element) -> Iterator[Element]:
    for part in synapse.all("action_set"):
        yield from (one for one in part.children if one.tag in _KINDS)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
