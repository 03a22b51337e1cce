"""Changes of a configuration object by object: what a commit changed, on top of another state, and undone.

An object is what a person calls one: a resource with all inside it, a constraint, a node, one set of options,
the fencing topology. Two commits that touch different objects can both be had; two that touch the same
conflict, and the second is refused with their names.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from crm.cib.diff import element_in, element_out
from crm.cib.model import COMMENT, Element
from hacluster.errors import Conflict, InvalidDocument

SECTIONS: Final = (
    *("crm_config", "nodes", "resources", "constraints", "fencing-topology", "tags", "acls", "alerts"),
    *("rsc_defaults", "op_defaults"),
)
_ALWAYS: Final = ("crm_config", "nodes", "resources", "constraints")
_ONE_OBJECT: Final = ("fencing-topology",)
UNDO_BYTES_MAX: Final = 8 * 1024 * 1024

Key = tuple[str, str, str]
"""Section, tag, id (or the place among those without an id)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """One object before and after; None: it is not there. `follows`: the object it stands behind."""

    key: Key
    before: Element | None
    after: Element | None
    follows: Key | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        _section, tag, identifier = self.key
        item = self.after or self.before
        if tag == "node" and item is not None:
            return f"node {item.get('uname') or identifier}"
        return identifier or tag

    def undone(self, follows: Key | None = None) -> ObjectChange:
        """The change back."""
        return replace(self, before=self.after, after=self.before, follows=follows)


class ConflictingChanges(Conflict):
    """Objects that somebody else has changed in another way since. `what` names them."""

    names: tuple[str, ...] = ()


def _objects(configuration: Element) -> dict[Key, Element]:
    found: dict[Key, Element] = {}
    for part in configuration.children:
        if part.tag in _ONE_OBJECT:
            found[part.tag, part.tag, ""] = part
            continue
        for child in part.children:
            name = child.id or f"#{sum(key[0] == part.tag for key in found)}"
            found[part.tag, child.tag, name] = child
    return found


def changes(before: Element, after: Element) -> tuple[ObjectChange, ...]:
    """What turns one <configuration> into the other, in document order; order alone is no change."""
    return tuple(_changes(before, after))


def _changes(before: Element, after: Element) -> Iterator[ObjectChange]:
    old, new = _objects(before), _objects(after)
    for key, item in old.items():
        if key not in new:
            yield ObjectChange(key=key, before=item, after=None)
    last: dict[str, Key] = {}
    for key, item in new.items():
        if old.get(key) != item:
            yield ObjectChange(key=key, before=old.get(key), after=item, follows=last.get(key[0]))
        last[key[0]] = key


def present_in(configuration: Element) -> Mapping[Key, Element]:
    """All objects by section, kind and id, in document order."""
    return _objects(configuration)


def undo_of(before: Element, after: Element) -> tuple[ObjectChange, ...]:
    """What turns `after` back into `before`."""
    return changes(after, before)


def on_top(wanted: Sequence[ObjectChange], configuration: Element) -> Element:
    """The configuration with the changes made. Raises ConflictingChanges.

    An object conflicts that is neither as the change found it nor as the change leaves it.
    """
    present = _objects(configuration)
    clashes = [one for one in wanted if present.get(one.key) not in (one.before, one.after)]
    if clashes:
        names = tuple(one.name for one in clashes)
        raise ConflictingChanges(
            what=f"changed by somebody else meanwhile: {', '.join(names)}; nothing was written", names=names
        )
    for one in wanted:
        if one.after is None:
            present.pop(one.key, None)
        elif one.key in present:
            present[one.key] = one.after
        else:
            present = _placed(present, one, one.after)
    return _built(configuration, present)


def _placed(present: dict[Key, Element], change: ObjectChange, item: Element) -> dict[Key, Element]:
    """With a new object behind the one it follows (or last when that is not there)."""
    if change.follows is not None and change.follows not in present:
        return {**present, change.key: item}
    placed: dict[Key, Element] = {}
    if change.follows is None:
        placed[change.key] = item
    for key, other in present.items():
        placed[key] = other
        if key == change.follows:
            placed[change.key] = item
    return placed


def _built(configuration: Element, present: dict[Key, Element]) -> Element:
    by_section: dict[str, list[Element]] = {}
    for key, item in present.items():
        by_section.setdefault(key[0], []).append(item)
    parts: list[Element] = []
    for part in configuration.children:
        inner = by_section.pop(part.tag, [])
        if part.tag in _ONE_OBJECT:
            parts += inner
        elif inner or part.tag in _ALWAYS or not part.children:
            parts.append(part if part.children == tuple(inner) else part.with_children(tuple(inner)))
    for name in sorted(by_section, key=_rank):
        inner = by_section[name]
        made = inner[0] if name in _ONE_OBJECT else Element(name, {}, tuple(inner))
        at = next((index for index, one in enumerate(parts) if _rank(one.tag) > _rank(name)), len(parts))
        parts.insert(at, made)
    return (
        configuration if configuration.children == tuple(parts) else configuration.with_children(tuple(parts))
    )


def _rank(name: str) -> int:
    return -1 if name == COMMENT else SECTIONS.index(name) if name in SECTIONS else len(SECTIONS)


def encode(wanted: Sequence[ObjectChange]) -> str:
    """As text that an attribute can carry."""
    data = [
        [
            list(one.key),
            None if one.before is None else element_out(one.before),
            None if one.after is None else element_out(one.after),
            None if one.follows is None else list(one.follows),
        ]
        for one in wanted
    ]
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def decode(text: str) -> tuple[ObjectChange, ...]:
    """Inverse of `encode`. Raises InvalidDocument."""
    try:
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(base64.b64decode(text, validate=True), UNDO_BYTES_MAX)
        if not unpacker.eof:
            raise ValueError(f"more than {UNDO_BYTES_MAX} bytes")
        return tuple(
            ObjectChange(
                key=_key(key),
                before=None if before is None else element_in(before),
                after=None if after is None else element_in(after),
                follows=None if follows is None else _key(follows),
            )
            for key, before, after, follows in json.loads(raw)
        )
    except (ValueError, TypeError, LookupError, AttributeError, zlib.error) as error:
        raise InvalidDocument(source="recorded changes", line=0, what=f"not readable: {error}") from None


def _key(data: Sequence[str]) -> Key:
    section, tag, identifier = map(str, data)
    return (section, tag, identifier)
