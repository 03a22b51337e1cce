"""What a text of the language must give back of a CIB."""

from __future__ import annotations

from cli.grammar.document import SECTIONS, configuration_of
from crm.cib.model import COMMENT, Element


def contents(cib: Element) -> dict[str, tuple[Element, ...]]:
    """Every object, in order. Comments between objects have no place in the text, nor have empty sections."""
    found = {}
    for part in configuration_of(cib).children:
        assert part.tag in (*SECTIONS, COMMENT)
        children = tuple(_plain(child) for child in part.children if child.tag != COMMENT)
        if children:
            found[part.tag] = children
    return found


def _plain(item: Element) -> Element:
    if item.tag == COMMENT:
        return Element(COMMENT, {}, (), " ".join(item.text.lstrip("# ").split()))
    return item.mapped(_plain)
