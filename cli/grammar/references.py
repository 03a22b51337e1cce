"""What names what: constraints, tags, roles. Re-pointing, taking out, and resolving of references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cli.grammar.document import (
    CONSTRAINT_TAGS,
    REFERENCES,
    change_section,
    configuration_of,
)
from cli.grammar.words import boolean_of
from crm.cib.model import Element
from hacluster.errors import InvalidRequest


def named_by(constraint: Element) -> tuple[str, ...]:
    """The resources (templates, tags) a constraint names, in order, with repeats."""
    direct = [constraint.get(name) for name in REFERENCES.get(constraint.tag, ()) if constraint.get(name)]
    in_sets = [ref.id for one in constraint.all("resource_set") for ref in one.all("resource_ref")]
    return (*direct, *in_sets)


def repointed(constraint: Element, old: str, new: str) -> Element | None:
    """The constraint naming `new` where it named `old`; None when it would relate `new` to itself."""
    if old not in named_by(constraint):
        return constraint
    changes: dict[str, str | None] = {
        name: new for name in REFERENCES[constraint.tag] if constraint.get(name) == old
    }
    changed = constraint.with_attribute_map(changes)
    direct = [changed.get(name) for name in REFERENCES[constraint.tag] if changed.get(name)]
    if len(direct) == 2 and direct[0] == direct[1]:
        return None
    if not changed.all("resource_set"):
        return changed
    seen: set[str] = set()

    def visit(item: Element) -> Element | None:
        if item.tag == "resource_set":
            kept = item.mapped(visit)
            return kept if kept.all("resource_ref") else None
        if item.tag != "resource_ref":
            return item
        name = new if item.id == old else item.id
        if name == new and name in seen:
            return None
        seen.add(name)
        return item.with_attributes(id=name)

    return simplified(changed.mapped(visit))


def without_resource(constraint: Element, gone: str) -> Element | None:
    """The constraint without that resource; None when nothing is left for it to say."""
    if any(constraint.get(name) == gone for name in REFERENCES[constraint.tag]):
        return None
    if gone not in named_by(constraint):
        return constraint

    def visit(item: Element) -> Element | None:
        if item.tag == "resource_set":
            kept = item.mapped(visit)
            return kept if kept.all("resource_ref") else None
        return None if item.tag == "resource_ref" and item.id == gone else item

    return simplified(constraint.mapped(visit))


def simplified(constraint: Element) -> Element | None:
    """Two resources left in sets become the simple form; None for fewer (for none, of a ticket).

    Two of one set that is not sequential stay in it: nothing relates them, as the simple form would.
    """
    sets = constraint.all("resource_set")
    if not sets and constraint.get("rsc"):
        return constraint
    found = [
        (ref.id, one.get("role") or one.get("action")) for one in sets for ref in one.all("resource_ref")
    ]
    needed = 1 if constraint.tag in ("rsc_location", "rsc_ticket") else 2
    if len(found) < needed:
        return None
    if needed == 1 or len(found) > needed or (len(sets) == 1 and not _is_sequential(sets[0])):
        return constraint
    if constraint.tag == "rsc_colocation" and len(sets) == 1:
        found.reverse()  # within a set the later one is placed with the earlier one
    names = REFERENCES[constraint.tag]
    marks = {"rsc": "rsc-role", "with-rsc": "with-rsc-role", "first": "first-action", "then": "then-action"}
    attributes: dict[str, str | None] = {}
    for name, (identifier, kind) in zip(names, found, strict=True):
        attributes[name] = identifier
        if kind:
            attributes[marks[name]] = kind
    rest = tuple(child for child in constraint.children if child.tag != "resource_set")
    return constraint.with_children(rest).with_attribute_map(attributes)


def _is_sequential(one: Element) -> bool:
    return boolean_of(one.get("sequential", "true")) is not False


def change_constraints(cib: Element, old: str, new: str, only: frozenset[str] | None = None) -> Element:
    """Re-point all constraints (those with an id in `only`, when given) from `old` to `new`."""

    def visit(item: Element) -> Element | None:
        if item.tag not in CONSTRAINT_TAGS or (only is not None and item.id not in only):
            return item
        return repointed(item, old, new)

    return change_section(cib, "constraints", visit)


def without_tagged(cib: Element, gone: str) -> Element:
    """Take an object out of all tags; a tag left empty goes, and what named it."""
    emptied: list[str] = []

    def visit(item: Element) -> Element | None:
        kept = item.mapped(lambda ref: None if ref.tag == "obj_ref" and ref.id == gone else ref)
        if kept is not item and not kept.all("obj_ref"):
            emptied.append(item.id)
            return None
        return kept

    cib = change_section(cib, "tags", visit)
    for name in emptied:
        cib = without_constraints_of(without_tagged(cib, name), name)
    return cib


def without_constraints_of(cib: Element, gone: str) -> Element:
    """Remove a resource (template, tag) from all constraints, and vanished constraints from tags."""
    vanished: list[str] = []

    def visit(item: Element) -> Element | None:
        if item.tag not in CONSTRAINT_TAGS:
            return item
        kept = without_resource(item, gone)
        if kept is None:
            vanished.append(item.id)
        return kept

    cib = change_section(cib, "constraints", visit)
    for name in vanished:
        cib = without_tagged(cib, name)
    return cib


def id_index(cib: Element) -> Mapping[str, Element]:
    """Everything in the configuration that has an id."""
    return {
        one.id: one
        for one in configuration_of(cib).walk()
        if one.id and one.tag not in ("obj_ref", "resource_ref", "role")
    }


def holders(cib: Element) -> Mapping[str, Element]:
    """What an id-ref may name to mean a part of it: as `id_index`, and nodes by their names."""
    nodes = configuration_of(cib).child("nodes")
    by_name = {one.get("uname"): one for one in nodes.all("node")} if nodes is not None else {}
    return by_name | dict(id_index(cib))


def resolved(ids: Mapping[str, Element], item: Element) -> Element:
    """`item` with every id-ref that names an object replaced by the id of the object's first such part.

    Raises InvalidRequest for one that names nothing.
    """

    def visit(one: Element) -> Element:
        reference = one.get("id-ref")
        if reference:
            found = _part_named(ids, one.tag, reference)
            if not found:
                raise InvalidRequest(
                    what=f"id-ref {reference!r}: no <{one.tag}> has that id, nor is it an object with one"
                )
            if found != reference:
                one = one.with_attribute_map({"id-ref": found})
        return one.with_children(tuple(visit(child) for child in one.children)) if one.children else one

    return visit(item) if any("id-ref" in one.attributes for one in item.walk()) else item


def _part_named(ids: Mapping[str, Element], tag: str, reference: str) -> str:
    """The id of the part that is meant by its own id, or by that of the object it is in; "" for none.

    A part that is itself a reference stands for what it refers to.
    """
    seen: set[str] = set()
    while reference not in seen:
        seen.add(reference)
        target = ids.get(reference)
        if target is None or target.tag == tag:
            return reference if target is not None else ""
        part = next((one for one in target.walk() if one.tag == tag), None)
        if part is None or not (part.id or part.get("id-ref")):
            return ""
        reference = part.id or part.get("id-ref")
    return ""


def referenced_ids(cib: Element) -> frozenset[str]:
    """All ids that some id-ref names."""
    return frozenset(one.get("id-ref") for one in configuration_of(cib).walk() if "id-ref" in one.attributes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What may be named. `resources` has resources, templates and tags: constraints name all of them."""

    resources: frozenset[str]
    templates: frozenset[str]
    roles: frozenset[str]


def missing_names(item: Element, names: Names) -> tuple[str, ...]:
    """What a definition names that does not exist, in words."""
    if item.tag in CONSTRAINT_TAGS:
        named = dict.fromkeys(named_by(item))
        return tuple(f"there is no resource {name!r}" for name in named if name not in names.resources)
    if item.tag == "primitive" and item.get("template"):
        known = item.get("template") in names.templates
        return () if known else (f"there is no template {item.get('template')!r}",)
    if item.tag in ("acl_target", "acl_group"):
        return tuple(f"there is no role {one.id!r}" for one in item.all("role") if one.id not in names.roles)
    return ()
