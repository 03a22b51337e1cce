"""A configuration as text that gives the very same XML back: ids, order and comments included.

`show` prints what people read and leaves out the ids that nobody refers to; this prints `$id=` where loading
would make another id, and falls back to `xml` where the language cannot say an object exactly. What is not
kept: where an empty section stands, comments between objects, and runs of blanks inside comments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from cli.grammar.definitions import parse_line
from cli.grammar.document import CONTAINER_TAGS, RESOURCE_TAGS, objects
from cli.grammar.ids import Ids, with_ids
from cli.grammar.lexer import logical_lines
from cli.grammar.options import ALL_NODES
from cli.grammar.resources import MEMBER
from cli.grammar.wording import Style, UnsayableError, object_lines
from cli.grammar.xml_lines import notes_of, xml_text
from crm.cib.model import COMMENT, Element, element
from hacluster.errors import HaError


def exact(cib: Element, chosen: Iterable[Element] | None = None) -> str:
    """The objects (all, when not given) in the order of the document; ends in a line end."""
    style = replace(Style.of(cib), full_types=True)
    items = objects(cib) if chosen is None else chosen
    return "".join(_object_text(item, style) + "\n" for item in items)


def _object_text(item: Element, style: Style) -> str:
    wanted = _with_placeholders(item)
    explicit = replace(style, printed_ids=style.printed_ids | frozenset(_explicit(wanted)))
    try:
        lines = object_lines(item, explicit)
    except UnsayableError:
        return xml_text(item)
    text = "\n".join([*notes_of(item), " \\\n\t".join(lines)])
    if _read_again(text, style) == _comparable(wanted):
        return text
    return xml_text(item)


def _explicit(item: Element) -> Iterator[str]:
    """The ids inside an object that are not what loading would make first.

    The first choice is free whenever it is read; what comes second depends on what was read before.
    """
    made = with_ids(_without_ids(item, top=True), Ids())
    for one, other in zip(item.walk(), made.walk(), strict=True):
        if one.id and one.id != other.id:
            yield one.id


def _without_ids(item: Element, *, top: bool = False) -> Element:
    keep = top or item.tag in (MEMBER, "obj_ref", "resource_ref", "role")
    children = tuple(_without_ids(child) for child in item.children)
    plain = item if keep else item.with_attributes(id=None)
    return plain.with_children(children)


def _read_again(text: str, style: Style) -> Element | None:
    lines = logical_lines(text)
    if len(lines) != 1:
        return None
    try:
        read = parse_line(lines[0]).element
    except HaError:
        return None
    if read.tag == "fencing-topology" and any(ALL_NODES in one.attributes for one in read.children):
        levels = (
            element(
                "fencing-level", {"target": name} | dict(one.with_attribute_map({ALL_NODES: None}).attributes)
            )
            for name in style.nodes
            for one in read.children
        )
        read = read.with_children(tuple(levels))
    return _comparable(with_ids(read, Ids()))


def _with_placeholders(item: Element) -> Element:
    """The object as the parser reads it: members as names only."""
    if item.tag not in CONTAINER_TAGS:
        return item
    return item.mapped(
        lambda child: element(MEMBER, {"id": child.id}) if child.tag in RESOURCE_TAGS else child
    )


def _comparable(item: Element) -> Element:
    if item.tag == COMMENT:
        return Element(COMMENT, {}, (), " ".join(item.text.lstrip("# ").split()))
    return item.mapped(_comparable)
