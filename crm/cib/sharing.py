"""A document as what changed since the last one, for a reader in another process that has the last one.

Subtrees that are the same object as before are named by their place, all else is written out. So the reader's
unchanged subtrees stay the same objects, too, and what it knows about them holds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from operator import is_
from typing import Any

from crm.cib.codec import canonical_text, parse
from crm.cib.model import COMMENT, Element

# A changed element: attributes, text, and its children as a list of [first, count] (children of the old
# element as they are), [place, changed element], or NEW (the next of the subtrees that are written out).
_NEW = -1


@dataclass(slots=True)
class _Written:
    subtrees: list[str] = field(default_factory=list)


def changes(old: Element, new: Element) -> bytes:
    """What a reader that has `old` needs to get `new`; both have the same tag."""
    assert old.tag == new.tag
    written = _Written()
    tree = _changed(old, new, written)
    return f"{json.dumps(tree)}\n<new>{''.join(written.subtrees)}</new>".encode()


def applied(old: Element, data: bytes) -> Element:
    """The new document, equal to what `parse(canonical(new))` gives. Raises InvalidDocument, ValueError."""
    head, _, subtrees = data.partition(b"\n")
    fresh = iter(parse(subtrees, source="changes of the CIB").children)
    return _apply(old, json.loads(head), fresh)


def _changed(old: Element, new: Element, written: _Written) -> dict[str, Any]:
    return {
        "attributes": dict(sorted(new.attributes.items())),
        "text": new.text.strip(),
        "children": _children(old.children, new.children, written),
    }


def _children(old: tuple[Element, ...], new: tuple[Element, ...], written: _Written) -> list[Any]:
    if old is new or (len(old) == len(new) and all(map(is_, old, new))):
        return [[0, len(new)]]
    places = {id(one): place for place, one in enumerate(old)}
    named = {(one.tag, one.id): place for place, one in enumerate(old)}
    found: list[Any] = []
    for one in new:
        place = places.get(id(one))
        if place is not None:
            if found and isinstance(found[-1], list) and sum(found[-1]) == place:
                found[-1][1] += 1
            else:
                found.append([place, 1])
            continue
        place = named.get((one.tag, one.id))
        if place is None or one.tag == COMMENT or not one.children:
            written.subtrees.append(canonical_text(one))
            found.append(_NEW)
        else:
            found.append((place, _changed(old[place], one, written)))
    return found


def _apply(old: Element, told: dict[str, Any], fresh: Any) -> Element:
    children: list[Element] = []
    for item in told["children"]:
        if item == _NEW:
            children.append(next(fresh))
            continue
        place, what = item
        if isinstance(what, int):
            children.extend(old.children[place : place + what])
        else:
            children.append(_apply(old.children[place], what, fresh))
    return Element(old.tag, told["attributes"], tuple(children), told["text"])
