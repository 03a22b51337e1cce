"""Larger steps: a template of what primitives have in common, bonds without dependency. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cli.grammar.document import (
    CONSTRAINT_TAGS,
    change_resource,
    configuration_of,
    find,
    objects,
    put_in_section,
    section,
    with_section,
)
from cli.grammar.ids import Ids, with_ids
from cli.grammar.words import checked_identifier
from crm.cib.ids import used_ids
from crm.cib.model import Element, element
from hacluster.errors import InvalidRequest, NotFound

BOND_AGENT: Final = {"class": "ocf", "provider": "hacluster", "type": "Dummy"}
_SETS: Final = ("instance_attributes", "meta_attributes", "utilization")
_TYPE: Final = ("class", "provider", "type")


def with_template(cib: Element, name: str, primitives: Sequence[str]) -> Element:
    """The primitives refer to a new template, which says what all of them said.

    Raises NotFound, InvalidRequest (other types, a template already, nothing in common).
    """
    chosen = [_primitive(cib, one) for one in primitives]
    _check_new(cib, name)
    if len({tuple(one.get(part) for part in _TYPE) for one in chosen}) != 1:
        kinds = ", ".join(
            f"{one.id} is {':'.join(one.get(p) for p in _TYPE if one.get(p))}" for one in chosen
        )
        raise InvalidRequest(what=f"a template has one type: {kinds}")
    pairs = {tag: _common_pairs(chosen, tag) for tag in _SETS}
    operations = _common_operations(chosen)
    if not operations and not any(pairs.values()):
        raise InvalidRequest(what=f"{', '.join(primitives)} have nothing in common but their type")
    parts = [
        element(tag, None, *(element("nvpair", {"name": one, "value": value}) for one, value in found))
        for tag, found in pairs.items()
        if found
    ]
    parts += [element("operations", None, *operations)] if operations else []
    attributes = {"id": name} | {part: chosen[0].get(part) for part in _TYPE if chosen[0].get(part)}
    for one in chosen:
        slim = _without(one, pairs, operations).with_attribute_map(dict.fromkeys(_TYPE))
        cib = _with_primitive(cib, _referring(slim, name))
    made = with_ids(element("template", attributes, *parts), Ids(used_ids(configuration_of(cib))))
    resources = section(cib, "resources")
    return with_section(cib, "resources", resources.with_children((made, *resources.children)))


def _with_primitive(cib: Element, item: Element) -> Element:
    return change_resource(cib, item.id, lambda _old: item)


def _referring(item: Element, template: str) -> Element:
    rest = {name: value for name, value in item.attributes.items() if name != "id"}
    return element(item.tag, {"id": item.id, "template": template} | rest, *item.children)


def _primitive(cib: Element, name: str) -> Element:
    found = find(cib, name, "primitive")
    if found is None:
        raise NotFound(kind="primitive", name=name)
    if found.get("template"):
        raise InvalidRequest(what=f"{name} has the template {found.get('template')} already")
    return found


def _check_new(cib: Element, name: str) -> None:
    checked_identifier(name)
    if name in used_ids(configuration_of(cib)):
        raise InvalidRequest(what=f"the id {name!r} is taken")


def _plain_set(item: Element, tag: str) -> Element | None:
    """Its one set of that kind, when there is one and it has no rule, score, or reference."""
    found = item.all(tag)
    if len(found) != 1 or set(found[0].attributes) - {"id"} or found[0].all("rule"):
        return None
    return found[0]


def _pairs(item: Element, tag: str) -> dict[str, str]:
    one = _plain_set(item, tag)
    pairs = one.all("nvpair") if one is not None else ()
    return {pair.get("name"): pair.get("value") for pair in pairs if "id-ref" not in pair.attributes}


def _common_pairs(items: Sequence[Element], tag: str) -> list[tuple[str, str]]:
    all_of_them = [_pairs(one, tag) for one in items]
    return [
        (name, value)
        for name, value in all_of_them[0].items()
        if all(one.get(name) == value for one in all_of_them)
    ]


def _said(operation: Element) -> tuple[object, ...]:
    """An operation without its ids."""
    attributes = sorted((name, value) for name, value in operation.attributes.items() if name != "id")
    return (operation.tag, attributes, [_said(one) for one in operation.children])


def _common_operations(items: Sequence[Element]) -> list[Element]:
    all_of_them = [[op for one in item.all("operations") for op in one.all("op")] for item in items]
    return [
        _without_ids(one)
        for one in all_of_them[0]
        if all(any(_said(op) == _said(one) for op in others) for others in all_of_them)
    ]


def _without_ids(item: Element) -> Element:
    return item.with_attributes(id=None).with_children(tuple(_without_ids(one) for one in item.children))


def _without(
    item: Element, pairs: dict[str, list[tuple[str, str]]], operations: Sequence[Element]
) -> Element:
    """What is left to the primitive itself."""
    gone = {id(one): dict(pairs[one.tag]) for tag in _SETS if (one := _plain_set(item, tag)) is not None}
    said = [_said(one) for one in operations]

    def visit(part: Element) -> Element | None:
        if id(part) in gone:
            names = gone[id(part)]
            kept = part.mapped(lambda one: None if one.tag == "nvpair" and one.get("name") in names else one)
        elif part.tag == "operations":
            kept = part.mapped(lambda one: None if one.tag == "op" and _said(one) in said else one)
        else:
            return part
        return kept if kept.children else None

    return item.mapped(visit)


def with_weak_bonds(cib: Element, resources: Sequence[str]) -> tuple[Element, str]:
    """Resources go to one node, and yet none waits for another; and the name of what binds them.

    They are colocated, as a set without order, with a resource that does nothing and is not monitored.
    """
    if len(resources) < 2:
        raise InvalidRequest(what="a bond is between two resources or more")
    for name in resources:
        if not any(one.id == name and one.tag not in (*CONSTRAINT_TAGS, "node") for one in objects(cib)):
            raise NotFound(kind="resource", name=name)
    if len(set(resources)) != len(resources):
        raise InvalidRequest(what="a resource is named twice")
    ids = Ids(used_ids(configuration_of(cib)))
    name = ids.take("weak-bond")
    references = (element("resource_ref", {"id": one}) for one in resources)
    sets = (
        element("resource_set", {"sequential": "false"}, *references),
        element("resource_set", None, element("resource_ref", {"id": name})),
    )
    bond = element("rsc_colocation", {"id": ids.take(f"{name}-colocation"), "score": "INFINITY"}, *sets)
    holder = section(cib, "resources")
    made = element("primitive", {"id": name} | BOND_AGENT)
    cib = with_section(cib, "resources", holder.with_children((*holder.children, made)))
    return put_in_section(cib, with_ids(bond, ids)), name
