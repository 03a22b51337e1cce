"""One command of the language -> one definition: the table of keywords, and a whole text at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cli.grammar import access, constraints, options, resources
from cli.grammar.lexer import Line, Unclosed, logical_lines, split_words, unwritable, word_columns
from cli.grammar.possible import impossible
from cli.grammar.resources import ProviderLookup, usual_provider
from cli.grammar.words import IDENTIFIER, Misplaced, Words
from crm.cib import codec
from crm.cib.model import COMMENT, Element
from hacluster.errors import HaError, InvalidDocument, InvalidDocuments, InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What one line defines. `from_xml`: it was given as XML and has all its ids."""

    element: Element
    line: int
    from_xml: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """(kind, id) that may stand once in a text. Kinds that may share an id have different names."""
        tag = self.element.tag
        if tag == "node":
            return ("node", self.element.get("uname"))
        if tag in ("rsc_defaults", "op_defaults"):
            return (tag, self.element.children[0].id if self.element.children else "")
        if tag == "fencing-topology":
            return (tag, "")
        return ("object", self.element.id)


Parser = Callable[[Words], Element]

_PARSERS: Final[dict[str, Parser]] = {
    "group": resources.group,
    "clone": resources.clone,
    "ms": resources.ms,
    "master": resources.ms,
    "bundle": resources.bundle,
    "monitor": resources.monitor,
    "location": constraints.location,
    "colocation": constraints.colocation,
    "collocation": constraints.colocation,
    "order": constraints.order,
    "rsc_ticket": constraints.rsc_ticket,
    "property": options.property_set,
    "rsc_defaults": options.rsc_defaults,
    "op_defaults": options.op_defaults,
    "fencing_topology": options.fencing_topology,
    "fencing-topology": options.fencing_topology,
    "node": options.node,
    "tag": options.tag,
    "role": access.role,
    "acl_target": access.acl_target,
    "acl_group": access.acl_group,
    "alert": access.alert,
}
KEYWORDS: Final = ("primitive", "rsc_template", *_PARSERS, "user", "xml")
# What the language can define, as the tags of its elements.
OBJECT_TAGS: Final = frozenset(
    {
        *("node", "template", "primitive", "bundle", "group", "master", "clone", "tag", "rsc_location"),
        *("rsc_colocation", "rsc_order", "rsc_ticket", "fencing-topology", "cluster_property_set"),
        *("rsc_defaults", "op_defaults", "acl_role", "acl_target", "acl_group", "alert"),
    }
)


def is_keyword(word: str) -> bool:
    """The word begins a definition."""
    return word.lower() in KEYWORDS


def parse_words(words: tuple[str, ...], provider: ProviderLookup = usual_provider) -> Element:
    """The element one command defines, ids missing. Raises Misplaced."""
    cursor = Words(words)
    for index, word in enumerate(words):
        if bad := unwritable(word):
            raise Misplaced(
                what=f"{word!r}: the CIB cannot hold the character {bad}", left=len(words) - index
            )
    try:
        built = _parsed(cursor, provider)
        wrong = [name for one in built.walk() for name in one.attributes if not _is_attribute(name)]
        if wrong:
            raise InvalidRequest(what=f"{wrong[0]!r} cannot be the name of an XML attribute")
    except InvalidRequest as error:
        raise cursor.misplaced(error) from None
    for one in impossible(built):
        raise Misplaced(what=one.what, remedy=one.remedy, left=_left(words, one.words))
    return built


def _left(words: tuple[str, ...], wrong: tuple[str, ...]) -> int:
    """How many words are left at the one that is wrong, the last of its kind; 0: something is missing."""
    for text in wrong:
        for index in range(len(words) - 1, 0, -1):
            if words[index].lower() == text.lower():
                return len(words) - index
    inside = (index for index in range(len(words) - 1, 0, -1) if wrong and wrong[-1] in words[index])
    return len(words) - next(inside, 1) if wrong else 0


def _is_attribute(name: str) -> bool:
    return name == options.ALL_NODES or IDENTIFIER.fullmatch(name) is not None


def _parsed(cursor: Words, provider: ProviderLookup) -> Element:
    keyword = cursor.take("a keyword").lower()
    if keyword == "primitive":
        return resources.primitive(cursor, provider)
    if keyword == "rsc_template":
        return resources.rsc_template(cursor, provider)
    if keyword == "user":
        raise InvalidRequest(
            what="`user` is the form of before Pacemaker 1.1.12", remedy="use role and acl_target instead"
        )
    parser = _PARSERS.get(keyword)
    if parser is None:
        raise InvalidRequest(what=f"{keyword!r} is not known", remedy=_meant(keyword))
    return parser(cursor)


def _meant(keyword: str) -> str:
    """The keyword that it is probably a slip of; else where all of them are."""
    from difflib import get_close_matches

    close = get_close_matches(keyword, KEYWORDS, n=1, cutoff=0.7)
    return f"did you mean {close[0]}?" if close else "see `hacli configure help`"


def parse_line(line: Line, provider: ProviderLookup = usual_provider) -> Definition:
    """The definition of a logical line, with its comments inside. Raises InvalidRequest, InvalidDocument."""
    from_xml = line.is_xml
    if from_xml and not line.xml:
        raise InvalidRequest(what="the XML is missing after xml", remedy="xml <primitive …/>")
    if from_xml:
        built = codec.parse(line.xml, source="xml")
        if built.tag in ("meta_attributes",):
            raise InvalidRequest(
                what="a set of defaults needs its section",
                remedy="put <rsc_defaults> or <op_defaults> around it",
            )
        if built.tag not in OBJECT_TAGS:
            raise InvalidRequest(what=f"<{built.tag}> is not an object of the configuration")
    else:
        built = parse_words(split_words(line.text), provider)
    if any(map(unwritable, line.comments)):
        raise InvalidRequest(what="a comment has a character that the CIB cannot hold")
    if line.comments:
        notes = tuple(Element(COMMENT, {}, (), _comment_text(text)) for text in line.comments)
        built = built.with_children((*notes, *built.children))
    return Definition(element=built, line=line.number, from_xml=from_xml)


def _comment_text(text: str) -> str:
    """XML forbids `--` in a comment, and a `-` at its end."""
    while "--" in text:
        text = text.replace("--", "- -")
    return text + " " if text.endswith("-") else text


def parse_text(text: str, source: str, provider: ProviderLookup = usual_provider) -> tuple[Definition, ...]:
    """All definitions of a text. Raises InvalidDocuments with everything that is wrong in it."""
    found: list[Definition] = []
    errors: list[InvalidDocument] = []
    seen: dict[tuple[str, str], int] = {}
    for line in logical_lines(text):
        try:
            definition = parse_line(line, provider)
        except HaError as error:
            errors.append(_located(error, source, line))
            continue
        key = definition.key
        mergeable = definition.element.tag in (
            "cluster_property_set",
            "rsc_defaults",
            "op_defaults",
            resources.MONITOR,
        )
        if key in seen and not mergeable:
            errors.append(
                InvalidDocument(
                    source=source,
                    line=line.number,
                    what=f"{key[1] or key[0]!r} is defined twice",
                    remedy=f"the first time in line {seen[key]}",
                )
            )
        seen.setdefault(key, line.number) if definition.element.tag != resources.MONITOR else None
        found.append(definition)
    if errors:
        raise InvalidDocuments(errors=tuple(errors))
    return tuple(found)


def offset_of(error: HaError, text: str) -> int | None:
    """Where in the text of a line the word begins that an error is about; None when it does not say."""
    if isinstance(error, Unclosed):
        return error.at
    left = getattr(error, "left", None)
    if not isinstance(left, int):
        return None
    columns = (*word_columns(text), len(text) + 1)
    return columns[len(columns) - 1 - left] if 0 <= left < len(columns) else None


def _located(error: HaError, source: str, line: Line) -> InvalidDocument:
    """The error with its line and column in a text."""
    offset = None if line.is_xml else offset_of(error, line.text)
    if offset is None:
        return placed(error, source, line.number)
    number, column = line.place(offset)
    bare = placed(error, source, number)
    return InvalidDocument(source=source, line=number, what=bare.what, remedy=bare.remedy, column=column)


def placed(error: HaError, source: str, line: int) -> InvalidDocument:
    """The error with its place in a text."""
    if isinstance(error, InvalidDocument):
        return InvalidDocument(source=source, line=line, what=error.what, remedy=error.remedy)
    if isinstance(error, InvalidRequest):
        return InvalidDocument(source=source, line=line, what=error.what, remedy=error.remedy)
    return InvalidDocument(source=source, line=line, what=str(error))
