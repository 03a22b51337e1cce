"""Ids that a load would put on two elements: which definition did it, and what else has the id. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cli.grammar.definitions import Definition, placed
from cli.grammar.document import RESOURCE_TAGS, configuration_of, object_id, objects
from crm.cib.ids import ids_twice, used_ids
from crm.cib.model import Element
from hacluster.errors import InvalidDocument, InvalidRequest


def clashes(
    before: Element, after: Element, definitions: Sequence[Definition], source: str
) -> Iterator[InvalidDocument]:
    """An error for each id that is on more elements than before, with the place of the last that gives it."""
    twice = ids_twice(configuration_of(after))
    for identifier in twice - ids_twice(configuration_of(before)) if twice else ():
        last = [one.line for one in definitions if identifier in used_ids(one.element)][-1:]
        error = InvalidRequest(
            what=f"the id {identifier!r} is in use {_places(after, identifier)}",
            remedy="every element needs an id of its own",
        )
        yield placed(error, source, last[0] if last else 0)


def _places(cib: Element, identifier: str) -> str:
    """Which objects have, or have inside of them, what has that id; at the most three are named."""
    found: dict[str, None] = {}
    for item in objects(cib):
        own = item.mapped(lambda child: None if child.tag in RESOURCE_TAGS else child)
        if identifier in used_ids(own):
            place = "for" if item.id == identifier else "inside of"
            found[f"{place} {item.tag} {object_id(item)}"] = None
    names = list(found)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return " and ".join(names[:3]) + more if len(names) > 1 else f"twice {names[0]}"
