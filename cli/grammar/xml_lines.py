"""Objects that the language has no words for, as `xml …` lines, and comments as lines above an object."""

from __future__ import annotations

import re

from cli.grammar.lexer import BLANKS
from crm.cib import codec
from crm.cib.model import COMMENT, Element

_SECOND_BLANK = re.compile(f"(?<=[{BLANKS}])[{BLANKS}]")


def notes_of(item: Element) -> list[str]:
    """The comments stored in an object, as lines to print above it."""
    found = [*item.all(COMMENT)]
    if item.tag in ("rsc_defaults", "op_defaults") and item.children:
        found += item.children[0].all(COMMENT)
    # A backslash at the end would make the line below part of the comment.
    lines = [line.rstrip("\\ \t\r").lstrip() for one in found for line in one.text.split("\n")]
    return [line if line.startswith("#") else f"# {line}" for line in lines if line]


def without_notes(item: Element) -> Element:
    """The object without the comments that `notes_of` finds: they stand above it."""
    bare = item.mapped(lambda one: None if one.tag == COMMENT else one)
    if item.tag not in ("rsc_defaults", "op_defaults") or not bare.children:
        return bare
    return bare.with_children((without_notes(bare.children[0]), *bare.children[1:]))


def xml_text(item: Element) -> str:
    """An object as `xml …`, continued over lines. Reading gives the same element, but for blanks in comments.

    Reading makes one blank of many; inside values they are therefore written as character references.
    """
    lines = codec.render(_with_plain_comments(item)).rstrip("\n").split("\n")[1:]
    out: list[str] = []
    for line in lines:
        text = line.strip(BLANKS)
        if not text.startswith("<!--"):
            text = _SECOND_BLANK.sub(lambda blank: f"&#{ord(blank[0])};", text)
        out.append(line[: len(line) - len(line.lstrip(BLANKS))] + text)
    return "xml " + " \\\n".join(out)


def _with_plain_comments(item: Element) -> Element:
    if item.tag == COMMENT:
        return Element(COMMENT, {}, (), f" {' '.join(item.text.split())} ")
    return item.mapped(_with_plain_comments)
