"""XML text to and from the CIB's tree. DTDs, and so entities of one's own, and the network are off."""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from crm.cib.model import COMMENT, Element
from hacluster.collector import collector_paused
from hacluster.errors import InvalidDocument

SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
DEPTH_MAX: Final = 200
ATTRIBUTES_MAX: Final = 10_000  # of one element
TAG_BYTES_MAX: Final = (
    4 * 1024 * 1024
)  # from one "<" to the next: the parser sees a tag only when it has it whole
_SPECIAL = re.compile(r'[&<>"\n\t\r]')
_DECLARED: Final = frozenset({"xml", "xmlns"})  # prefixes that need no declaration


def parse(data: bytes | str, *, source: str = "CIB", size_bytes_max: int = SIZE_BYTES_MAX) -> Element:
    """Parse a document. Raises InvalidDocument with `source` and the line."""
    raw = data.encode() if isinstance(data, str) else data
    if len(raw) > size_bytes_max:
        raise InvalidDocument(
            source=source,
            line=0,
            what=f"{len(raw)} bytes is more than the limit of {size_bytes_max}",
            remedy="split the document or remove old status",
        )
    _check_tags(raw, source)
    return _Reader(source, "utf-8" if isinstance(data, str) else None).read(raw)


def _check_tags(raw: bytes, source: str) -> None:
    at = 0
    while at + TAG_BYTES_MAX < len(raw):
        begun, at = at, raw.rfind(b"<", at + 1, at + 1 + TAG_BYTES_MAX)
        if at < 0:
            raise InvalidDocument(
                source=source,
                line=raw.count(b"\n", 0, begun) + 1,
                what=f"a tag, a text or a comment is longer than {TAG_BYTES_MAX} bytes",
                remedy="split it",
            )


class _Reader:
    """Builds elements as the parser meets them: no tree of the whole document beside our own.

    Texts that occur more than once are kept once: in a cluster's status nearly every one does.
    """

    def __init__(self, source: str, encoding: str | None) -> None:
        self._source = source
        self._names: dict[str, str] = {}
        self._share = {"": ""}.setdefault
        # What is open, outermost first, each with the list of children that it belongs into.
        self._open: list[tuple[str, dict[str, str], list[Element]]] = []
        self._children: list[Element] = []
        self._text: dict[int, str] = {}  # by depth
        parser = self._parser = expat.ParserCreate(encoding, intern=self._names)
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.CommentHandler = self._comment
        parser.StartDoctypeDeclHandler = self._doctype

    def read(self, raw: bytes) -> Element:
        """The document's root."""
        if not raw.strip():
            raise self._invalid("the document is empty", line=0)
        try:
            with collector_paused():
                self._parser.Parse(raw, True)
        except expat.ExpatError as error:
            raise self._invalid(expat.ErrorString(error.code), line=error.lineno) from None
        except (LookupError, ValueError) as error:  # an encoding that Python does not know or cannot give
            raise self._invalid(str(error)) from None
        root = self._children[0]
        if any(":" in name for name in self._names):
            _check_prefixes(root, _DECLARED, self._source)
        return root

    def _invalid(self, what: str, *, line: int | None = None) -> InvalidDocument:
        at = self._parser.CurrentLineNumber if line is None else line
        return InvalidDocument(source=self._source, line=at, what=what, remedy="correct the XML")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) > DEPTH_MAX:
            raise self._invalid(f"elements are nested deeper than {DEPTH_MAX}")
        if len(attributes) > ATTRIBUTES_MAX:
            raise self._invalid(f"<{tag[:80]}> has more than {ATTRIBUTES_MAX} attributes")
        share = self._share
        for name, value in attributes.items():
            attributes[name] = share(value, value)
        self._open.append((tag, attributes, self._children))
        self._children = []

    def _end(self, _tag: str) -> None:
        tag, attributes, around = self._open.pop()
        text = self._text
        own = text.pop(len(self._open), "").strip() if text else ""
        around.append(Element(tag, attributes, tuple(self._children), own))
        self._children = around

    def _characters(self, data: str) -> None:
        if self._children:
            return  # what follows a child is no text of the element's own
        depth = len(self._open) - 1
        before = self._text.get(depth, "")
        if before or not data.isspace():
            self._text[depth] = before + data

    def _comment(self, data: str) -> None:
        if self._open:
            self._children.append(Element(COMMENT, {}, (), data))

    def _doctype(self, *_parts: object) -> None:
        raise InvalidDocument(
            source=self._source,
            line=self._parser.CurrentLineNumber,
            what="a DOCTYPE is not allowed",
            remedy="remove the DOCTYPE line",
        )


def _check_prefixes(item: Element, declared: frozenset[str], source: str) -> None:
    """Raises InvalidDocument for a name whose prefix is declared nowhere."""
    declared |= {name[6:] for name in item.attributes if name.startswith("xmlns:")}
    for name in (item.tag, *item.attributes):
        prefix, colon, _ = name.partition(":")
        if colon and prefix not in declared:
            what = f"the prefix of {name} is not declared"
            raise InvalidDocument(source=source, line=0, what=what, remedy="correct the XML")
    for child in item.children:
        _check_prefixes(child, declared, source)


def render(root: Element) -> str:
    """Indented XML with a declaration, as people and Pacemaker's tools like to read it."""
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    _render(root, "\n", parts)
    parts.append("\n")
    return "".join(parts)


def _render(item: Element, margin: str, parts: list[str]) -> None:
    if item.tag == COMMENT:
        parts.append(f"<!--{item.text}-->")
        return
    attributes = "".join([f' {name}="{escape(value)}"' for name, value in item.attributes.items()])
    if not item.children and not item.text:
        parts.append(f"<{item.tag}{attributes}/>")
        return
    parts.append(f"<{item.tag}{attributes}>{_escape_text(item.text)}")
    if item.children:
        inner = margin + "  "
        last = len(item.children) - 1
        if not item.text.strip():
            parts.append(inner)
        for index, child in enumerate(item.children):
            _render(child, inner, parts)
            parts.append(margin if index == last else inner)
    parts.append(f"</{item.tag}>")


def _escape_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


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
    attributes = "".join([f' {name}="{escape(value)}"' for name, value in sorted(item.attributes.items())])
    return f"<{item.tag}{attributes}>{escape(item.text)}", f"</{item.tag}>"


def _canonical(item: Element, parts: list[str]) -> None:
    start, end = canonical_tags(item)
    parts.append(start)
    if item.tag != COMMENT:
        for child in item.children:
            _canonical(child, parts)
    parts.append(end)


def escape(value: str) -> str:
    """A value as it stands in an attribute; the canonical form writes texts the same way."""
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
    import hashlib  # loads OpenSSL, which a run of the scheduler alone may not need

    return hashlib.sha256(canonical(root)).hexdigest()
