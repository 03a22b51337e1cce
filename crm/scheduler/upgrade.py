"""Reading configurations of older schemas (pacemaker-1.x, 2.x): what they mean in today's words.

Renamed options of 3.x are read under both names where they are used; here is what has moved.
"""

from __future__ import annotations

import re
from typing import Final

from crm.cib.model import Element, element

_SCHEMA = re.compile(r"pacemaker-(\d+)\.(\d+)$")
_OP_META: Final = frozenset(
    {"interval-origin", "start-delay", "enabled", "on-fail", "record-pending", "role", "timeout"}
)
_GONE_CLASSES: Final = frozenset({"nagios", "upstart"})
_OPTION_NAMES: Final = {
    "transition_idle_timeout": "cluster-delay",
    "transition-idle-timeout": "cluster-delay",
}
_MOVED_OPTIONS: Final = {
    "default-resource-stickiness": ("rsc_defaults", "resource-stickiness"),
    "is-managed-default": ("rsc_defaults", "is-managed"),
    "default-action-timeout": ("op_defaults", "timeout"),
}


def upgrade(cib: Element) -> Element:
    """The document with the meaning a current schema gives it; unchanged where it is current."""
    match = _SCHEMA.match(cib.get("validate-with"))
    configuration = cib.child("configuration")
    if match is None or configuration is None or int(match[1]) >= 4:
        return cib
    cib = cib.mapped(lambda item: _from_3(item) if item is configuration else item)
    configuration = cib.child("configuration")
    if configuration is None or int(match[1]) == 3:
        return cib
    moved: dict[str, dict[str, str]] = {"rsc_defaults": {}, "op_defaults": {}}
    changed = configuration.mapped(lambda item: _section(item, moved))
    for tag, pairs in moved.items():
        if pairs:
            changed = _add_defaults(changed, tag, pairs)
    return cib.mapped(lambda item: changed if item is configuration else item)


def _from_3(configuration: Element) -> Element:
    """Ping nodes are members where nothing may run; agents of classes that are no more vanish."""
    nodes, resources = configuration.child("nodes"), configuration.child("resources")
    pings = [one.get("uname") for one in nodes.all("node") if one.get("type") == "ping"] if nodes else []
    kept = resources.mapped(_without_gone) if resources is not None else None
    names = [one.id for one in kept.children if one.id] if kept is not None else []
    barred = tuple(
        element(
            "rsc_location",
            {
                "id": f"ping-{node}-{name}",
                "rsc": name,
                "node": node,
                "score": "-INFINITY",
                "resource-discovery": "never",
            },
        )
        for node in pings
        for name in names
    )

    def section(item: Element) -> Element:
        if item is nodes and pings:
            return item.mapped(
                lambda one: one.with_attributes(type="member") if one.get("type") == "ping" else one
            )
        if item is resources and kept is not None:
            return kept
        if item.tag == "constraints" and barred:
            return item.with_children((*item.children, *barred))
        return item

    return configuration.mapped(section)


def _without_gone(item: Element) -> Element | None:
    if item.tag in {"primitive", "template"} and item.get("class") in _GONE_CLASSES:
        return None
    if item.tag in {"group", "clone", "master"}:
        return item.mapped(_without_gone)
    return item


def _section(item: Element, moved: dict[str, dict[str, str]]) -> Element:
    match item.tag:
        case "crm_config":
            return item.mapped(lambda one: _options(one, moved))
        case "resources":
            return item.mapped(_resource)
        case "nodes":
            return item.mapped(
                lambda one: one.with_attributes(type="member") if one.get("type") == "normal" else one
            )
        case "constraints":
            return item.mapped(
                lambda one: (
                    one.with_attribute_map({"score-attribute": None}) if one.tag == "rsc_colocation" else one
                )
            )
        case _:
            return item


def _options(item: Element, moved: dict[str, dict[str, str]]) -> Element:
    def one(pair: Element) -> Element | None:
        if pair.tag == "attributes":
            return pair.mapped(one)
        if pair.tag != "nvpair":
            return pair
        name = pair.get("name").replace("_", "-")
        name = _OPTION_NAMES.get(name, name)
        value = pair.get("value")
        if name in _MOVED_OPTIONS:
            section, meta = _MOVED_OPTIONS[name]
            moved[section].setdefault(meta, value)
            return None
        if name == "default-resource-failure-stickiness":
            if value == "-INFINITY":
                moved["rsc_defaults"].setdefault("migration-threshold", "1")
            return None
        return pair.with_attributes(name=name)

    return item.mapped(one)


def _add_defaults(configuration: Element, tag: str, pairs: dict[str, str]) -> Element:
    name = f"upgraded-{tag}"
    block = element(
        "meta_attributes",
        {"id": name, "score": "-INFINITY"},
        *(
            element("nvpair", {"id": f"{name}-{key}", "name": key, "value": value})
            for key, value in pairs.items()
        ),
    )
    old = configuration.child(tag)
    if old is None:
        return configuration.with_children((*configuration.children, element(tag, {}, block)))
    new = old.with_children((*old.children, block))
    return configuration.mapped(lambda item: new if item is old else item)


def _resource(item: Element) -> Element:
    if item.tag in {"group", "clone", "master", "bundle"}:
        return item.mapped(_resource)
    if item.tag not in {"primitive", "template"}:
        return item
    meta: dict[str, str] = {}
    changed = item.mapped(lambda part: _part(part, meta))
    if not meta:
        return changed
    name = f"{item.id}-upgraded-meta"
    block = element(
        "meta_attributes",
        {"id": name},
        *(
            element("nvpair", {"id": f"{name}-{key}", "name": key, "value": value})
            for key, value in meta.items()
        ),
    )
    return changed.with_children((*changed.children, block))


def _part(part: Element, meta: dict[str, str]) -> Element:
    if part.tag == "operations":
        return part.mapped(lambda op: _operation(op, meta) if op.tag == "op" else op)
    if part.tag == "instance_attributes":
        return part.mapped(lambda pair: _parameter(pair, meta))
    return part


def _parameter(pair: Element, meta: dict[str, str]) -> Element | None:
    name = pair.get("name")
    if re.fullmatch(r"pcmk_\w+_cmd", name):
        return pair.with_attributes(name=name[: -len("cmd")] + "action")
    if name == "pcmk_arg_map" and pair.get("value").startswith("port:"):
        return pair.with_attributes(name="pcmk_host_argument", value=pair.get("value")[len("port:") :])
    if name.startswith("isolation"):
        meta["target-role"] = "Stopped"
        return None
    return pair


def _operation(op: Element, meta: dict[str, str]) -> Element:
    requires = op.attributes.get("requires")
    if requires is not None:
        meta.setdefault("requires", requires)
        op = op.with_attributes(requires=None)
    children: list[Element] = []
    for part in op.children:
        if part.tag != "instance_attributes":
            children.append(part)
            continue
        kept = tuple(pair for pair in part.children if pair.get("name") not in _OP_META)
        moved = tuple(pair for pair in part.children if pair.get("name") in _OP_META)
        if kept:
            children.append(part.with_children(kept))
        if moved:
            children.append(Element("meta_attributes", part.attributes, moved, part.text))
    return op.with_children(tuple(children))
