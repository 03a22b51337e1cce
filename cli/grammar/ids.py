"""The ids that the shell makes (hacli-language, "Ids made by the shell"), and which old ones are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from crm.cib.ids import free_id, numbered_id, used_ids
from crm.cib.model import COMMENT, Element

# Elements that get an id when they have none. The others either always bring one or never have any.
_MADE: Final = frozenset(
    {
        *("instance_attributes", "meta_attributes", "utilization", "cluster_property_set", "nvpair", "op"),
        *(
            "rule",
            "expression",
            "date_expression",
            "date_spec",
            "duration",
            "rsc_expression",
            "op_expression",
        ),
        *("resource_set", "acl_permission", "fencing-level", "recipient", "port-mapping", "storage-mapping"),
        "attribute",
    }
)
# Parts whose own parts are named after the object (or, for operations, after their id when they have one).
_TRANSPARENT: Final = ("network", "storage", "select", "select_attributes")
_NUMBERED: Final = ("resource_set", "acl_permission", "port-mapping", "storage-mapping", "attribute")


class Ids:
    """The ids in use; `take` makes one that is not."""

    def __init__(self, used: Iterable[str] = (), reserved: Iterable[str] = ()) -> None:
        """`reserved`: not in use yet, but given to something that comes later."""
        self._used = set(used)
        self._reserved = frozenset(reserved)

    def __contains__(self, identifier: object) -> bool:
        """Something has this id, or something that comes later is given it."""
        return identifier in self._used or identifier in self._reserved

    def take(self, wanted: str) -> str:
        """`wanted`, or with -0, -1, … after it when it is taken; what no id can hold becomes a dot."""
        return self._mark(free_id(self, wanted))

    def numbered(self, prefix: str, first: int = 0) -> str:
        """The first free one of PREFIX-0, PREFIX-1, …"""
        return self._mark(numbered_id(self, prefix, first))

    def use(self, item: Element) -> None:
        """Everything in this tree is taken."""
        self._used |= used_ids(item)

    def free(self, item: Element) -> None:
        """Everything in this tree is free again."""
        self._used -= used_ids(item)

    def _mark(self, made: str) -> str:
        self._used.add(made)
        return made


def with_ids(
    draft: Element, ids: Ids, old: Element | None = None, replaced: Element | None = None
) -> Element:
    """`draft` with an id on every part that needs one; parts that `old` has as well keep theirs.

    `replaced`: what `draft` takes the place of, whose ids are free by that.
    """
    if replaced is not None:
        ids.free(replaced)
    if old is not None:
        draft = adopted(draft, old, ids)
    ids.use(draft)
    return _fill(draft, _prefix(draft), ids)


def _prefix(item: Element) -> str:
    if item.tag == "node":
        return _lettered(item.get("uname"))
    if item.tag == "fencing-topology":
        return "fencing"
    return item.id


def _lettered(prefix: str) -> str:
    return f"num-{prefix}" if prefix.isdigit() else prefix


def _identity(item: Element) -> tuple[str, ...]:
    """What makes a part "the same" as one of the old object."""
    match item.tag:
        case "nvpair":
            return (item.get("name") or item.get("id-ref"),)
        case "op":
            return (item.get("name"), item.get("interval"), item.get("role"))
        case "rule":
            return (item.get("score") or item.get("score-attribute"), item.get("role"))
        case "expression" | "date_expression":
            return tuple(item.get(name) for name in ("attribute", "operation", "value", "start", "end"))
        case "recipient":
            return (item.get("value"),)
        case "fencing-level":
            names = ("target", "target-pattern", "target-attribute", "target-value", "index")
            return tuple(item.get(name) for name in names)
        case "acl_permission":
            names = ("kind", "xpath", "reference", "object-type", "attribute")
            return tuple(item.get(name) for name in names)
        case _:
            return ()


def adopted(draft: Element, old: Element, ids: Ids) -> Element:
    """Copy ids from the parts of `old`, each used once, in order; not what something else has by now."""
    unused = [child for child in old.children if child.tag != COMMENT]
    children: list[Element] = []
    for child in draft.children:
        match = next(
            (
                one
                for one in unused
                if one.tag == child.tag
                and _identity(one) == _identity(child)
                and child.get("id", one.id) == one.id
                and ("id-ref" in one.attributes) == ("id-ref" in child.attributes)
            ),
            None,
        )
        if match is not None:
            unused.remove(match)
            child = adopted(child, match, ids)
            unnamed = "id" not in child.attributes and "id-ref" not in child.attributes
            if match.id and unnamed and match.id not in ids:
                child = child.with_attributes(id=match.id)
        children.append(child)
    return draft.with_children(tuple(children)) if children else draft


def _fill(item: Element, prefix: str, ids: Ids) -> Element:
    """Make ids below `item`, whose parts use `prefix`."""
    children: list[Element] = []
    for child in item.children:
        if child.tag in _MADE and not child.id and "id-ref" not in child.attributes:
            child = child.with_attributes(id=_made(child, prefix, ids))
        inner = prefix if child.tag in _TRANSPARENT else child.id or prefix
        children.append(_fill(child, inner, ids) if child.children else child)
    return item.with_children(tuple(children)) if children else item


def _made(item: Element, prefix: str, ids: Ids) -> str:
    if item.tag in _NUMBERED:
        return ids.numbered(prefix)
    match item.tag:
        case "nvpair":
            return ids.take(f"{prefix}-{item.get('name')}")
        case "op":
            return ids.take("-".join(filter(None, (prefix, item.get("name"), item.get("interval")))))
        case "expression" | "date_expression" | "rsc_expression" | "op_expression":
            return ids.take(f"{prefix}-expression")
        case "recipient":
            return ids.numbered(f"{prefix}-recipient", first=1)
        case "fencing-level":
            return ids.take(prefix)
        case _:
            return ids.take(f"{prefix}-{item.tag}")
