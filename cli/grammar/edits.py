"""delete, rename, modgroup, set, erase: changes of objects that exist. Pure: a CIB in, a CIB out."""

from __future__ import annotations

from collections.abc import Sequence

from cli.grammar.document import (
    CONSTRAINT_TAGS,
    CONTAINER_TAGS,
    REFERENCES,
    RESOURCE_TAGS,
    SECTION_OF,
    change_resource,
    change_section,
    configuration_of,
    find,
    find_resource,
    members,
    object_id,
    object_not_found,
    objects,
    parent_of,
    put_in_section,
    resource_not_found,
    section,
    with_section,
)
from cli.grammar.ids import Ids, with_ids
from cli.grammar.references import change_constraints, without_constraints_of, without_tagged
from cli.grammar.words import checked_identifier
from crm.cib.ids import used_ids
from crm.cib.model import Element, element
from hacluster.errors import InvalidRequest, NotFound


def delete(cib: Element, identifiers: Sequence[str]) -> Element:
    """Delete objects and what only makes sense with them (hacli-language 13.1). Raises NotFound."""
    found: list[Element] = []
    for identifier in dict.fromkeys(identifiers):
        item = find(cib, identifier)
        if item is None:
            raise object_not_found(cib, identifier)
        found.append(item)

    def rank(item: Element) -> int:
        if item.tag in CONSTRAINT_TAGS:
            return 0
        return 1 + ("clone", "master", "group", "bundle").index(item.tag) if item.tag in CONTAINER_TAGS else 9

    for item in sorted(found, key=rank):
        if find(cib, object_id(item), item.tag) is not None:  # not gone with another one
            cib = _delete_one(cib, item)
    return cib


def _delete_one(cib: Element, item: Element) -> Element:
    match item.tag:
        case "fencing-topology":
            return with_section(cib, "fencing-topology", None)
        case "rsc_defaults" | "op_defaults":
            return _without(cib, item.tag, "meta_attributes", object_id(item))
        case "node":
            return change_section(
                cib, "nodes", lambda one: None if one.get("uname") == item.get("uname") else one
            )
        case "template":
            for user in section(cib, "resources").walk():
                if user.tag == "primitive" and user.get("template") == item.id:
                    cib = _delete_primitive(cib, user)
            cib = without_constraints_of(cib, item.id)
        case "group" | "clone" | "master" | "bundle":
            return _dissolve(cib, item)
        case "primitive":
            return _delete_primitive(cib, item)
        case "tag":
            cib = without_constraints_of(cib, item.id)
        case "acl_role":
            cib = change_section(
                cib,
                "acls",
                lambda one: one.mapped(
                    lambda role: None if role.tag == "role" and role.id == item.id else role
                ),
            )
        case _:
            pass
    return without_tagged(_without(cib, SECTION_OF[item.tag], item.tag, item.id), item.id)


def _without(cib: Element, name: str, tag: str, identifier: str) -> Element:
    return change_section(cib, name, lambda one: None if one.tag == tag and one.id == identifier else one)


def _delete_primitive(cib: Element, item: Element) -> Element:
    parent = parent_of(cib, item.id)
    cib = change_resource(cib, item.id, lambda _old: None)
    cib = without_tagged(without_constraints_of(cib, item.id), item.id)
    while parent is not None:
        now = find_resource(cib, parent.id)
        if now is None or members(now):
            break
        above = parent_of(cib, parent.id)
        gone = parent.id
        cib = change_resource(cib, gone, lambda _old: None)
        cib = without_tagged(without_constraints_of(cib, gone), gone)
        parent = above
    return cib


def _dissolve(cib: Element, item: Element) -> Element:
    """Members go to the top, constraints to the first of them; an outer container is left empty and goes."""
    item = find_resource(cib, item.id) or item
    inner = members(item)
    outer = parent_of(cib, item.id)
    cib = change_resource(cib, item.id, lambda _old: None)
    for member in inner:
        cib = put_in_section(cib, member)
    while outer is not None:
        above = parent_of(cib, outer.id)
        gone = outer.id
        cib = change_resource(cib, gone, lambda _old: None)
        cib = _renamed_away(cib, gone, inner)
        outer = above
    return _renamed_away(cib, item.id, inner)


def _renamed_away(cib: Element, gone: str, inner: Sequence[Element]) -> Element:
    if inner:
        cib = change_constraints(cib, gone, inner[0].id)
    return without_tagged(without_constraints_of(cib, gone), gone)


def rename(cib: Element, old: str, new: str) -> Element:
    """Rename an object and all references to it, not its parts. Raises NotFound, InvalidRequest."""
    item = find(cib, old)
    if item is None:
        raise object_not_found(cib, old)
    if item.tag in ("node", "fencing-topology"):
        raise InvalidRequest(what=f"a {item.tag} cannot be renamed")
    checked_identifier(new)
    found = find(cib, new)  # a resource may have the name of a node
    if new in used_ids(configuration_of(cib)) or (found is not None and found.tag != "node"):
        raise InvalidRequest(what=f"the id {new!r} is taken")

    def visit(one: Element) -> Element:
        changes: dict[str, str | None] = {}
        if one.id == old and (one.tag != "node") and (one.tag in SECTION_OF or one.tag in _NAMING):
            changes["id"] = new
        if one.tag == "meta_attributes" and one.id == old:
            changes["id"] = new
        for name in (*REFERENCES.get(one.tag, ()), "template", "reference", "id-ref"):
            if one.get(name) == old:
                changes[name] = new
        if one.tag == "fencing-level":
            devices = [new if device == old else device for device in one.get("devices").split(",")]
            if devices != one.get("devices").split(","):
                changes["devices"] = ",".join(devices)
        if changes:
            one = one.with_attribute_map(changes)
        return one.with_children(tuple(map(visit, one.children))) if one.children else one

    return cib.mapped(lambda part: visit(part) if part.tag == "configuration" else part)


_NAMING = ("resource_ref", "obj_ref", "role")


def modgroup_add(cib: Element, group: str, member: str, *, before: str = "", after: str = "") -> Element:
    """Put a primitive into a group: last, or beside another member. Raises InvalidRequest."""
    item = _group(cib, group)
    resource = find_resource(cib, member)
    if resource is None:
        raise resource_not_found(cib, member)
    if resource.tag != "primitive":
        raise InvalidRequest(what=f"{member} is a {resource.tag}: a group contains primitives only")
    parent = parent_of(cib, member)
    if parent is not None:
        raise InvalidRequest(what=f"{member} is in {parent.tag} {parent.id} already")
    children = list(item.children)
    at = len(children)
    beside = before or after
    if beside:
        positions = [
            index for index, child in enumerate(children) if child.tag == "primitive" and child.id == beside
        ]
        if not positions:
            raise InvalidRequest(what=f"{beside!r} is not in group {group}")
        at = positions[0] + (1 if after else 0)
    children.insert(at, resource)
    cib = change_resource(cib, member, lambda _old: None)
    return change_resource(cib, group, lambda old: old.with_children(tuple(children)))


def modgroup_remove(cib: Element, group: str, member: str) -> Element:
    """Take a primitive out of a group, to the top level. Raises InvalidRequest."""
    item = _group(cib, group)
    inner = members(item)
    resource = next((child for child in inner if child.id == member), None)
    if resource is None:
        raise InvalidRequest(what=f"{member!r} is not in group {group}")
    if len(inner) == 1:
        raise InvalidRequest(
            what=f"group {group} would be empty without {member}",
            remedy=f"delete the group: `delete {group}`",
        )
    cib = change_resource(
        cib,
        group,
        lambda old: old.mapped(lambda child: None if child is resource or child == resource else child),
    )
    return put_in_section(cib, resource)


def _group(cib: Element, identifier: str) -> Element:
    item = find_resource(cib, identifier)
    if item is None:
        raise NotFound(kind="group", name=identifier)
    if item.tag != "group":
        raise InvalidRequest(what=f"{identifier} is a {item.tag}, not a group")
    return item


def set_path(cib: Element, path: str, value: str) -> Element:
    """`set ID.NAME VALUE`, `set ID.OP[.INTERVAL].ATTRIBUTE VALUE`. Raises NotFound, InvalidRequest."""
    for item in sorted(objects(cib), key=lambda one: -len(object_id(one))):
        prefix = object_id(item) + "."
        if path.startswith(prefix):
            changed = _set_in(item, path[len(prefix) :], value, path)
            return _replaced(cib, item, changed)
    raise object_not_found(cib, path.partition(".")[0])


def _set_in(item: Element, rest: str, value: str, path: str) -> Element:
    def visit(one: Element) -> Element:
        if any(one is hit for hit in hits):
            return one.with_attribute_map({attribute: value})
        return one.with_children(
            tuple(child if child.tag in RESOURCE_TAGS else visit(child) for child in one.children)
        )

    own = [one for child in item.children if child.tag not in RESOURCE_TAGS for one in child.walk()]
    hits = [one for one in own if one.tag == "nvpair" and one.get("name") == rest]
    attribute = "value"
    if not hits and "." in rest:
        name, _, attribute = rest.rpartition(".")
        operation, _, interval = name.partition(".")
        hits = [
            one
            for one in own
            if one.tag == "op"
            and one.get("name") == operation
            and (not interval or one.get("interval") == interval)
        ]
    if len(hits) != 1:
        what = "names nothing" if not hits else f"names {len(hits)} things"
        raise InvalidRequest(
            what=f"{path!r} {what}", remedy="give ID.NAME or ID.OPERATION[.INTERVAL].ATTRIBUTE"
        )
    return visit(item)


def _replaced(cib: Element, old: Element, new: Element) -> Element:
    if old.tag in RESOURCE_TAGS or old.tag == "template":
        return change_resource(cib, old.id, lambda _old: new)
    if old.tag in ("rsc_defaults", "op_defaults"):
        return with_section(cib, old.tag, section(cib, old.tag).with_child(new.children[0]))
    return put_in_section(cib, new)


def set_attribute(
    cib: Element,
    identifier: str,
    tag: str,
    name: str,
    value: str | None,
    *,
    set_id: str = "",
    pair_id: str = "",
) -> Element:
    """Set (None: remove) one pair of a set of a resource or node; the first set that has the name is changed.

    A set that does not exist is made; it is called `set_id`, and the pair `pair_id`, when given and free.
    Raises NotFound.
    """
    item = find_resource(cib, identifier)
    if item is None:
        item = next(
            (one for one in section(cib, "nodes").all("node") if one.get("uname") == identifier), None
        )
    if item is None:
        raise NotFound(kind="resource or node", name=identifier)
    changed = with_attribute(item, tag, name, value, Ids(used_ids(configuration_of(cib))), set_id, pair_id)
    return _replaced(cib, item, changed)


def _exchanged(holder: Element, old: Element, new: Element | None) -> Element:
    return holder.mapped(lambda one: new if one is old else one)


def with_attribute(
    item: Element, tag: str, name: str, value: str | None, ids: Ids, set_id: str = "", pair_id: str = ""
) -> Element:
    """`item` with the pair set or (None) removed; a set that becomes empty stays."""
    for one in item.all(tag):
        for pair in one.all("nvpair"):
            if pair.get("name") == name:
                new = None if value is None else pair.with_attributes(value=value)
                return _exchanged(item, one, _exchanged(one, pair, new))
    if value is None:
        return item
    home = next(
        (one for one in item.all(tag) if "id-ref" not in one.attributes and not one.all("rule")), None
    )
    pair = element("nvpair", ({"id": ids.take(pair_id)} if pair_id else {}) | {"name": name, "value": value})
    if home is not None:
        grown = home.with_children((*home.children, pair))
        ids.free(home)
        filled = with_ids(grown, ids)
        return _exchanged(item, home, filled)
    made = element(tag, {"id": ids.take(set_id)} if set_id else None, pair)
    inner = [index for index, child in enumerate(item.children) if child.tag in RESOURCE_TAGS]
    at = inner[0] if inner else len(item.children)
    own = item.with_children(tuple(child for child in item.children if child.tag not in RESOURCE_TAGS))
    ids.free(own)
    filled = with_ids(element(item.tag, item.attributes, made), ids).children[0]
    return item.with_children((*item.children[:at], filled, *item.children[at:]))
