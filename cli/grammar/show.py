"""Objects -> text of the language, as `configure show` prints it; XML where the language has no words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from cli.grammar.definitions import parse_line
from cli.grammar.document import object_id, objects
from cli.grammar.lexer import Line, logical_lines
from cli.grammar.references import resolved
from cli.grammar.resources import MEMBER
from cli.grammar.wording import Style, UnsayableError, object_lines, parts, without_values
from cli.grammar.xml_lines import notes_of, without_notes, xml_text
from crm.cib.model import COMMENT, Element, element
from hacluster.errors import HaError

_ORDER: Final[tuple[tuple[str, ...], ...]] = (
    ("node",),
    ("template",),
    ("primitive",),
    ("bundle",),
    ("group",),
    ("master",),
    ("clone",),
    ("tag",),
    ("rsc_location", "rsc_colocation", "rsc_order"),
    ("rsc_ticket", "fencing-topology"),
    ("cluster_property_set",),
    ("rsc_defaults",),
    ("op_defaults",),
    ("acl_role",),
    ("acl_target", "acl_group", "acl_user"),
    ("alert",),
)


def show(
    cib: Element,
    chosen: Iterable[Element] | None = None,
    *,
    obscure: tuple[str, ...] = (),
    in_order: bool = True,
) -> str:
    """The objects (all, when not given) as text, sorted as the manual says; ends in a line end."""
    style = Style.of(cib, obscure=obscure)
    items = list(objects(cib) if chosen is None else chosen)
    items.sort(key=lambda item: (_rank(item), _sort_id(item) if in_order else ""))
    return "".join(object_text(item, style) + "\n" for item in items)


def _sort_id(item: Element) -> str:
    return item.id if item.tag == "node" else object_id(item)


def _rank(item: Element) -> int:
    return next((number for number, tags in enumerate(_ORDER) if item.tag in tags), len(_ORDER))


def object_text(item: Element, style: Style) -> str:
    """One object. Text that would not give the same XML back is not printed: then it is `xml …`."""
    notes = notes_of(item)
    try:
        lines = object_lines(item, style)
        if not _says_the_same(item, lines, style):
            raise UnsayableError
        body = " \\\n\t".join(lines)
    except UnsayableError:
        body = xml_text(without_values(_without_defaults(without_notes(item)), style.obscure))
    return "\n".join([*notes, body])


def _says_the_same(item: Element, lines: Sequence[str], style: Style) -> bool:
    """Read the text again and compare, ids of parts aside."""
    if style.obscure:
        lines = object_lines(item, replace(style, obscure=()))
    parsed = logical_lines(" \\\n\t".join(lines))
    if len(parsed) != 1:
        return False
    try:
        again = parse_line(Line(number=1, text=parsed[0].text)).element
        again = resolved(style.ids, again)
    except HaError:
        return False
    return _plain(again, style) == _plain(item, style)


def _plain(item: Element, style: Style) -> tuple[object, ...]:
    """What must be equal: ids of parts only where they are printed."""
    if item.tag == "fencing-topology":
        return ("fencing-topology", *sorted(_levels(item, style)))
    attributes = {
        name: value
        for name, value in item.attributes.items()
        if name != "id" or value in style.printed_ids or item.tag in _KEEP_IDS
    }
    for name, default in _DEFAULTS.get(item.tag, ()):
        if attributes.get(name) == default:
            del attributes[name]
    if item.tag == "operations" and not style.printed_ids:
        attributes.pop("id", None)
    children = [
        element(MEMBER, {"id": child.id}) if child.tag in ("primitive", "group") else child
        for child in item.children
        if child.tag != COMMENT
    ]
    children.sort(key=lambda child: child.tag == MEMBER)
    if item.tag in _RULES_FIRST:
        children.sort(key=lambda child: child.tag != "rule")
    return (item.tag, sorted(attributes.items()), [_plain(child, style) for child in children])


_KEEP_IDS: Final = frozenset(
    {tag for tags in _ORDER for tag in tags} | {"operations", MEMBER, "obj_ref", "resource_ref", "role"}
)


_RULES_FIRST: Final = ("instance_attributes", "meta_attributes", "utilization", "cluster_property_set")


_DEFAULTS: Final = {
    "resource_set": (("sequential", "true"), ("require-all", "true")),
    "rule": (("boolean-op", "and"),),
    "node": (("type", "normal"),),
}


def _without_defaults(item: Element) -> Element:
    """Without what crmsh leaves out of XML that it shows, too."""
    gone = {name: None for name, value in _DEFAULTS.get(item.tag, ()) if item.get(name) == value}
    item = item.with_attribute_map(gone) if gone and item.tag != "node" else item
    return item.mapped(_without_defaults)


def _levels(item: Element, style: Style) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for level in parts(item):
        targets = style.nodes if "#all" in level.attributes else (level.get("target"),)
        known = ("target-pattern", "target-attribute", "target-value", "index", "devices")
        others = sorted(set(level.attributes) - {*known, "#all", "target", "id"})
        rest = tuple(level.get(name) for name in known) + tuple(f"{one}={level.get(one)}" for one in others)
        found += [(target, *rest) for target in targets]
    return found


def xml_cib(cib: Element, chosen: Iterable[Element] | None = None) -> Element:
    """The <cib> with only the chosen objects (all when not given), members inside their containers."""
    if chosen is None:
        return cib.mapped(lambda part: element("status") if part.tag == "status" else part)
    wanted = {id(item) for item in chosen}
    defaults = {object_id(item) for item in chosen if item.tag in ("rsc_defaults", "op_defaults")}

    def visit(part: Element) -> Element | None:
        if part.tag == "resources":
            return part.mapped(lambda one: one if any(id(inner) in wanted for inner in one.walk()) else None)
        if part.tag == "fencing-topology":
            return part if id(part) in wanted else None
        if part.tag in ("rsc_defaults", "op_defaults"):
            kept = part.mapped(lambda one: one if one.id in defaults else None)
            return kept if kept.children else None
        kept = part.mapped(lambda one: one if id(one) in wanted else None)
        return kept if kept.children or part.tag not in ("tags", "acls", "alerts") else None

    return cib.mapped(lambda part: part.mapped(visit) if part.tag == "configuration" else None)
