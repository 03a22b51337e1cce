"""A configuration as a picture, for Graphviz and for a browser: resources and constraints. Pure.

An order is a whole arrow from what comes first to what waits; a colocation a dashed one from what is placed
to what it is placed by. Locations and tickets stand on the cards, members on their container's card.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Final

from cli.grammar.document import RESOURCE_TAGS, parent_of, section
from cli.grammar.words import score_text
from cli.render.layers import layout
from crm.cib.model import Element

_CHARACTER_PX: Final = 6.7
_LINE_PX: Final = 16
_PADDING_PX: Final = 10
_GAP_PX: Final = 18
_COLUMN_GAP_PX: Final = 90
_MARGIN_PX: Final = 24
_LOCATIONS_SHOWN_MAX: Final = 6
_BOLD: Final = ' font-weight="bold"'


@dataclass(slots=True)
class _Card:
    """One resource at the top level; `notes` are its locations and tickets."""

    id: str
    kind: str
    members: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        rest = self.notes[:_LOCATIONS_SHOWN_MAX]
        if len(self.notes) > _LOCATIONS_SHOWN_MAX:
            rest.append(f"… {len(self.notes) - _LOCATIONS_SHOWN_MAX} more")
        return [self.id, self.kind, *(f"· {one}" for one in self.members), *rest]

    @property
    def width(self) -> float:
        return max(len(line) for line in self.lines) * _CHARACTER_PX + 2 * _PADDING_PX

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE_PX + 2 * _PADDING_PX


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrow:
    tail: str
    head: str
    label: str
    dashed: bool


def dot_text(cib: Element) -> str:
    """For Graphviz."""
    cards, arrows = _cards(cib), _arrows(cib)
    lines = ["digraph configuration {", "  rankdir=LR", "  node [ shape=box style=rounded ]"]
    lines += [f"  {_quoted(one.id)} [ label={_quoted(chr(10).join(one.lines))} ]" for one in cards.values()]
    for arrow in arrows:
        style = "dashed" if arrow.dashed else "solid"
        lines.append(
            f"  {_quoted(arrow.tail)} -> {_quoted(arrow.head)} [ style={style} label={_quoted(arrow.label)} ]"
        )
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def svg_text(cib: Element) -> str:
    """For a browser."""
    cards, arrows = _cards(cib), _arrows(cib)
    number = {name: index for index, name in enumerate(cards)}
    inputs: dict[int, list[int]] = {index: [] for index in number.values()}
    for arrow in arrows:
        inputs[number[arrow.head]].append(number[arrow.tail])
    boxes = list(cards.values())
    found = layout(inputs, {index: one.height for index, one in enumerate(boxes)}, _GAP_PX)
    left: dict[int, float] = {}
    x = float(_MARGIN_PX)
    for layer in found.layers:
        left.update(dict.fromkeys(layer, x))
        x += max((boxes[one].width for one in layer if one >= 0), default=0.0) + _COLUMN_GAP_PX
    top = min((found.middle[index] - one.height / 2 for index, one in enumerate(boxes)), default=0.0)
    middle = {index: found.middle[index] - top + _MARGIN_PX for index in range(len(boxes))}
    height = (
        max((middle[index] + one.height / 2 for index, one in enumerate(boxes)), default=0.0) + _MARGIN_PX
    )
    width = max(x - _COLUMN_GAP_PX + _MARGIN_PX, 2 * _MARGIN_PX)
    body = [_drawn_card(one, left[index], middle[index]) for index, one in enumerate(boxes)]
    spots = {
        name: (left[index], left[index] + boxes[index].width, middle[index]) for name, index in number.items()
    }
    body += [_drawn_arrow(arrow, spots[arrow.tail], spots[arrow.head]) for arrow in arrows]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="11">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="#495057"/></marker></defs>',
            '<rect width="100%" height="100%" fill="white"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def _drawn_card(card: _Card, left: float, middle: float) -> str:
    top = middle - card.height / 2
    texts = "".join(
        f'<text x="{left + _PADDING_PX:.1f}" y="{top + _PADDING_PX + (row + 0.75) * _LINE_PX:.1f}"'
        f"{'' if row else _BOLD}>{escape(line)}</text>"
        for row, line in enumerate(card.lines)
    )
    return (
        f'<g><rect x="{left:.1f}" y="{top:.1f}" width="{card.width:.1f}" height="{card.height:.1f}" rx="6" '
        f'fill="#f1f3f5" stroke="#495057"/>{texts}</g>'
    )


def _drawn_arrow(arrow: _Arrow, tail: tuple[float, float, float], head: tuple[float, float, float]) -> str:
    """From the side of the one that looks at the other; from bottom to top within a column."""
    forward = head[0] >= tail[1]
    x1, y1 = (tail[1] if forward else tail[0]), tail[2]
    x2, y2 = (head[0] if forward else head[1]), head[2]
    bend = (x2 - x1) / 2 if forward or head[1] <= tail[0] else -_COLUMN_GAP_PX / 2
    dash = ' stroke-dasharray="5 4"' if arrow.dashed else ""
    return (
        f'<path d="M{x1:.1f},{y1:.1f} C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}" '
        f'fill="none" stroke="#495057"{dash} marker-end="url(#tip)">'
        f"<title>{escape(arrow.label)}</title></path>"
        f'<text x="{(x1 + x2) / 2:.1f}" y="{(y1 + y2) / 2 - 4:.1f}" text-anchor="middle" fill="#6c757d" '
        f'font-size="9">{escape(arrow.label)}</text>'
    )


# --- what there is to draw


def _cards(cib: Element) -> dict[str, _Card]:
    found = {one.id: _card(one) for one in section(cib, "resources").all(*RESOURCE_TAGS)}
    for one in section(cib, "constraints").children:
        for name in _own(one, "rsc"):
            card = found.get(_top(cib, name))
            if card is None:
                continue
            if one.tag == "rsc_location":
                card.notes.append(f"{one.id}: {_where(one)}")
            elif one.tag == "rsc_ticket":
                card.notes.append(f"{one.id}: ticket {one.get('ticket')}")
    return found


def _card(resource: Element) -> _Card:
    inside = [part for part in resource.walk() if part.tag in RESOURCE_TAGS and part is not resource]
    kind = resource.tag
    if resource.tag == "primitive":
        kind = ":".join(resource.get(name) for name in ("class", "provider", "type") if resource.get(name))
        kind = kind or f"@{resource.get('template')}"
    return _Card(id=resource.id, kind=kind, members=[one.id for one in inside if one.tag == "primitive"])


def _where(location: Element) -> str:
    if location.get("node"):
        score = location.get("score-attribute") or score_text(location.get("score"))
        return f"{score} {location.get('node')}"
    return "by rule"


def _own(constraint: Element, name: str) -> list[str]:
    if constraint.get(name):
        return [constraint.get(name)]
    return [one.id for part in constraint.all("resource_set") for one in part.all("resource_ref")]


def _top(cib: Element, name: str) -> str:
    parent = parent_of(cib, name)
    while parent is not None:
        name = parent.id
        parent = parent_of(cib, name)
    return name


def _arrows(cib: Element) -> list[_Arrow]:
    names = {one.id for one in section(cib, "resources").all(*RESOURCE_TAGS)}
    found: dict[_Arrow, None] = {}
    for one in section(cib, "constraints").children:
        if one.tag not in ("rsc_order", "rsc_colocation"):
            continue
        dashed = one.tag == "rsc_colocation"
        strength = score_text(one.get("score")) if dashed else one.get("kind")
        label = f"{one.id} {strength}".rstrip()
        for tail, head in _pairs(one, dashed=dashed):
            ends = _top(cib, tail), _top(cib, head)
            if ends[0] != ends[1] and names.issuperset(ends):
                found[_Arrow(tail=ends[0], head=ends[1], label=label, dashed=dashed)] = None
    return list(found)


def _pairs(constraint: Element, *, dashed: bool) -> Iterator[tuple[str, str]]:
    """Tail and head of each arrow; sets one after the other, members of a sequential set likewise."""
    if not constraint.all("resource_set"):
        names = ("rsc", "with-rsc") if dashed else ("first", "then")
        yield constraint.get(names[0]), constraint.get(names[1])
        return
    before: Sequence[str] = ()
    for one in constraint.all("resource_set"):
        members = [ref.id for ref in one.all("resource_ref")]
        sequential = one.get("sequential", "true") == "true"
        firsts = members[:1] if sequential else members
        for left in before:
            for right in firsts:
                yield (right, left) if dashed else (left, right)
        if sequential:
            for left, right in pairwise(members):
                yield (right, left) if dashed else (left, right)
        before = members[-1:] if sequential else members
