"""XML text to and from the CIB's tree. Entities, DTDs and the network are off."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from lxml import etree

from crm.cib.model import COMMENT, Element
from hacluster.errors import InvalidDocument

SIZE_BYTES_MAX = 64 * 1024 * 1024
DEPTH_MAX = 200
_SPECIAL = re.compile(r'[&<>"\n\t\r]')


def parse(data: bytes | str, *, source: str = "CIB") -> Element:
    """Parse a document. Raises InvalidDocument with `source` and the line."""
    raw = data.encode() if isinstance(data, str) else data
    if len(raw) > SIZE_BYTES_MAX:
        raise InvalidDocument(
            source=source,
            line=0,
            what=f"{len(raw)} bytes is more than the limit of {SIZE_BYTES_MAX}",
            remedy="split the document or remove old status",
        )
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_pis=True,
        huge_tree=False,
        remove_blank_text=True,
    )
    try:
        root = etree.fromstring(raw, parser)
    except etree.XMLSyntaxError as error:
        raise InvalidDocument(
            source=source, line=error.lineno or 0, what=str(error.msg), remedy="correct the XML"
        ) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise InvalidDocument(
            source=source, line=1, what="a DOCTYPE is not allowed", remedy="remove the DOCTYPE line"
        )
    return _read(root, source, 0)


def _read(node: Any, source: str, depth: int) -> Element:
    if depth > DEPTH_MAX:
        raise InvalidDocument(
            source=source,
            line=node.sourceline or 0,
            what=f"elements are nested deeper than {DEPTH_MAX}",
            remedy="correct the XML",
        )
    if node.tag is etree.Comment:
        return Element(COMMENT, {}, (), node.text or "")
    children = tuple(_read(child, source, depth + 1) for child in node if child.tag is not etree.Entity)
    text = (node.text or "").strip()
    return Element(str(node.tag), dict(node.attrib), children, text)


def render(root: Element) -> str:
    """Indented XML with a declaration, as people and Pacemaker's tools like to read it."""
    tree = _build(root)
    etree.indent(tree, space="  ")
    text: str = etree.tostring(tree, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _build(item: Element) -> Any:
    if item.tag == COMMENT:
        return etree.Comment(item.text)
    node = etree.Element(item.tag, dict(item.attributes))
    if item.text:
        node.text = item.text
    for child in item.children:
        node.append(_build(child))
    return node


def canonical(root: Element) -> bytes:
    """The form that digests are taken of: attributes sorted, no white space, comments kept, UTF-8."""
    return canonical_text(root).encode()


def canonical_text(root: Element) -> str:
    """The canonical form as text."""
    parts: list[str] = []
    _canonical(root, parts)
    return "".join(parts)


def canonical_tags(item: Element) -> tuple[str, str]:
    """The canonical form without the children: what comes before them, and what after."""
    if item.tag == COMMENT:
        return f"<!--{item.text}-->", ""
    attributes = "".join([f' {name}="{_escape(value)}"' for name, value in sorted(item.attributes.items())])
    return f"<{item.tag}{attributes}>{_escape(item.text)}", f"</{item.tag}>"


def _canonical(item: Element, parts: list[str]) -> None:
    start, end = canonical_tags(item)
    parts.append(start)
    if item.tag != COMMENT:
        for child in item.children:
            _canonical(child, parts)
    parts.append(end)


def _escape(value: str) -> str:
    if _SPECIAL.search(value) is None:
        return value
    return (
        value.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace('"', "&quot;")
        .replace("\n", "&#10;")
        .replace("\t", "&#9;")
        .replace("\r", "&#13;")
    )


def is_text(value: str) -> bool:
    """Whether XML can hold it: one control character would make the whole document unreadable."""
    return all(character.isprintable() or character in "\t\n\r" for character in value)


def digest(root: Element) -> str:
    """SHA-256 of the canonical form, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(root)).hexdigest()
