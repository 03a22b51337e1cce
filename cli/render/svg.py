"""A transition graph as SVG for a browser: time runs from left to right. Pure.

A card is an action: coloured by what is done, with a stripe in the colour of its node; a dot is a point in
time. Probes of one resource that wait for, and are waited for by, the same are one card. Arrows that follow
from others are left out. Everything has a tooltip with its full name, its reason and what it waits for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cli.render.layers import Layout, layout
from crm.scheduler.actions import split_key
from crm.transition.graph import ActionKind, GraphAction, TransitionGraph
from hacluster.digits import is_count
from hacluster.durations import render_ms

_CARD_HEIGHT_PX: Final = 38
_DOT_PX: Final = 10
_ROW_GAP_PX: Final = 10
_COLUMN_GAP_PX: Final = 56
_DOT_COLUMN_GAP_PX: Final = 26
_MARGIN_PX: Final = 24
_HEAD_LINE_PX: Final = 22
_BOLD_PX: Final = 7.3
_SMALL_PX: Final = 6.3
"""Widths of a character of the two sizes of letters, with some to spare."""
_TITLE_MAX: Final = 30
_LINE_MAX: Final = 42
_NODES_SHOWN_MAX: Final = 12
_NODES_ON_CARD_MAX: Final = 3
_WAITS_SHOWN_MAX: Final = 20
_WIDTH_MIN_PX: Final = 560


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """Colours of one kind of operation, and what the legend calls it."""

    fill: str
    frame: str
    name: str


_STYLES: Final[Mapping[str, _Style]] = {
    "fence": _Style(fill="#ffd9d6", frame="#b3261e", name="fence"),
    "stop": _Style(fill="#ffe6cc", frame="#b45f06", name="stop"),
    "demote": _Style(fill="#fff2b8", frame="#8a6d00", name="demote"),
    "start": _Style(fill="#d7f0d9", frame="#22702a", name="start"),
    "promote": _Style(fill="#d6e4ff", frame="#1d4ea8", name="promote"),
    "migrate": _Style(fill="#d2f1f0", frame="#0f6e6b", name="migrate"),
    "monitor": _Style(fill="#f1f3f5", frame="#6c757d", name="probe, monitor"),
    "notify": _Style(fill="#f3e8fb", frame="#7a3fa0", name="notify"),
    "other": _Style(fill="#ffffff", frame="#495057", name="other"),
}
_KIND_OF: Final[Mapping[str, str]] = {
    "stonith": "fence",
    "stop": "stop",
    "demote": "demote",
    "start": "start",
    "reload": "start",
    "reload-agent": "start",
    "promote": "promote",
    "migrate_to": "migrate",
    "migrate_from": "migrate",
    "monitor": "monitor",
    "cancel": "monitor",
    "notify": "notify",
}
_NODE_COLOURS: Final = (
    "#1b6ca8", "#d1495b", "#2e933c", "#8f5db7", "#e08e0b", "#17a2a2",
    "#7a5c3e", "#c2378e", "#5b6770", "#9bbf30", "#34495e", "#b8a200",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """A card or a dot with what stands on it. `actions`: several for joined probes."""

    actions: tuple[GraphAction, ...]
    kind: str  # a key of _STYLES, "" for a dot
    title: str = ""
    line: str = ""
    unwritten: bool = False

    @property
    def width(self) -> float:
        if not self.kind:
            return _DOT_PX
        return max(len(self.title) * _BOLD_PX, len(self.line) * _SMALL_PX) + 24

    @property
    def height(self) -> float:
        return _CARD_HEIGHT_PX if self.kind else _DOT_PX


def svg_text(graph: TransitionGraph, reasons: Mapping[int, str] | None = None) -> str:
    """The whole picture. `reasons` by action id are shown in the tooltips."""
    boxes, inputs = _boxes(graph)
    found = layout(inputs, {number: box.height for number, box in boxes.items()}, _ROW_GAP_PX)
    names = sorted({one.node for box in boxes.values() for one in box.actions if box.kind and one.node})
    colours = {name: _NODE_COLOURS[at % len(_NODE_COLOURS)] for at, name in enumerate(names)}
    head = _head(graph, boxes, colours)
    head_text, head_width = _head_text(head)
    top = _MARGIN_PX + _HEAD_LINE_PX * len(head) + 10
    places, width = _columns(found, boxes)
    width = max(width, head_width + _MARGIN_PX, _WIDTH_MIN_PX)
    middle = {number: top + y for number, y in found.middle.items()}
    lowest = max((y + (boxes[one].height / 2 if one >= 0 else 0) for one, y in middle.items()), default=top)
    told = _Told(graph, boxes, reasons or {})
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{lowest + _MARGIN_PX:.0f}" '
        f'viewBox="0 0 {width:.0f} {lowest + _MARGIN_PX:.0f}" role="img" '
        "font-family=\"'Liberation Sans','DejaVu Sans',Arial,Helvetica,sans-serif\">",
        f"<title>{_escaped(_caption(graph))}</title>",
        _STYLE,
        '<rect width="100%" height="100%" fill="white"/>',
        *head_text,
        *_arrows(found, middle, places),
        *(
            _drawn(box, places[number].left, middle[number], colours, told.about(box))
            for number, box in boxes.items()
        ),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


_STYLE: Final = (
    "<style>.n{font-size:12px;font-weight:bold;fill:#212529}.o{font-size:11px;fill:#343a40}"
    ".h{font-size:12px;fill:#343a40}.t{font-size:15px;font-weight:bold;fill:#212529}"
    ".a{fill:none;stroke:#8a949e;stroke-width:1.2}.d{fill:#ced4da;stroke:#8a949e}"
    ".b:hover rect{stroke-width:3}.b:hover circle{fill:#212529}"
    "</style>"
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="6.5" markerHeight="6.5" '
    'orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="#6c757d"/></marker></defs>'
)


# --- what is drawn


def _waits(graph: TransitionGraph) -> dict[int, list[int]]:
    return {action.id: list(synapse.inputs) for synapse in graph.synapses for action in synapse.actions}


def _boxes(graph: TransitionGraph) -> tuple[dict[int, _Box], dict[int, list[int]]]:
    """Boxes by the id of their first action, and what each waits for."""
    waits = _waits(graph)
    followers: dict[int, list[int]] = {}
    for number, befores in waits.items():
        for one in befores:
            followers.setdefault(one, []).append(number)
    groups: dict[object, list[GraphAction]] = {}
    for action in graph.actions():
        probe = _is_probe(action)
        key = (
            (action.key, tuple(sorted(waits[action.id])), tuple(sorted(followers.get(action.id, ()))))
            if probe
            else action.id
        )
        groups.setdefault(key, []).append(action)
    boxes = {some[0].id: _box(some) for some in groups.values()}
    boxes.update({action.id: _box([action], unwritten=True) for action in graph.unwritten})
    first_of = {one.id: number for number, box in boxes.items() for one in box.actions}
    inputs = {number: [first_of[one] for one in waits.get(number, ()) if one in first_of] for number in boxes}
    return boxes, inputs


def _is_probe(action: GraphAction) -> bool:
    return (
        action.kind is ActionKind.RESOURCE
        and action.operation == "monitor"
        and action.attributes.get("CRM_meta_interval", "0") in ("", "0")
    )


def _box(actions: Sequence[GraphAction], *, unwritten: bool = False) -> _Box:
    action = actions[0]
    if action.kind is ActionKind.PSEUDO and action.operation != "stonith":
        return _Box(actions=tuple(actions), kind="", unwritten=unwritten)
    kind = _KIND_OF.get(action.operation, "other")
    if action.operation == "stonith":
        how = action.attributes.get("CRM_meta_stonith_action", "reboot")
        title, line = f"fence {action.node}", how
    else:
        title = _subject(action)
        nodes = ", ".join(sorted(one.node for one in actions if one.node))
        if len(actions) > _NODES_ON_CARD_MAX:
            nodes = f"{len(actions)} nodes"
        line = f"{_verb(action)} on {nodes}" if nodes else _verb(action)
    return _Box(
        actions=tuple(actions),
        kind=kind,
        title=_short(title, _TITLE_MAX),
        line=_short(line, _LINE_MAX),
        unwritten=unwritten,
    )


def _subject(action: GraphAction) -> str:
    parts = split_key(action.key)
    return parts[0] if parts is not None else action.key


def _verb(action: GraphAction) -> str:
    interval = action.attributes.get("CRM_meta_interval", "0") or "0"
    match action.operation:
        case "monitor" if interval == "0":
            return "probe"
        case "monitor":
            return f"monitor each {render_ms(int(interval))}" if is_count(interval) else "monitor"
        case "cancel":
            task = action.attributes.get("CRM_meta_name", "monitor")
            return f"end {task} each {render_ms(int(interval))}" if is_count(interval) else f"end {task}"
        case "notify":
            when = action.attributes.get("CRM_meta_notify_type", "")
            what = action.attributes.get("CRM_meta_notify_operation", "")
            return f"notify {when}-{what}" if when else "notify"
        case operation:
            return operation.replace("_", " ")


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _full_name(action: GraphAction) -> str:
    return f"{action.key} on {action.node}" if action.node else action.key


# --- where


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The left edge of an item, its width, and the column it stands in."""

    left: float
    width: float
    column: tuple[float, float]  # left and right edge


def _columns(found: Layout, boxes: Mapping[int, _Box]) -> tuple[dict[int, _Place], float]:
    """Where everything stands, waypoints included, and the width of it all."""
    places: dict[int, _Place] = {}
    x, gap = float(_MARGIN_PX), 0.0
    for layer in found.layers:
        widest = max((boxes[one].width for one in layer if one >= 0), default=0.0)
        for one in layer:
            own = boxes[one].width if one >= 0 else widest
            inset = (widest - own) / 2 if one >= 0 and not boxes[one].kind else 0.0
            places[one] = _Place(left=x + inset, width=own, column=(x, x + widest))
        cards = any(one >= 0 and boxes[one].kind for one in layer)
        gap = _COLUMN_GAP_PX if cards else _DOT_COLUMN_GAP_PX
        x += widest + gap
    return places, x - gap + _MARGIN_PX


def _arrows(found: Layout, middle: Mapping[int, float], places: Mapping[int, _Place]) -> Iterator[str]:
    """Level within columns, curved between them, so that no arrow runs over a card."""
    for way in found.ways.values():
        first, last = way[0], way[-1]
        x, y = places[first].left + places[first].width, middle[first]
        parts = [f"M{x:.1f},{y:.1f}"]
        for before, one in itertools.pairwise(way):
            here = places[one]
            edge = here.column[0]
            if x < places[before].column[1]:
                x = places[before].column[1]
                parts.append(f"H{x:.1f}")
            if y == middle[one]:
                parts.append(f"H{edge:.1f}")
            else:
                bend = (edge - x) / 2
                lower = f"{middle[one]:.1f}"
                parts.append(f"C{x + bend:.1f},{y:.1f} {edge - bend:.1f},{lower} {edge:.1f},{lower}")
            x, y = edge, middle[one]
            if one >= 0 and here.left > edge:
                x = here.left
                parts.append(f"H{x:.1f}")
        tip = ' marker-end="url(#arrow)"'
        yield f'<path class="a" data-from="{first}" data-to="{last}" d="{" ".join(parts)}"{tip}/>'


def _drawn(box: _Box, x: float, y: float, colours: Mapping[str, str], told: str) -> str:
    ids = " ".join(str(one.id) for one in box.actions)
    head = f'<g class="b" data-id="{ids}"><title>{_escaped(told)}</title>'
    if not box.kind:
        dash = ' stroke-dasharray="2 2"' if box.unwritten else ""
        radius = _DOT_PX / 2 - 0.5
        return f'{head}<circle class="d" cx="{x + _DOT_PX / 2:.1f}" cy="{y:.1f}" r="{radius}"{dash}/></g>'
    style = _STYLES[box.kind]
    upper = y - box.height / 2
    dash = ' stroke-dasharray="4 3"' if box.unwritten or box.actions[0].kind is ActionKind.PSEUDO else ""
    stripes = "".join(
        f'<rect x="{x:.1f}" y="{upper + at * box.height / len(box.actions):.1f}" width="5" '
        f'height="{box.height / len(box.actions):.1f}" fill="{colours.get(one.node, "none")}" stroke="none"/>'
        for at, one in enumerate(box.actions)
    )
    return (
        f'{head}<rect x="{x:.1f}" y="{upper:.1f}" width="{box.width:.1f}" height="{box.height}" rx="3" '
        f'fill="{style.fill}" stroke="{style.frame}" stroke-width="1.2"{dash}/>{stripes}'
        f'<text class="n" x="{x + 12:.1f}" y="{upper + 16:.1f}">{_escaped(box.title)}</text>'
        f'<text class="o" x="{x + 12:.1f}" y="{upper + 31:.1f}">{_escaped(box.line)}</text></g>'
    )


class _Told:
    """Tooltips."""

    def __init__(self, graph: TransitionGraph, boxes: Mapping[int, _Box], reasons: Mapping[int, str]) -> None:
        self._reasons = reasons
        self._names = {one.id: _full_name(one) for box in boxes.values() for one in box.actions}
        self._waits = _waits(graph)

    def about(self, box: _Box) -> str:
        """Full names, reasons, and what is waited for."""
        lines: list[str] = []
        for one in box.actions:
            lines.append(_full_name(one))
            if self._reasons.get(one.id):
                lines.append(f"because: {self._reasons[one.id]}")
        if not box.kind:
            lines.append("a point in time")
        befores = [name for one in self._waits.get(box.actions[0].id, ()) if (name := self._names.get(one))]
        shown = befores[:_WAITS_SHOWN_MAX]
        if shown:
            lines += ["waits for:", *(f"  {name}" for name in shown)]
        if len(befores) > len(shown):
            lines.append(f"  and {len(befores) - len(shown)} more")
        return "\n".join(lines)


# --- heading and legend


def _caption(graph: TransitionGraph) -> str:
    total = [action.kind for action in graph.actions()]
    points = sum(kind is ActionKind.PSEUDO for kind in total)
    actions = len(total) - points
    return (
        f"Transition: {actions} action{'' if actions == 1 else 's'}, "
        f"{points} point{'' if points == 1 else 's'} in time"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A swatch with its name in the legend. `shape`: title, card, dot, stripe, or none."""

    name: str
    shape: str
    style: str = ""

    @property
    def width(self) -> float:
        return len(self.name) * (9.2 if self.shape == "title" else 6.9) + _SWATCHES_PX[self.shape]

    def drawn(self, x: float, y: float) -> str:
        left, name = x + _SWATCHES_PX[self.shape], _escaped(self.name)
        letters = "t" if self.shape == "title" else "h"
        text = f'<text class="{letters}" x="{left:.0f}" y="{y:.0f}">{name}</text>'
        match self.shape:
            case "card":
                swatch = f'<rect x="{x:.0f}" y="{y - 10:.0f}" width="14" height="12" rx="2" {self.style}/>'
            case "dot":
                swatch = f'<circle class="d" cx="{x + 5:.0f}" cy="{y - 4:.0f}" r="4.5"/>'
            case "stripe":
                swatch = f'<rect x="{x:.0f}" y="{y - 10:.0f}" width="5" height="12" {self.style}/>'
            case _:
                swatch = ""
        return swatch + text


_SWATCHES_PX: Final[Mapping[str, int]] = {"title": 0, "card": 19, "dot": 15, "stripe": 10, "none": 0}


def _head(
    graph: TransitionGraph, boxes: Mapping[int, _Box], colours: Mapping[str, str]
) -> list[list[_Entry]]:
    """The title, the operations that occur, the nodes."""
    used = {box.kind for box in boxes.values()}
    operations = [
        _Entry(name=style.name, shape="card", style=f'fill="{style.fill}" stroke="{style.frame}"')
        for kind, style in _STYLES.items()
        if kind in used
    ]
    operations += [_Entry(name="point in time", shape="dot")] if "" in used else []
    names = list(colours)
    nodes = [
        _Entry(name=name, shape="stripe", style=f'fill="{colours[name]}"')
        for name in names[:_NODES_SHOWN_MAX]
    ]
    if len(names) > _NODES_SHOWN_MAX:
        nodes.append(_Entry(name=f"and {len(names) - _NODES_SHOWN_MAX} more nodes", shape="none"))
    lines = [[_Entry(name=_caption(graph), shape="title")], operations, nodes]
    return [line for line in lines if line]


def _head_text(head: Sequence[Sequence[_Entry]]) -> tuple[list[str], float]:
    """Markup, and the right edge."""
    found: list[str] = []
    right = 0.0
    for at, line in enumerate(head):
        x, y = float(_MARGIN_PX), _MARGIN_PX + 8.0 + at * _HEAD_LINE_PX
        for entry in line:
            found.append(entry.drawn(x, y))
            x += entry.width + 14
        right = max(right, x)
    return found, right


def _escaped(text: str) -> str:
    """For XML; characters that XML cannot hold are left out."""
    kept = "".join(one for one in text if (one >= " " or one == "\n") and one not in "\ufffe\uffff")
    return kept.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
