"""Definitions -> a changed CIB: create, redefine, move members, merge option sets, make ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cli.grammar.clashes import clashes
from cli.grammar.definitions import Definition, placed
from cli.grammar.document import (
    CONSTRAINT_TAGS,
    CONTAINER_TAGS,
    RESOURCE_TAGS,
    SECTION_OF,
    configuration_of,
    with_section,
)
from cli.grammar.ids import Ids, with_ids
from cli.grammar.merging import is_noted, is_same_set, merged, with_notes
from cli.grammar.options import ALL_NODES
from cli.grammar.references import Names, holders, id_index, missing_names, repointed, resolved
from cli.grammar.resources import MEMBER, MONITOR, OLD_OP_ATTRIBUTES
from cli.grammar.table import Table, flattened
from crm.cib.ids import own_ids, used_ids
from crm.cib.model import COMMENT, Element, element
from hacluster.durations import parse_ms
from hacluster.errors import HaError, InvalidDocument, InvalidDocuments, InvalidRequest


class Mode(StrEnum):
    """What a load does with what the text does not mention."""

    UPDATE = "update"
    REPLACE = "replace"
    PUSH = "push"
    PRUNE = "prune"  # as push, but nodes stay, and options are only what the text says
    CREATE = "create"  # a single command: as update, but what it makes must be new


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The changed CIB, and what the user should know."""

    cib: Element
    warnings: tuple[str, ...] = ()


_OPTION_SECTIONS: Final = ("rsc_defaults", "op_defaults")
_MAY_HOLD: Final = {
    "group": ("primitive",),
    "clone": ("primitive", "group"),
    "master": ("primitive", "group"),
    "bundle": ("primitive",),
}
# Members must exist before their containers, nodes before a topology for all of them.
_PHASES: Final[tuple[tuple[str, ...], ...]] = (
    ("node",),
    ("template",),
    ("primitive",),
    (MONITOR,),
    ("group", "bundle"),
    ("clone", "master"),
)
_OLD_ROLES: Final = {"Promoted": "Master", "Unpromoted": "Slave"}


def load(cib: Element, definitions: Sequence[Definition], *, source: str, mode: Mode = Mode.UPDATE) -> Loaded:
    """Apply all definitions or none. Raises InvalidDocuments with everything that is wrong."""
    loader = _Loader(cib, mode, definitions)
    errors: list[InvalidDocument] = []
    done: list[tuple[Definition, str]] = []
    for definition in _in_order(definitions):
        try:
            done += [(definition, one) for one in loader.apply(definition)]
        except HaError as error:
            errors.append(placed(error, source, definition.line))
    if not errors:
        names = Names(
            resources=loader.table.names(),
            templates=loader.table.names("template"),
            roles=frozenset(one.id for one in loader.table.rows("acls")),
        )
        loader.name_operations(one for _definition, one in done)
        for definition, identifier in done:
            try:
                loader.check(definition, identifier, names)
            except HaError as error:
                errors.append(placed(error, source, definition.line))
    cib = cib if errors else loader.finish()
    if loader.doubtful:  # made and kept ids give way to given ones
        errors += clashes(loader.before, cib, definitions, source)
    if errors:
        raise InvalidDocuments(errors=tuple(sorted(errors, key=lambda error: error.line)))
    return Loaded(cib=cib, warnings=tuple(loader.warnings))


def _in_order(definitions: Iterable[Definition]) -> list[Definition]:
    def phase(definition: Definition) -> int:
        for number, tags in enumerate(_PHASES):
            if definition.element.tag in tags:
                return number
        return len(_PHASES)

    return sorted(definitions, key=phase)


def erased(cib: Element, *, nodes: bool = False, keep: frozenset[tuple[str, str]] = frozenset()) -> Element:
    """Without objects; nodes go only when asked. `keep`: (tag, id) of option sets that stay."""
    for part in configuration_of(cib).children:
        if part.tag == "nodes" and not nodes:
            continue
        kept = tuple(child for child in part.children if (part.tag, child.id) in keep)
        always = part.tag in ("crm_config", "nodes", "resources", "constraints")
        cib = with_section(cib, part.tag, part.with_children(kept) if kept or always else None)
    return cib


def without_nodes(cib: Element) -> Element:
    """All but the nodes."""
    nodes = configuration_of(cib).child("nodes")
    return cib if nodes is None else with_section(cib, "nodes", nodes.with_children(()))


def _option_sets(definitions: Iterable[Definition]) -> frozenset[tuple[str, str]]:
    found = set()
    for definition in definitions:
        item = definition.element
        if item.tag == "cluster_property_set":
            found.add(("crm_config", item.id))
        elif item.tag in _OPTION_SECTIONS:
            found |= {(item.tag, one.id) for one in item.all("meta_attributes")}
    return frozenset(found)


@dataclass(slots=True)
class _Loader:
    cib: Element
    mode: Mode
    definitions: Sequence[Definition]
    warnings: list[str] = field(default_factory=list)
    before: Element = field(init=False)
    table: Table = field(init=False)
    old: Table = field(init=False)
    ids: Ids = field(init=False)
    doubtful: set[str] = field(init=False)  # ids given twice, or to what may not be what has it
    settled: dict[str, None] = field(init=False)
    holders: dict[str, str] = field(default_factory=dict)  # of members, as the text has them

    def __post_init__(self) -> None:
        if self.mode is Mode.REPLACE:
            self.cib = erased(self.cib)
        self.before = self.cib
        if self.mode is Mode.PUSH:
            self.cib = erased(self.cib, nodes=True, keep=_option_sets(self.definitions))
        elif self.mode is Mode.PRUNE:
            self.cib = erased(self.cib)
        self.table = Table(self.cib)
        self.old = Table(self.before) if self.mode in (Mode.PUSH, Mode.PRUNE) else self.table
        given = [name for one in self.definitions for name in own_ids(one.element)]
        used = used_ids(configuration_of(self.cib))
        self.doubtful = {name for name, times in Counter(given).items() if times > 1 or name in used}
        self.ids = Ids(used, reserved=given)
        redefined = {definition.element.id for definition in self.definitions}
        self.settled = {one.id: None for one in self.table.rows("constraints") if one.id not in redefined}

    def finish(self) -> Element:
        """The CIB with everything in it."""
        # New resources stand in the order of the text, however they had to be taken in.
        self.table.new_resources_in_order([one.element.id for one in self.definitions])
        if self.mode in (Mode.PUSH, Mode.PRUNE):
            self.table.in_the_order_of(self.before)
        return self.table.built()

    def apply(self, definition: Definition) -> tuple[str, ...]:
        """Put one definition into the table; the ids of what it made, for `check`."""
        item = definition.element if definition.from_xml else self._for_schema(definition.element)
        match item.tag:
            case "#monitor":
                return self._add_operation(item)
            case "node":
                return self._node(item)
            case "cluster_property_set":
                self._option_set("crm_config", item, definition)
                return ()
            case "rsc_defaults" | "op_defaults":
                for one in item.all("meta_attributes"):
                    self._option_set(item.tag, with_notes(one, item), definition)
                return ()
            case "fencing-topology":
                self._topology(item)
                return ()
            case _:
                return self._object(item)

    def _object(self, item: Element) -> tuple[str, ...]:
        self._new_or_same_kind(item)
        if item.tag in RESOURCE_TAGS or item.tag == "template":
            self._resource(item)
        else:
            self.table.put(self._identified(item))
        return (item.id,)

    def _identified(self, item: Element) -> Element:
        tag, name = item.tag, item.id
        return with_ids(item, self.ids, self.old.get(tag, name), self.table.get(tag, name))

    def name_operations(self, identifiers: Iterable[str]) -> None:
        """Operations that are referred to by their resource get an id, for there is nothing else to write."""
        both = ("primitive", "template")
        for item in filter(None, (self.table.get(tag, name) for name in identifiers for tag in both)):
            for one in item.all("operations"):
                for target in filter(None, (self.table.get(tag, one.get("id-ref")) for tag in both)):
                    self._name_own_operations(target)

    def _name_own_operations(self, item: Element) -> None:
        own = item.child("operations")
        if own is not None and not own.id and "id-ref" not in own.attributes:
            named = own.with_attributes(id=self.ids.take(f"{item.id}-operations"))
            self.table.put_resource(item.mapped(lambda one: named if one is own else one))

    def check(self, definition: Definition, identifier: str, names: Names) -> None:
        """References of a finished definition. Raises InvalidRequest."""
        tag = definition.element.tag
        item = self.table.get(tag, identifier)
        if item is None:
            return
        if any("id-ref" in one.attributes for one in item.walk()):
            fixed = resolved(holders(self.table.built()), item)
            if fixed != item and (tag in RESOURCE_TAGS or tag == "template"):
                self.table.put_resource(fixed)
            elif fixed != item:
                self.table.put(fixed)
        missing = missing_names(item, names)
        if tag == "acl_role" and any("reference" in one.attributes for one in item.children):
            known_ids = id_index(self.table.built())
            named = (one.get("reference") for one in item.children)
            missing += tuple(
                f"nothing has the id {name!r}" for name in named if name and name not in known_ids
            )
        if missing:
            raise InvalidRequest(
                what=f"{identifier}: {', '.join(missing)}", remedy="define it in the same text, or before"
            )
        node = item.get("node") if tag == "rsc_location" else ""
        known = {one.get("uname") for one in self.table.nodes()} if node else set()
        if node and known and node not in known:
            self.warnings.append(f"{identifier}: there is no node {node!r} (yet)")

    def _new_or_same_kind(self, item: Element) -> None:
        kind = self.table.kind_of(item.id)
        if kind and self.mode is Mode.CREATE:
            raise InvalidRequest(
                what=f"{item.id!r} exists already (a {kind})",
                remedy="delete it first, or redefine it with `load update`",
            )
        if kind and kind != item.tag:
            raise InvalidRequest(what=f"the id {item.id!r} belongs to a {kind} already")

    def _for_schema(self, item: Element) -> Element:
        """Old names of roles, and old attributes of operations, for a CIB whose schema is that old."""
        match = re.fullmatch(r"pacemaker-(\d+)\.(\d+)", self.cib.get("validate-with"))
        schema = (int(match[1]), int(match[2])) if match is not None else (3, 7)
        if schema < (3, 0):
            item = item.mapped(_with_old_operations)
        return item if schema >= (3, 7) else _with_old_roles(item)

    # options and nodes

    def _option_set(self, name: str, item: Element, definition: Definition) -> None:
        old = self.table.option_set(name, item.tag, item.id)
        if old is None or definition.from_xml:
            new = with_ids(item, self.ids, old or self.old.option_set(name, item.tag, item.id), old)
        else:
            if item.all("rule") and not old.all("rule"):
                self.warnings.append(
                    f"{item.id} has no rule: the one given is ignored; use a set of its own (SETID:)"
                )
            new = merged(old, item, self.ids)
        self.table.put(new, name)

    def _node(self, item: Element) -> tuple[str, ...]:
        old = _node_of(self.table, item)
        if old is None:
            if any(one.id == item.id for one in self.table.nodes()):
                raise InvalidRequest(what=f"the node id {item.id!r} is taken")
            self.table.put(with_ids(item, self.ids, _node_of(self.old, item)))
            return (item.id,)
        children = list(old.children)
        unused = [index for index, was in enumerate(children) if was.tag != COMMENT]
        for one in item.children:
            same = next((index for index in unused if is_same_set(children[index], one)), None)
            if is_noted(one, children):
                continue
            if same is None:
                children.append(one)
            else:
                unused.remove(same)
                children[same] = merged(children[same], one, self.ids)
        given = {name: value for name, value in item.attributes.items() if name != "id"}
        changed = old.with_attribute_map(given).with_children(tuple(children))
        self.ids.free(old)
        self.table.put(with_ids(changed, self.ids))
        return (old.id,)

    def _topology(self, item: Element) -> None:
        names = sorted(one.get("uname") for one in self.table.nodes())
        levels = [one for one in item.children if ALL_NODES not in one.attributes]
        wide = [
            one.with_attribute_map({ALL_NODES: None}) for one in item.children if ALL_NODES in one.attributes
        ]
        levels += [
            element("fencing-level", {"target": name} | dict(one.attributes))
            for name in names
            for one in wide
        ]
        if wide and not names:
            self.warnings.append("fencing_topology for all nodes, but there are no nodes")
        whole = item.with_children(tuple(levels))
        self.table.topology = with_ids(whole, self.ids, self.old.topology, self.table.topology)

    # resources

    def _add_operation(self, item: Element) -> tuple[str, ...]:
        resource = self.table.get("primitive", item.id)
        if resource is None:
            raise InvalidRequest(what=f"there is no primitive {item.id!r}")
        operation = item.children[0]
        operations = resource.child("operations") or element("operations")
        for one in operations.all("op"):
            if one.get("name") == "monitor" and _is_same_interval(one, operation):
                raise InvalidRequest(
                    what=f"{item.id} has a monitor with the interval {one.get('interval')} already",
                    remedy="every monitor of a resource needs an interval of its own",
                )
        made = self.ids.take(f"{item.id}-monitor-{operation.get('interval')}")
        operation = operation.with_attributes(id=made)
        changed = resource.with_child(operations.with_children((*operations.children, operation)))
        self.ids.free(resource)
        self.table.put_resource(with_ids(changed, self.ids))
        return ()

    def _resource(self, item: Element) -> None:
        parts = list(flattened(item))
        self._hold(parts)
        if len(parts) > 1:  # from XML: the members come along, from wherever such ones were
            for one in parts[:-1]:
                if self.table.resource(one.id) is not None and self.table.parent_of(one.id) != item.id:
                    self.table.drop_resource(one.id)
                self.table.put_resource(self._identified(one))
            item = parts[-1]
        old = self.old.get(item.tag, item.id)
        is_new = self.table.resource(item.id) is None
        made = self._gathered(self._identified(item))
        self.table.put_resource(made)
        if is_new and old is None and self.settled:
            for child in made.all(MEMBER):
                self._redirect(child.id, made.id)

    def _hold(self, parts: Sequence[Element]) -> None:
        """Note what is in what. Raises InvalidRequest for XML with something in two places, or in itself."""
        above: dict[str, None] = {}
        for one in reversed(parts):  # outer ones first
            above[one.id] = None
            for child in one.all(MEMBER):
                holder = self.holders.setdefault(child.id, one.id)
                if len(parts) > 1 and (child.id in above or holder != one.id):
                    where = "itself" if child.id in above else f"{holder} already"
                    raise InvalidRequest(
                        what=f"{one.id}: {child.id} is in {where}", remedy="a resource is in one place"
                    )

    def _redirect(self, child: str, container: str) -> None:
        """Constraints that were there before name the new container instead of its child."""
        for one in self.table.rows("constraints"):
            if one.id not in self.settled or one.tag not in CONSTRAINT_TAGS:
                continue
            changed = repointed(one, child, container)
            if changed is None:
                self.table.drop(one)
            elif changed is not one:
                self.table.put(changed)

    def _gathered(self, container: Element) -> Element:
        """The container without members that cannot be. Raises InvalidRequest for what may not be."""
        if container.tag not in CONTAINER_TAGS:
            return container
        missing: set[str] = set()
        for child in container.all(MEMBER):
            resource = self.table.resource(child.id)
            if resource is None and container.tag == "bundle":
                self.warnings.append(
                    f"bundle {container.id}: there is no primitive {child.id!r}: it stays empty"
                )
                missing.add(child.id)
                continue
            if resource is None:
                raise InvalidRequest(
                    what=f"{container.id}: there is no resource {child.id!r}",
                    remedy="define it in the same text, or before",
                )
            if resource.tag not in _MAY_HOLD[container.tag]:
                raise InvalidRequest(
                    what=f"{container.id}: a {container.tag} cannot contain {child.id}, a {resource.tag}",
                    remedy="it may contain: " + ", ".join(_MAY_HOLD[container.tag]),
                )
            parent = self.table.parent_of(child.id)
            if parent not in ("", container.id):
                kind = self.table.kind_of(parent)
                raise InvalidRequest(
                    what=f"{container.id}: {child.id} is in {kind} {parent} already",
                    remedy=f"take it out first: `{_taking_out(kind, parent, child.id)}`",
                )
        return container.mapped(lambda one: None if one.tag == MEMBER and one.id in missing else one)


def _node_of(table: Table, item: Element) -> Element | None:
    return next((one for one in table.nodes() if one.get("uname") == item.get("uname")), None)


def _taking_out(kind: str, parent: str, child: str) -> str:
    return f"modgroup {parent} remove {child}" if kind == "group" else f"delete {parent}"


def _is_same_interval(one: Element, other: Element) -> bool:
    """`10` and `10s` are one interval; what is no duration is only the same as itself."""
    texts = (one.get("interval", "0"), other.get("interval", "0"))
    try:
        return parse_ms(texts[0]) == parse_ms(texts[1])
    except ValueError:
        return texts[0] == texts[1]


def _with_old_roles(item: Element) -> Element:
    changes: dict[str, str | None] = {}
    for name in ("role", "rsc-role", "with-rsc-role"):
        if item.get(name) in _OLD_ROLES:
            changes[name] = _OLD_ROLES[item.get(name)]
    if item.tag == "nvpair" and item.get("name") == "target-role" and item.get("value") in _OLD_ROLES:
        changes["value"] = _OLD_ROLES[item.get("value")]
    if changes:
        item = item.with_attribute_map(changes)
    return (
        item.with_children(tuple(_with_old_roles(child) for child in item.children))
        if item.children
        else item
    )


def _with_old_operations(item: Element) -> Element:
    """An <operations> whose operations have as attributes what older schemas call so."""
    if item.tag == "operations":
        return item.mapped(_with_old_operations)
    if item.tag != "op":
        return item
    attributes: dict[str, str | None] = {}
    children: list[Element] = []
    for child in item.children:
        if child.tag == "instance_attributes":
            old = [one for one in child.all("nvpair") if one.get("name") in OLD_OP_ATTRIBUTES]
            attributes |= {one.get("name"): one.get("value") for one in old}
            child = child.with_children(tuple(one for one in child.children if one not in old))
            if old and not child.children:
                continue
        children.append(child)
    return item.with_attribute_map(attributes).with_children(tuple(children))


def definition_names(definitions: Iterable[Definition]) -> Iterator[str]:
    """The ids that definitions speak of: their own, and those of members of containers."""
    for definition in definitions:
        for one in definition.element.walk():
            if one is definition.element or one.tag in (MEMBER, *RESOURCE_TAGS, "meta_attributes"):
                yield one.id


def xml_definitions(root: Element) -> tuple[Definition, ...]:
    """The objects of an XML document (a <cib>, a <configuration>, a section or one object)."""
    if root.tag == "cib":
        root = configuration_of(root)
    if root.tag == "configuration":
        return tuple(one for part in root.children for one in xml_definitions(part))
    if root.tag in _OPTION_SECTIONS or root.tag == "fencing-topology" or root.tag in SECTION_OF:
        return (Definition(element=root, line=0, from_xml=True),)
    if root.tag in ("crm_config", "nodes", "resources", "constraints", "tags", "acls", "alerts"):
        return tuple(
            Definition(element=one, line=0, from_xml=True) for one in root.children if one.tag in SECTION_OF
        )
    raise InvalidRequest(
        what=f"<{root.tag}> is not a part of a configuration", remedy="give a <cib> or <configuration>"
    )
