"""The difference between two element trees: compute, apply, encode. A patch refuses any base but its own.

A patch describes one element: changed attributes, changed text, and the new list of children made from
ranges of the old ones, patched old ones and new ones. Children are paired by tag and id (by tag and order
where there is no id), so a resource that moved within its group is moved, not sent again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crm.cib import codec
from crm.cib.model import Element
from hacluster.errors import Conflict, InvalidDocument

DEPTH_MAX: Final = codec.DEPTH_MAX


@dataclass(frozen=True, slots=True)
class Keep:
    """The old children from `start` up to and without `stop`."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Insert:
    """A child that was not there."""

    element: Element


@dataclass(frozen=True, slots=True)
class Alter:
    """The old child `index`, changed."""

    index: int
    change: ElementChange


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementChange:
    """What becomes of one element. `None` for text or children: as before; an attribute None: removed.

    `whole` replaces the element and excludes the rest.
    """

    attributes: Mapping[str, str | None]
    text: str | None = None
    children: tuple[Keep | Insert | Alter, ...] | None = None
    whole: Element | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """From the tree with digest `base` to the one with digest `result`."""

    base: str
    result: str
    change: ElementChange | None


def diff(before: Element, after: Element, *, base: str = "", result: str = "") -> Patch:
    """The patch that turns `before` into `after`. Digests that are known already may be given."""
    return Patch(
        base=base or codec.digest(before),
        result=result or codec.digest(after),
        change=None if before == after else _compare(before, after),
    )


def _compare(before: Element, after: Element) -> ElementChange:
    if before.tag != after.tag:
        return ElementChange(attributes={}, whole=after)
    attributes: dict[str, str | None] = {
        name: value for name, value in after.attributes.items() if before.attributes.get(name) != value
    }
    attributes.update({name: None for name in before.attributes if name not in after.attributes})
    return ElementChange(
        attributes=attributes,
        text=after.text if after.text != before.text else None,
        children=_compare_children(before.children, after.children),
    )


def _keys(children: Sequence[Element]) -> list[tuple[str, str, int]]:
    """What names each child among its siblings: tag, id, and how many of that name came before."""
    seen: dict[tuple[str, str], int] = {}
    keys = []
    for child in children:
        name = (child.tag, child.attributes.get("id", ""))
        count = seen.get(name, 0)
        seen[name] = count + 1
        keys.append((*name, count))
    return keys


def _compare_children(
    before: tuple[Element, ...], after: tuple[Element, ...]
) -> tuple[Keep | Insert | Alter, ...] | None:
    if before == after:
        return None
    shorter = min(len(before), len(after))
    head = tail = 0  # what is the very same at both ends needs no names
    while head < shorter and before[head] is after[head]:
        head += 1
    while tail < shorter - head and before[-1 - tail] is after[-1 - tail]:
        tail += 1
    parts: list[Keep | Insert | Alter] = []
    _keep(parts, 0, head)
    where = {key: head + at for at, key in enumerate(_keys(before[head : len(before) - tail]))}
    changed = after[head : len(after) - tail]
    for key, child in zip(_keys(changed), changed, strict=True):
        index = where.get(key)
        if index is None:
            parts.append(Insert(child))
        elif before[index] == child:
            _keep(parts, index, index + 1)
        else:
            parts.append(Alter(index, _compare(before[index], child)))
    _keep(parts, len(before) - tail, len(before))
    return tuple(parts)


def _keep(parts: list[Keep | Insert | Alter], start: int, stop: int) -> None:
    """As one range with the one before if it goes on there."""
    last = parts[-1] if parts else None
    if isinstance(last, Keep) and last.stop == start:
        parts[-1] = Keep(last.start, stop)
    elif start < stop:
        parts.append(Keep(start, stop))


def apply(before: Element, patch: Patch, *, base_known: bool = False) -> Element:
    """The changed tree. Raises Conflict when `before` is not the patch's base.

    `base_known`: the caller compared the digest already.
    """
    if not base_known and codec.digest(before) != patch.base:
        raise Conflict(what="the patch was made from another configuration")
    return before if patch.change is None else _applied(before, patch.change)


def _applied(element: Element, change: ElementChange) -> Element:
    if change.whole is not None:
        return change.whole
    attributes = element.attributes
    if change.attributes:
        attributes = element.with_attribute_map(change.attributes).attributes
    children = element.children
    if change.children is not None:
        children = tuple(_children(element.children, change.children))
    text = element.text if change.text is None else change.text
    return Element(element.tag, attributes, children, text)


def _children(old: tuple[Element, ...], parts: tuple[Keep | Insert | Alter, ...]) -> list[Element]:
    new: list[Element] = []
    for part in parts:
        match part:
            case Keep(start, stop):
                if not 0 <= start < stop <= len(old):
                    raise Conflict(what="the patch names children that are not there")
                new.extend(old[start:stop])
            case Insert(element):
                new.append(element)
            case Alter(index, change):
                if not 0 <= index < len(old):
                    raise Conflict(what="the patch names children that are not there")
                new.append(_applied(old[index], change))
    return new


def encode(patch: Patch) -> bytes:
    """The change as compact JSON; base and result travel beside it (in the log entry)."""
    data = None if patch.change is None else _change_out(patch.change)
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def decode(payload: bytes, *, base: str, result: str) -> Patch:
    """Inverse of `encode`. Raises InvalidDocument."""
    try:
        data = json.loads(payload)
        change = None if data is None else _change_in(data, 0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise InvalidDocument(source="CIB patch", line=0, what=f"not a patch: {error}") from None
    return Patch(base=base, result=result, change=change)


def _change_out(change: ElementChange) -> dict[str, Any]:
    if change.whole is not None:
        return {"w": element_out(change.whole)}
    data: dict[str, Any] = {}
    if change.attributes:
        data["a"] = dict(change.attributes)
    if change.text is not None:
        data["t"] = change.text
    if change.children is not None:
        data["c"] = [_part_out(part) for part in change.children]
    return data


def _part_out(part: Keep | Insert | Alter) -> list[Any]:
    match part:
        case Keep(start, stop):
            return [0, start, stop]
        case Insert(element):
            return [1, element_out(element)]
        case Alter(index, change):
            return [2, index, _change_out(change)]


def _change_in(data: dict[str, Any], depth: int) -> ElementChange:
    if depth > DEPTH_MAX:
        raise ValueError(f"nested deeper than {DEPTH_MAX}")
    if "w" in data:
        return ElementChange(attributes={}, whole=element_in(data["w"], depth))
    attributes = {_text(k): None if v is None else _text(v) for k, v in data.get("a", {}).items()}
    text = None if "t" not in data else _text(data["t"])
    children = None if "c" not in data else tuple(_part_in(part, depth) for part in data["c"])
    return ElementChange(attributes=attributes, text=text, children=children)


def _part_in(data: list[Any], depth: int) -> Keep | Insert | Alter:
    if data[0] == 0:
        return Keep(int(data[1]), int(data[2]))
    if data[0] == 1:
        return Insert(element_in(data[1], depth + 1))
    if data[0] == 2:
        return Alter(int(data[1]), _change_in(data[2], depth + 1))
    raise ValueError(f"unknown part {data[0]!r}")


def element_out(element: Element) -> list[Any]:
    """As lists and texts that JSON can carry."""
    return [element.tag, dict(element.attributes), [element_out(c) for c in element.children], element.text]


def element_in(data: list[Any], depth: int = 0) -> Element:
    """Inverse of `element_out`. Raises ValueError, TypeError, AttributeError or LookupError."""
    if depth > DEPTH_MAX:
        raise ValueError(f"nested deeper than {DEPTH_MAX}")
    attributes = {_text(name): _text(value) for name, value in data[1].items()}
    children = tuple(element_in(child, depth + 1) for child in data[2])
    return Element(_text(data[0]), attributes, children, _text(data[3]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
