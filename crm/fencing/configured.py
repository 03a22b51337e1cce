"""Fence devices as the configuration means them: templates, references, rules, where not to run them. Pure.

Pacemaker's fencer reads them so, too: a device whose location constraints add up to less than 0 for a node is
not executed there (any other node may, wherever its monitor runs), and one that is wanted stopped, itself or
with what contains it, is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from crm import patterns
from crm.cib.model import Element
from crm.scheduler import scores
from crm.scheduler.rules import Context, Elements, holds, merge_sets

Transient = Mapping[str, Mapping[str, str]]
"""The transient attributes of nodes, by the nodes' names."""

NOTHING: Final[Transient] = {}
_CONTAINERS: Final = frozenset({"group", "clone", "master"})
_FALSE: Final = frozenset({"false", "no", "off", "0", "n"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """One device: its values, and the nodes on which its agent may not be executed."""

    id: str
    type: str
    parameters: Mapping[str, str]
    meta: Mapping[str, str]
    banned: frozenset[str]


def fence_primitives(configuration: Element) -> Iterator[tuple[Element, tuple[Element, ...]]]:
    """The primitives of class stonith, template merged in, each with what contains it, outermost first."""
    resources = configuration.child("resources")
    if resources is None:
        return
    templates = {item.id: item for item in resources.all("template")}

    def below(parent: Element, above: tuple[Element, ...]) -> Iterator[tuple[Element, tuple[Element, ...]]]:
        for item in parent.children:
            if item.tag in _CONTAINERS:
                yield from below(item, (*above, item))
            elif item.tag == "primitive":
                merged = _merged(item, templates)
                if merged is not None and merged.get("class").lower() == "stonith":
                    yield merged, above

    yield from below(resources, ())


def configured(configuration: Element, now_s: int, transient: Transient = NOTHING) -> tuple[Configured, ...]:
    """All devices that are not wanted stopped, in the order of the document.

    For rules: `now_s` (since 1970) is the time, `transient` has the transient attributes of nodes by name.
    """
    found = list(fence_primitives(configuration))
    if not found:
        return ()
    elements = Elements(configuration)
    context = Context(now_s=now_s, recheck=lambda _at: None)
    constraints = _Locations(configuration, elements, now_s, transient)
    devices = []
    for item, above in found:
        meta: dict[str, str] = {}
        for one in (item, *reversed(above)):
            merge_sets(meta, one, "meta_attributes", context, elements)
        merge_sets(meta, configuration.child("rsc_defaults"), "meta_attributes", context, elements)
        if meta.get("target-role", "").lower() == "stopped":
            continue
        parameters: dict[str, str] = {}
        merge_sets(parameters, item, "instance_attributes", context, elements)
        names = [*(one.id for one in above), item.id]
        device = Configured(
            id=item.id,
            type=item.get("type"),
            parameters=parameters,
            meta=meta,
            banned=constraints.banned(names, item.get("template")),
        )
        devices.append(device)
    return tuple(devices)


def _merged(item: Element, templates: Mapping[str, Element]) -> Element | None:
    """As the scheduler merges them; None where there is no such template."""
    name = item.get("template")
    if not name:
        return item
    template = templates.get(name)
    if template is None:
        return None
    attributes = {**template.attributes, "id": item.id, "template": name}
    return Element(item.tag, attributes, (*template.children, *item.children), item.text)


class _Locations:
    """What the location constraints say of resources."""

    def __init__(self, configuration: Element, elements: Elements, now_s: int, transient: Transient) -> None:
        self._elements = elements
        section = configuration.child("constraints")
        self._all = section.all("rsc_location") if section is not None else ()
        tags = configuration.child("tags")
        self._tags = {
            tag.id: {one.id for one in tag.all("obj_ref")} for tag in (tags.all("tag") if tags else ())
        }
        self._opts_in = _option(configuration, "symmetric-cluster").lower() in _FALSE
        nodes = configuration.child("nodes")
        self._nodes = {
            node.get("uname"): Context(
                now_s=now_s,
                recheck=lambda _at: None,
                attributes=_attributes(node, elements, now_s, transient.get(node.get("uname"), {})),
            )
            for node in (nodes.all("node") if nodes is not None else ())
        }

    def banned(self, names: list[str], template: str) -> frozenset[str]:
        """The nodes for which all that is said of a resource (`names`, outermost first) is less than 0.

        With symmetric-cluster=false also those of which nothing is said.
        """
        if not self._all and not self._opts_in:
            return frozenset()
        known = {*names, template} - {""}
        known |= {tag for tag, members in self._tags.items() if members & known}
        totals: dict[str, int] = {} if self._opts_in else dict.fromkeys(self._nodes, 0)
        for item in self._all:
            for score in self._scores_for(item, names[0], known):
                self._add(totals, item, score)
        return frozenset(name for name in self._nodes if totals.get(name, -1) < 0)

    def _scores_for(self, item: Element, outermost: str, known: set[str]) -> Iterator[str]:
        """The text of a constraint's score, once for each time that it names the resource."""
        pattern = item.attributes.get("rsc-pattern")
        if item.get("rsc"):
            if item.get("rsc") in known:
                yield item.get("score")
        elif pattern is not None:
            compiled = patterns.compiled(pattern.removeprefix("!"))
            if compiled is None:
                return
            matches = compiled.search(outermost) is not None
            if matches is not pattern.startswith("!"):
                yield item.get("score")
        for one in item.all("resource_set"):
            if known & {member.id for member in one.all("resource_ref")}:
                yield one.get("score") or item.get("score")

    def _add(self, totals: dict[str, int], item: Element, score: str) -> None:
        rules = [rule for one in item.all("rule") if (rule := self._elements.resolve(one)) is not None]
        if not rules:
            name = item.get("node")
            totals[name] = scores.add(totals.get(name, 0), scores.parse(score))
            return
        for rule in rules:
            for name, context in self._nodes.items():
                if holds(rule, context, self._elements):
                    attribute = rule.get("score-attribute")
                    said = (context.attributes or {}).get(attribute) if attribute else rule.get("score")
                    totals[name] = scores.add(totals.get(name, 0), scores.parse(said or "0"))


def _attributes(
    node: Element, elements: Elements, now_s: int, transient: Mapping[str, str]
) -> dict[str, str]:
    """What rules may ask of a node: transient attributes come before permanent ones, as in the scheduler."""
    found = {"#uname": node.get("uname"), "#id": node.id, "#kind": node.get("type") or "cluster"}
    if found["#kind"] in ("member", "normal"):
        found["#kind"] = "cluster"
    context = Context(now_s=now_s, recheck=lambda _at: None)
    merge_sets(found, node, "instance_attributes", context, elements)
    found |= {name: value for name, value in transient.items() if not name.startswith("#")}
    return found


def _option(configuration: Element, name: str) -> str:
    options = configuration.child("crm_config")
    for one in options.all("cluster_property_set") if options is not None else ():
        for pair in one.all("nvpair"):
            if pair.get("name") == name:
                return pair.get("value")
    return ""
