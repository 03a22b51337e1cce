"""A transition graph as Graphviz text: an arrow from what comes first to what waits for it. Pure."""

from __future__ import annotations

from crm.transition.graph import ActionKind, GraphAction, TransitionGraph


def dot_text(graph: TransitionGraph) -> str:
    """Pseudo events have orange letters; fencing and other cluster actions a red frame."""
    names = {action.id: _name(action) for action in graph.actions()}
    lines = ['digraph "g" {']
    for action in graph.actions():
        font = "orange" if action.kind is ActionKind.PSEUDO else "black"
        frame = "red" if action.kind is ActionKind.CLUSTER else "green"
        lines.append(f'{names[action.id]} [ style=bold color="{frame}" fontcolor="{font}"]')
    arrows = {
        f"{names[before]} -> {names[action.id]} [ style = bold]"
        for synapse in graph.synapses
        for action in synapse.actions
        for before in synapse.inputs
    }
    return "\n".join([*lines, *sorted(arrows), "}"]) + "\n"


def _name(action: GraphAction) -> str:
    text = f"{action.key} {action.node}".strip()
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
