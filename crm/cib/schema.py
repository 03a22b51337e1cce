"""What is a valid <configuration>: structure by a table, values, ids, references; all mistakes at once.

The table is Pacemaker's document structure in our own words. Elements and attributes it does not know are
kept and only warned of, so that a document from a newer Pacemaker loads. An error is what no version of
Pacemaker could make sense of; a warning is what will not do what its author meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from crm import patterns
from crm.cib.ids import IDS_ELSEWHERE
from crm.cib.model import COMMENT, Element
from hacluster.vocabulary.agent import check_name_part, check_type


class Severity(StrEnum):
    """An error keeps a configuration from being written."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """`where` names the element: its tag and id, or its tag and that of its nearest named ancestor."""

    severity: Severity
    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} ({self.remedy})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """`required` attributes; `one_of`: at least one of each group; `known` attributes beyond those."""

    required: tuple[str, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()
    known: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    at_least_one: tuple[str, ...] = ()


_SETS: Final = ("instance_attributes", "meta_attributes", "utilization")
_RESOURCES: Final = ("primitive", "group", "clone", "master", "bundle")
_ROLES: Final = ("Started", "Stopped", "Promoted", "Unpromoted", "Master", "Slave")
_ACTIONS: Final = ("start", "stop", "promote", "demote")
_SET: Final = _Shape(one_of=(("id", "id-ref"),), known=("score",), children=("rule", "nvpair", "attributes"))

_SHAPES: Final[Mapping[str, _Shape]] = {
    "configuration": _Shape(
        children=(
            "crm_config",
            "rsc_defaults",
            "op_defaults",
            "nodes",
            "resources",
            "constraints",
            "acls",
            "tags",
            "alerts",
            "fencing-topology",
            "domains",
        )
    ),
    "crm_config": _Shape(children=("cluster_property_set",)),
    "rsc_defaults": _Shape(children=("meta_attributes",)),
    "op_defaults": _Shape(children=("meta_attributes",)),
    "cluster_property_set": _SET,
    "instance_attributes": _SET,
    "meta_attributes": _SET,
    "utilization": _SET,
    "nvpair": _Shape(one_of=(("id", "id-ref"),), known=("name", "value")),
    "nodes": _Shape(children=("node",)),
    "node": _Shape(
        required=("id", "uname"),
        known=("type", "description", "score"),
        children=("instance_attributes", "utilization"),
    ),
    "resources": _Shape(children=("template", *_RESOURCES)),
    "template": _Shape(
        required=("id", "type"),
        known=("class", "provider", "description"),
        children=(*_SETS, "operations"),
    ),
    "primitive": _Shape(
        required=("id",),
        one_of=(("type", "template"),),
        known=("class", "provider", "description", "standard"),
        children=(*_SETS, "operations"),
    ),
    "operations": _Shape(known=("id", "id-ref"), children=("op",)),
    "op": _Shape(
        required=("id", "name"),
        known=(
            "interval",
            "timeout",
            "description",
            "start-delay",
            "interval-origin",
            "enabled",
            "record-pending",
            "role",
            "on-fail",
            "requires",
            "prereq",
            "disabled",
            "failure-timeout",
        ),
        children=("instance_attributes", "meta_attributes"),
    ),
    "group": _Shape(
        required=("id",),
        known=("description", "ordered", "collocated"),
        children=("instance_attributes", "meta_attributes", "primitive"),
        at_least_one=("primitive",),
    ),
    "clone": _Shape(
        required=("id",),
        known=("description",),
        children=("instance_attributes", "meta_attributes", "primitive", "group"),
        at_least_one=("primitive", "group"),
    ),
    "master": _Shape(
        required=("id",),
        known=("description",),
        children=("instance_attributes", "meta_attributes", "primitive", "group"),
        at_least_one=("primitive", "group"),
    ),
    "bundle": _Shape(
        required=("id",),
        known=("description",),
        children=(*_SETS, "docker", "podman", "rkt", "network", "storage", "primitive"),
        at_least_one=("docker", "podman", "rkt"),
    ),
    "constraints": _Shape(children=("rsc_location", "rsc_colocation", "rsc_order", "rsc_ticket")),
    "rsc_location": _Shape(
        required=("id",),
        known=(
            "rsc",
            "rsc-pattern",
            "node",
            "score",
            "score-attribute",
            "score-attribute-mangled",
            "role",
            "resource-discovery",
        ),
        children=("resource_set", "rule", "lifetime"),
    ),
    "rsc_colocation": _Shape(
        required=("id",),
        known=(
            "rsc",
            "with-rsc",
            "score",
            "score-attribute",
            "score-attribute-mangle",
            "rsc-role",
            "with-rsc-role",
            "node-attribute",
            "influence",
            "symmetrical",
            "rsc-instance",
            "with-rsc-instance",
        ),
        children=("resource_set", "lifetime"),
    ),
    "rsc_order": _Shape(
        required=("id",),
        known=(
            "first",
            "then",
            "first-action",
            "then-action",
            "first-instance",
            "then-instance",
            "kind",
            "score",
            "symmetrical",
            "require-all",
        ),
        children=("resource_set", "lifetime"),
    ),
    "rsc_ticket": _Shape(
        required=("id", "ticket"),
        known=("rsc", "rsc-role", "loss-policy", "rsc-instance"),
        children=("resource_set",),
    ),
    "resource_set": _Shape(
        one_of=(("id", "id-ref"),),
        known=(
            "sequential",
            "require-all",
            "ordering",
            "action",
            "role",
            "score",
            "kind",
            "internal-colocation",
        ),
        children=("resource_ref",),
    ),
    "resource_ref": _Shape(required=("id",)),
    "rule": _Shape(
        one_of=(("id", "id-ref"),),
        known=("score", "score-attribute", "boolean-op", "role"),
        children=("expression", "date_expression", "rsc_expression", "op_expression", "rule"),
    ),
    "fencing-topology": _Shape(children=("fencing-level",)),
    "fencing-level": _Shape(
        required=("index", "devices"),
        one_of=(("id", "id-ref"), ("target", "target-pattern", "target-attribute")),
        known=("target-value",),
    ),
    "tags": _Shape(children=("tag",)),
    "tag": _Shape(required=("id",), children=("obj_ref",), at_least_one=("obj_ref",)),
    "obj_ref": _Shape(required=("id",)),
    "alerts": _Shape(children=("alert",)),
    "alert": _Shape(
        required=("id", "path"),
        known=("description",),
        children=("instance_attributes", "meta_attributes", "recipient", "select"),
    ),
    "recipient": _Shape(
        required=("id", "value"),
        known=("description",),
        children=("instance_attributes", "meta_attributes"),
    ),
    "acls": _Shape(children=("acl_target", "acl_group", "acl_role", "acl_user")),
    "acl_target": _Shape(required=("id",), known=("name",), children=("role",)),
    "acl_group": _Shape(required=("id",), known=("name",), children=("role",)),
    "acl_role": _Shape(
        required=("id",),
        known=("description",),
        children=("acl_permission", "read", "write", "deny"),
    ),
    "acl_permission": _Shape(
        required=("id", "kind"),
        known=("xpath", "reference", "object-type", "attribute", "description"),
    ),
}

WITHOUT_EFFECT: Final = "it is kept, and without effect"

_VALUES: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("rsc_order", "kind"): ("Optional", "Mandatory", "Serialize"),
    ("rsc_order", "first-action"): _ACTIONS,
    ("rsc_order", "then-action"): _ACTIONS,
    ("rsc_colocation", "rsc-role"): _ROLES,
    ("rsc_colocation", "with-rsc-role"): _ROLES,
    ("rsc_location", "role"): _ROLES,
    ("rsc_location", "resource-discovery"): ("always", "never", "exclusive"),
    ("rsc_ticket", "rsc-role"): _ROLES,
    ("rsc_ticket", "loss-policy"): ("stop", "demote", "fence", "freeze"),
    ("resource_set", "role"): _ROLES,
    ("resource_set", "action"): _ACTIONS,
    ("rule", "boolean-op"): ("or", "and"),
    ("node", "type"): ("normal", "member", "ping", "remote"),
    ("acl_permission", "kind"): ("read", "write", "deny"),
}

_SCORES_OF_A_NODE: Final = ("score", "score-attribute", "score-attribute-mangle")
_SCORED: Final = ("rsc_location", "rsc_colocation", "rsc_order", "rule", "resource_set", *_SETS)
_SCORE: Final = re.compile(r"[+-]?(INFINITY|infinity|\d+)|red|yellow|green")
_ID: Final = re.compile(r"[A-Za-z_][\w.-]*")
_CLASSES_WITH_PROVIDER: Final = ("ocf",)


def check(configuration: Element) -> tuple[Problem, ...]:
    """Everything that is wrong, in document order."""
    if configuration.tag != "configuration":
        return (_error(f"<{configuration.tag}>", "it is no configuration", "give a <configuration> element"),)
    return tuple(_Check(configuration).run())


def refusal(configuration: Element) -> str:
    """The errors as one text, a line each; empty when it may be written."""
    return "\n".join(str(p) for p in check(configuration) if p.severity is Severity.ERROR)


def _error(where: str, what: str, remedy: str) -> Problem:
    return Problem(severity=Severity.ERROR, where=where, what=what, remedy=remedy)


def _warning(where: str, what: str, remedy: str) -> Problem:
    return Problem(severity=Severity.WARNING, where=where, what=what, remedy=remedy)


def _names_an_agent(standard: str, what: str, part: str) -> bool:
    """Names become paths: what could leave a folder is refused where it comes in."""
    try:
        if what == "type":
            check_type(standard, part, f"{standard}:{part}")
        else:
            check_name_part(part, what, f"{standard}:{part}")
    except ValueError:
        return False
    return True


class _Check:
    """One pass over one document."""

    def __init__(self, configuration: Element) -> None:
        self._root = configuration
        self._ids: dict[str, str] = {}
        self._templates: set[str] = set()
        self._resources: set[str] = set()
        self._tags: set[str] = set()

    def run(self) -> Iterator[Problem]:
        yield from self._collect()
        yield from self._shape(self._root, "")
        for constraint in self._elements("constraints"):
            yield from self._constraint(constraint)
        yield from self._references()
        yield from self._nodes()

    def _elements(self, section: str) -> tuple[Element, ...]:
        found = self._root.child(section)
        return () if found is None else tuple(e for e in found.children if e.tag != COMMENT)

    # -- ids

    def _collect(self) -> Iterator[Problem]:
        for element in self._root.walk():
            name = element.id
            if not name or element.tag in IDS_ELSEWHERE:
                continue
            where = f'<{element.tag} id="{name}">'
            if name in self._ids:
                yield _error(where, f"the id is used by {self._ids[name]} too", "give each its own id")
            elif not _ID.fullmatch(name):
                remedy = "begin with a letter; letters, digits and . _ - only"
                yield _error(where, f"{name!r} cannot be an id", remedy)
            self._ids.setdefault(name, f"<{element.tag}>")
        for resources in self._elements("resources"):
            for element in resources.walk():
                if element.tag in _RESOURCES:
                    self._resources.add(element.id)
                elif element.tag == "template":
                    self._templates.add(element.id)
        self._tags.update(tag.id for tag in self._elements("tags"))

    # -- structure

    def _shape(self, element: Element, above: str) -> Iterator[Problem]:
        shape = _SHAPES.get(element.tag)
        where = f'<{element.tag} id="{element.id}">' if element.id else f"<{element.tag}>{above}"
        if shape is not None:
            yield from self._attributes(element, shape, where)
            yield from self._children(element, shape, where)
            yield from self._values(element, where)
        if element.tag == "primitive" or element.tag == "template":
            yield from self._agent(element, where)
        if element.tag == "rsc_location" or element.tag == "fencing-level":
            yield from self._pattern(element, where)
        inside = f' in <{element.tag} id="{element.id}">' if element.id else above
        if element.tag == "configuration" or shape is not None:
            for child in element.children:
                yield from self._shape(child, inside)

    def _attributes(self, element: Element, shape: _Shape, where: str) -> Iterator[Problem]:
        for name in shape.required:
            if not element.get(name):
                yield _error(where, f"{name} is missing", f'add {name}="…"')
        for group in shape.one_of:
            if not any(element.get(name) for name in group):
                yield _error(where, f"{' or '.join(group)} is missing", f'add {group[0]}="…"')
        known = (*shape.required, *shape.known, *(name for group in shape.one_of for name in group))
        for name in element.attributes:
            if name not in known:
                yield _warning(
                    where, f"the attribute {name!r} is not known", "it is kept, and without effect"
                )

    def _children(self, element: Element, shape: _Shape, where: str) -> Iterator[Problem]:
        for child in element.children:
            if child.tag == COMMENT or child.tag in shape.children:
                continue
            if child.tag in _SHAPES:
                allowed = ", ".join(shape.children) or "nothing"
                yield _error(where, f"<{child.tag}> has no place here", f"it may contain {allowed}")
            else:
                yield _warning(where, f"<{child.tag}> is not known", WITHOUT_EFFECT)
        if shape.at_least_one and not element.all(*shape.at_least_one):
            names = " or ".join(f"<{tag}>" for tag in shape.at_least_one)
            yield _error(where, f"there is no {names} in it", "add one, or remove it")
        if element.tag in ("clone", "master") and len(element.all("primitive", "group")) > 1:
            yield _error(where, "there are several resources in it", "put them into a group")

    def _values(self, element: Element, where: str) -> Iterator[Problem]:
        for name, value in element.attributes.items():
            allowed = _VALUES.get((element.tag, name))
            if allowed is not None and value not in allowed:
                if value.lower() in [one.lower() for one in allowed]:
                    yield _warning(
                        where, f"{name}={value!r} is not spelled as usual", "one of " + " ".join(allowed)
                    )
                else:
                    yield _error(where, f"{name}={value!r} is not possible", "one of " + " ".join(allowed))
            elif name == "score" and element.tag in _SCORED and not _SCORE.fullmatch(value):
                yield _error(where, f"{value!r} is no score", "a whole number, INFINITY or -INFINITY")

    def _agent(self, element: Element, where: str) -> Iterator[Problem]:
        if element.get("template") or element.get("id-ref"):
            if element.get("template") not in self._templates:
                remedy = "define it, or name class and type here"
                yield _error(where, f"there is no template {element.get('template')!r}", remedy)
            return
        if not element.get("class") and not element.get("standard"):
            yield _error(where, "class is missing", 'add class="ocf", "systemd", "lsb" or "stonith"')
        elif element.get("class") in _CLASSES_WITH_PROVIDER and not element.get("provider"):
            yield _error(where, "an OCF agent has a provider", 'add provider="heartbeat" or the right one')
        for name in ("provider", "type"):
            part = element.get(name)
            if part and not _names_an_agent(element.get("class"), name, part):
                yield _error(
                    where, f"{name}={part[:80]!r} cannot name an agent", "the name of a file in its folder"
                )

    # -- references

    def _constraint(self, element: Element) -> Iterator[Problem]:
        where = f'<{element.tag} id="{element.id}">'
        sets = element.all("resource_set")
        match element.tag:
            case "rsc_location":
                if not (element.get("rsc") or element.get("rsc-pattern") or sets):
                    yield _error(where, "it says nothing about which resource", 'add rsc="…"')
                if not (element.get("node") or element.all("rule") or element.all("lifetime")):
                    yield _error(
                        where, "it says nothing about which node", 'add node="…" and score, or a rule'
                    )
                elif element.get("node") and not any(element.get(name) for name in _SCORES_OF_A_NODE):
                    yield _error(where, "a node without a score", 'add score="INFINITY" or a number')
            case "rsc_colocation" if not sets:
                yield from self._both(element, where, "rsc", "with-rsc")
            case "rsc_order" if not sets:
                yield from self._both(element, where, "first", "then")
            case "rsc_ticket" if not sets and not element.get("rsc"):
                yield _error(where, "it says nothing about which resource", 'add rsc="…"')
            case _:
                pass

    def _pattern(self, element: Element, where: str) -> Iterator[Problem]:
        for name in ("rsc-pattern", "target-pattern"):
            text = element.get(name)
            expression = text.removeprefix("!") if name == "rsc-pattern" else text
            if expression and (problem := patterns.problem(expression)):
                remedy = "write a POSIX extended regular expression; until then this has no effect"
                yield _warning(where, f"{name}={text[:80]!r} cannot be used: {problem}", remedy)

    def _both(self, element: Element, where: str, one: str, other: str) -> Iterator[Problem]:
        for name in (one, other):
            if not element.get(name):
                yield _error(where, f"{name} is missing", f'add {name}="…", or resource sets')
        if element.get(one) and element.get(one) == element.get(other):
            yield _warning(where, f"{one} and {other} are the same resource", "name two resources")

    def _references(self) -> Iterator[Problem]:
        for constraint in self._elements("constraints"):
            where = f'<{constraint.tag} id="{constraint.id}">'
            named = [constraint.get(name) for name in ("rsc", "with-rsc", "first", "then")]
            named += [ref.id for part in constraint.all("resource_set") for ref in part.all("resource_ref")]
            for name in named:
                if name and name not in self._resources | self._tags | self._templates:
                    remedy = "remove the constraint, or name a resource or tag that exists"
                    yield _error(where, f"there is no resource {name!r}", remedy)
        for element in self._root.walk():
            reference = element.get("id-ref")
            if reference and reference not in self._ids:
                remedy = "name an element that exists"
                yield _error(f"<{element.tag}>", f"id-ref names {reference!r}, which is not there", remedy)
            if element.tag == "obj_ref" and element.id not in self._ids:
                yield _warning(
                    f'<obj_ref id="{element.id}">', "nothing has this id", "remove it from the tag"
                )
            if element.tag == "fencing-level":
                for device in filter(None, re.split(r"[,\s]+", element.get("devices"))):
                    if device not in self._resources:
                        where = f'<fencing-level id="{element.id}">'
                        yield _warning(where, f"there is no device {device!r}", "define it as a primitive")

    def _nodes(self) -> Iterator[Problem]:
        seen: dict[str, str] = {}
        for node in self._elements("nodes"):
            for what in ("id", "uname"):
                value = f"{what} {node.get(what)}"
                if node.get(what) and value in seen:
                    where = f'<node id="{node.id}">'
                    yield _error(where, f"two nodes have the {value}", "each node has its own")
                seen[value] = node.id
