"""A transition graph as SVG for a browser: layers from left to right, what comes first on the left. Pure.

The layout is Sugiyama's in short: an action's layer is one more than the highest of its inputs', and within a
layer actions are ordered by the middle of their neighbours' places, a few sweeps to and fro.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from crm.transition.graph import ActionKind, GraphAction, TransitionGraph

SWEEPS: Final = 6
_ROW_PX: Final = 40
_BOX_HEIGHT_PX: Final = 28
_GAP_PX: Final = 70
_MARGIN_PX: Final = 20
_CHARACTER_PX: Final = 7.2
"""Width of a character of the 12 px monospaced letters."""
_FILL: Final[Mapping[ActionKind, str]] = {
    ActionKind.RESOURCE: "#e6f2e6",
    ActionKind.PSEUDO: "#f4f4f4",
    ActionKind.CLUSTER: "#fbe3e0",
}
_FRAME: Final[Mapping[ActionKind, str]] = {
    ActionKind.RESOURCE: "#2e7d32",
    ActionKind.PSEUDO: "#b8860b",
    ActionKind.CLUSTER: "#b71c1c",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    action: GraphAction
    text: str
    x: float
    y: float
    width: float


def svg_text(graph: TransitionGraph, reasons: Mapping[int, str] | None = None) -> str:
    """The whole picture. `reasons` by action id become the boxes' tooltips."""
    inputs = {action.id: list(synapse.inputs) for synapse in graph.synapses for action in synapse.actions}
    for action in graph.unwritten:
        inputs[action.id] = []
    actions = {action.id: action for action in (*graph.actions(), *graph.unwritten)}
    layers = _ordered(_layers(inputs), inputs)
    boxes = _boxes(layers, actions)
    width = max((box.x + box.width for box in boxes.values()), default=0.0) + _MARGIN_PX
    height = max((box.y + _BOX_HEIGHT_PX for box in boxes.values()), default=0.0) + _MARGIN_PX
    unwritten = {action.id for action in graph.unwritten}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="12">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#666"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
        *(
            _edge(boxes[before], boxes[after])
            for after, befores in inputs.items()
            for before in befores
            if before in boxes
        ),
        *(_drawn(box, (reasons or {}).get(number, ""), number in unwritten) for number, box in boxes.items()),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _layers(inputs: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """Longest paths; what waits for itself in a circle stands after the others."""
    waiting = {number: {one for one in befores if one in inputs} for number, befores in inputs.items()}
    after: dict[int, list[int]] = {number: [] for number in inputs}
    for number, befores in waiting.items():
        for one in befores:
            after[one].append(number)
    layers: list[list[int]] = []
    ready = [number for number, befores in waiting.items() if not befores]
    placed: set[int] = set()
    while ready:
        layers.append(ready)
        placed.update(ready)
        following: list[int] = []
        for number in ready:
            for one in after[number]:
                waiting[one].discard(number)
                if not waiting[one]:
                    following.append(one)
        ready = following
    left = [number for number in inputs if number not in placed]
    return [*layers, left] if left else layers


def _ordered(layers: list[list[int]], inputs: Mapping[int, Sequence[int]]) -> list[list[int]]:
    neighbours: dict[int, list[int]] = {number: list(befores) for number, befores in inputs.items()}
    for number, befores in inputs.items():
        for one in befores:
            neighbours.setdefault(one, []).append(number)
    place = {number: float(at) for layer in layers for at, number in enumerate(layer)}

    def middle(number: int) -> float:
        others = [place[one] for one in neighbours[number] if one in place]
        return sum(others) / len(others) if others else place[number]

    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            layer.sort(key=middle)
            place.update((number, float(at)) for at, number in enumerate(layer))
    return layers


def _boxes(layers: list[list[int]], actions: Mapping[int, GraphAction]) -> dict[int, _Box]:
    boxes: dict[int, _Box] = {}
    x = float(_MARGIN_PX)
    tallest = max((len(layer) for layer in layers), default=0)
    for layer in layers:
        texts = {number: f"{actions[number].key} {actions[number].node}".strip() for number in layer}
        widest = max(len(text) for text in texts.values()) * _CHARACTER_PX + 16
        top = _MARGIN_PX + (tallest - len(layer)) * _ROW_PX / 2
        for row, number in enumerate(layer):
            boxes[number] = _Box(
                action=actions[number], text=texts[number], x=x, y=top + row * _ROW_PX, width=widest
            )
        x += widest + _GAP_PX
    return boxes


def _edge(before: _Box, after: _Box) -> str:
    x1, y1 = before.x + before.width, before.y + _BOX_HEIGHT_PX / 2
    x2, y2 = after.x, after.y + _BOX_HEIGHT_PX / 2
    bend = max(_GAP_PX / 2, abs(x2 - x1) / 3)
    return (
        f'<path d="M{x1:.1f},{y1:.1f} C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}" '
        'fill="none" stroke="#999" marker-end="url(#arrow)"/>'
    )


def _drawn(box: _Box, reason: str, unwritten: bool) -> str:
    kind = box.action.kind
    dashes = ' stroke-dasharray="4 3"' if kind is ActionKind.PSEUDO or unwritten else ""
    told = f"{box.text}: {reason}" if reason else box.text
    return (
        f"<g><title>{_escaped(told)}</title>"
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{_BOX_HEIGHT_PX}" rx="4" '
        f'fill="{_FILL[kind]}" stroke="{_FRAME[kind]}"{dashes}/>'
        f'<text x="{box.x + 8:.1f}" y="{box.y + 18:.1f}">{_escaped(box.text)}</text></g>'
    )


def _escaped(text: str) -> str:
    """For XML; characters that XML cannot hold are left out."""
    kept = "".join(one for one in text if one >= " " and one not in "\ufffe\uffff")
    return kept.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
