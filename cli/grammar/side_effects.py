"""What the shell changed besides what it was told: constraints that follow a group, tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from cli.grammar.references import named_by
from crm.cib.model import Element
from crm.cib.objects import ObjectChange

_KINDS: Final = {
    "rsc_location": "location",
    "rsc_colocation": "colocation",
    "rsc_order": "order",
    "rsc_ticket": "rsc_ticket",
    "template": "rsc_template",
    "master": "ms",
    "cluster_property_set": "property",
}
_LISTS: Final = ("tag", "acl_role", "fencing-topology")


def side_effects(changed: Iterable[ObjectChange], named: frozenset[str]) -> tuple[str, ...]:
    """In words, for objects whose id nobody gave."""
    return tuple(_effects(changed, named))


def _effects(changed: Iterable[ObjectChange], named: frozenset[str]) -> Iterator[str]:
    for one in changed:
        section, tag, identifier = one.key
        if identifier in named or section not in ("constraints", "tags", "resources", "acls"):
            continue
        kind = _KINDS.get(tag, tag)
        if section == "resources":
            moved = _is_inside_of_another(one, changed)
            if one.after is None and not moved:
                yield f"deletes {kind} {identifier}"
            continue
        if one.after is None:
            yield f"deletes {kind} {identifier}"
        elif one.before is not None:
            yield f"changes {kind} {identifier}: {_names(one.before)} -> {_names(one.after)}"


def _is_inside_of_another(change: ObjectChange, changed: Iterable[ObjectChange]) -> bool:
    return any(
        part.id == change.key[2]
        for other in changed
        if other is not change and other.after is not None
        for part in other.after.walk()
    )


def _names(item: Element) -> str:
    if item.tag == "tag":
        return " ".join(one.id for one in item.all("obj_ref")) or "nothing"
    return " ".join(named_by(item)) or "rules"
