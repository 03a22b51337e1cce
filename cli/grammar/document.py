"""The tree of a CIB as the shell sees it: objects with ids, sections, containers. Pure tree surgery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from crm.cib.model import Element, element
from hacluster.errors import NotFound

SECTIONS: Final = (
    *("crm_config", "nodes", "resources", "constraints", "fencing-topology", "tags", "acls", "alerts"),
    *("rsc_defaults", "op_defaults"),
)
_ALWAYS: Final = ("crm_config", "nodes", "resources", "constraints")
SECTION_OF: Final = {
    "node": "nodes",
    "template": "resources",
    "primitive": "resources",
    "bundle": "resources",
    "group": "resources",
    "master": "resources",
    "clone": "resources",
    "tag": "tags",
    "rsc_location": "constraints",
    "rsc_colocation": "constraints",
    "rsc_order": "constraints",
    "rsc_ticket": "constraints",
    "cluster_property_set": "crm_config",
    "acl_role": "acls",
    "acl_target": "acls",
    "acl_group": "acls",
    "acl_user": "acls",
    "alert": "alerts",
}
RESOURCE_TAGS: Final = ("primitive", "group", "clone", "master", "bundle")
CONTAINER_TAGS: Final = ("group", "clone", "master", "bundle")
CONSTRAINT_TAGS: Final = ("rsc_location", "rsc_colocation", "rsc_order", "rsc_ticket")
# Attributes of constraints that name a resource.
REFERENCES: Final = {
    "rsc_location": ("rsc",),
    "rsc_colocation": ("rsc", "with-rsc"),
    "rsc_order": ("first", "then"),
    "rsc_ticket": ("rsc",),
}


_NO_DIGITS: Final = str.maketrans("", "", "0123456789")


def empty_cib() -> Element:
    """A CIB with nothing in it."""
    sections = (element(name) for name in _ALWAYS)
    attributes = {"validate-with": "pacemaker-3.9", "admin_epoch": "0", "epoch": "0", "num_updates": "0"}
    return element("cib", attributes, element("configuration", None, *sections), element("status"))


def configuration_of(cib: Element) -> Element:
    """The <configuration>, or an empty one."""
    return cib.child("configuration") or element("configuration")


def section(cib: Element, name: str) -> Element:
    """A section of the configuration, or an empty one."""
    return configuration_of(cib).child(name) or element(name)


def with_section(cib: Element, name: str, content: Element | None) -> Element:
    """`cib` with the section replaced, added at its usual place, or (None) removed."""
    configuration = configuration_of(cib)
    if configuration.child(name) is not None:
        changed = configuration.mapped(lambda old: content if old.tag == name else old)
    elif content is None:
        return cib
    else:
        rank = SECTIONS.index(name)
        before = [
            index
            for index, old in enumerate(configuration.children)
            if old.tag in SECTIONS and SECTIONS.index(old.tag) < rank
        ]
        at = before[-1] + 1 if before else 0
        changed = configuration.with_children(
            (*configuration.children[:at], content, *configuration.children[at:])
        )
    if cib.child("configuration") is None:
        return cib.with_children((changed, *cib.children))
    return cib.mapped(lambda old: changed if old.tag == "configuration" else old)


def objects(cib: Element) -> Iterator[Element]:
    """Every object with an id of its own, containers before their members, in document order."""
    for part in configuration_of(cib).children:
        if part.tag == "resources":
            for resource in part.children:
                yield from _with_members(resource)
        elif part.tag == "fencing-topology":
            yield part
        elif part.tag in ("rsc_defaults", "op_defaults"):
            for one in part.all("meta_attributes"):
                yield element(part.tag, None, one)
        else:
            yield from (child for child in part.children if child.tag in SECTION_OF)


def _with_members(resource: Element) -> Iterator[Element]:
    if resource.tag in RESOURCE_TAGS or resource.tag == "template":
        yield resource
    if resource.tag in CONTAINER_TAGS:
        for child in resource.all(*RESOURCE_TAGS):
            yield from _with_members(child)


def object_id(item: Element) -> str:
    """The id the shell knows an object by: a node's name, the set's id of defaults."""
    if item.tag == "node":
        return item.get("uname") or item.id
    if item.tag in ("rsc_defaults", "op_defaults"):
        return item.children[0].id if item.children else item.tag
    if item.tag == "fencing-topology":
        return "fencing_topology"
    return item.id


def find(cib: Element, identifier: str, *tags: str) -> Element | None:
    """The object of that id; a resource before a node of the same name. `tags` narrow it down."""
    found = [one for one in objects(cib) if object_id(one) == identifier and (not tags or one.tag in tags)]
    if not found:
        found = [
            one
            for one in objects(cib)
            if one.tag == "node" and one.id == identifier and (not tags or "node" in tags)
        ]
    return min(found, key=lambda one: one.tag == "node", default=None)


def not_found(kind: str, name: str, names: Iterable[str]) -> NotFound:
    """The error that says which of the names there are was probably meant."""
    from difflib import get_close_matches

    known = list(names)
    base, _, number = name.rpartition(":")
    if number.isdigit() and base in known:
        return NotFound(kind=kind, name=name, remedy=f"it is an instance of {base}: name that")
    letters = name.translate(_NO_DIGITS)  # node3 is not meant by node9
    others = [one for one in known if one.translate(_NO_DIGITS) != letters]
    close = get_close_matches(name, others, n=1, cutoff=0.65)
    return NotFound(kind=kind, name=name, remedy=f"did you mean {close[0]}?" if close else "")


def object_not_found(cib: Element, name: str) -> NotFound:
    """No object has that id."""
    return not_found("object", name, (object_id(one) for one in objects(cib)))


def resource_not_found(cib: Element, name: str) -> NotFound:
    """No resource has that id."""
    every = section(cib, "resources").walk()
    return not_found("resource", name, (one.id for one in every if one.tag in RESOURCE_TAGS))


def find_resource(cib: Element, identifier: str) -> Element | None:
    """The primitive, group, clone or bundle of that id."""
    for resource in section(cib, "resources").walk():
        if resource.tag in RESOURCE_TAGS and resource.id == identifier:
            return resource
    return None


def parent_of(cib: Element, identifier: str) -> Element | None:
    """The container a resource is in, None for one at the top or none at all."""
    for resource in section(cib, "resources").walk():
        if resource.tag in CONTAINER_TAGS and any(
            child.id == identifier for child in resource.all(*RESOURCE_TAGS)
        ):
            return resource
    return None


def members(resource: Element) -> tuple[Element, ...]:
    """The resources directly inside."""
    return resource.all(*RESOURCE_TAGS)


def change_resource(cib: Element, identifier: str, change: Callable[[Element], Element | None]) -> Element:
    """Replace the resource or template of that id wherever it is; None removes it."""

    def visit(item: Element) -> Element | None:
        if item.id == identifier and (item.tag in RESOURCE_TAGS or item.tag == "template"):
            return change(item)
        return item.mapped(visit) if item.tag in CONTAINER_TAGS else item

    return with_section(cib, "resources", section(cib, "resources").mapped(visit))


def put_in_section(cib: Element, item: Element) -> Element:
    """Replace the child of the same tag and id in its section, or add it last."""
    name = SECTION_OF[item.tag]
    return with_section(cib, name, section(cib, name).with_child(item))


def change_section(cib: Element, name: str, change: Callable[[Element], Element | None]) -> Element:
    """Map the children of a section. A section that did not exist is not made."""
    if configuration_of(cib).child(name) is None:
        return cib
    return with_section(cib, name, section(cib, name).mapped(change))
