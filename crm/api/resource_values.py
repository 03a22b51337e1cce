"""Changes of a resource's configuration that agents ask for: one value, a ban, and taking it back. Pure."""

from __future__ import annotations

from typing import Final

from crm.cib.ids import free_id, used_ids
from crm.cib.model import Element
from hacluster.errors import NotFound

TAGS: Final = {"params": "instance_attributes", "meta": "meta_attributes", "utilization": "utilization"}
RESOURCES: Final = ("primitive", "group", "clone", "master", "bundle")


def parameter(configuration: Element, resource: str, kind: str, name: str) -> str | None:
    """The first value of that name, None without one. Raises NotFound."""
    for group in _resource(configuration, resource).all(TAGS[kind]):
        for pair in group.all("nvpair"):
            if pair.get("name") == name:
                return pair.get("value")
    return None


def with_parameter(configuration: Element, resource: str, kind: str, name: str, value: str | None) -> Element:
    """The configuration with a value set, or with None removed. Raises NotFound."""
    item = _resource(configuration, resource)
    tag = TAGS[kind]
    if parameter(configuration, resource, kind, name) is not None:
        changed = item.mapped(lambda group: _with_pair(group, name, value) if group.tag == tag else group)
    elif value is None:
        return configuration
    else:
        used = used_ids(configuration)
        group = next(iter(item.all(tag)), None) or Element(tag, {"id": free_id(used, f"{resource}-{tag}")})
        pair = Element("nvpair", {"id": free_id(used, f"{group.id}-{name}"), "name": name, "value": value})
        grown = group.with_children((*group.children, pair))
        changed = item.with_child(grown) if item.all(tag) else _inserted(item, grown)
    return _replaced(configuration, item, changed)


def banned(configuration: Element, resource: str, node: str) -> Element:
    """The configuration with `cli-ban-RESOURCE-on-NODE`, as crm_resource --ban makes it. Raises NotFound."""
    _resource(configuration, resource)
    name = f"cli-ban-{resource}-on-{node}"
    ban = Element(
        "rsc_location",
        {"id": name, "rsc": resource, "role": "Started", "node": node, "score": "-INFINITY"},
    )
    constraints = configuration.child("constraints") or Element("constraints")
    return configuration.with_child(constraints.with_child(ban))


def cleared(configuration: Element, resource: str, node: str) -> Element:
    """Without the bans and moves of a resource, or with a node's name only those that concern it."""
    _resource(configuration, resource)
    constraints = configuration.child("constraints")
    if constraints is None:
        return configuration

    def kept(item: Element) -> Element | None:
        ours = item.id == f"cli-prefer-{resource}" or item.id.startswith(f"cli-ban-{resource}-on-")
        return None if ours and (not node or item.get("node") == node) else item

    return configuration.with_child(constraints.mapped(kept))


def _resource(configuration: Element, resource: str) -> Element:
    resources = configuration.child("resources")
    found = resources.by_id(resource, *RESOURCES) if resources is not None else None
    if found is None:
        raise NotFound(kind="resource", name=resource)
    return found


def _with_pair(group: Element, name: str, value: str | None) -> Element:
    def changed(pair: Element) -> Element | None:
        if pair.tag != "nvpair" or pair.get("name") != name:
            return pair
        return pair.with_attributes(value=value) if value is not None else None

    return group.mapped(changed)


def _inserted(item: Element, group: Element) -> Element:
    """The schema wants sets of values before operations and inner resources."""
    at = sum(child.tag in (*TAGS.values(), "docs") for child in item.children)
    return item.with_children((*item.children[:at], group, *item.children[at:]))


def _replaced(here: Element, old: Element, new: Element) -> Element:
    return new if here is old else here.mapped(lambda child: _replaced(child, old, new))
