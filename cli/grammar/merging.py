"""A set of options or of a node's that is given again: what it has is changed, the rest is added. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cli.grammar.ids import Ids, adopted, with_ids
from crm.cib.model import COMMENT, Element, element


def is_same_set(old: Element, new: Element) -> bool:
    """A set of a node's that is given again: the next of its kind, or that of its id."""
    return old.tag == new.tag and new.id in ("", old.id) and old.get("id-ref") == new.get("id-ref")


def is_noted(item: Element, children: Sequence[Element]) -> bool:
    """A comment that stands there already."""
    text = item.text.split()
    return item.tag == COMMENT and any(one.tag == COMMENT and one.text.split() == text for one in children)


def _is_referred(pair: Element, children: Sequence[Element]) -> bool:
    """A reference to a pair that the set has already."""
    names = ("id-ref", "name")
    return any(all(one.get(name) == pair.get(name) for name in names) for one in children)


def with_notes(item: Element, holder: Element) -> Element:
    """The set of a section of defaults with the comments that stood above it."""
    notes = holder.all(COMMENT)
    return item.with_children((*notes, *item.children)) if notes else item


def merged(old: Element, new: Element, ids: Ids) -> Element:
    """The set `old` with the pairs of `new` set: those it has are changed in place, the others added."""
    ids.free(old)
    children = list(old.children)
    unused = [at for at, was in enumerate(children) if was.tag == "nvpair" and "id-ref" not in was.attributes]
    fresh: list[Element] = []
    for pair in new.children:
        if pair.tag == "rule":
            continue
        if pair.tag != "nvpair":
            fresh += [] if is_noted(pair, children) else [pair]
            continue
        if "id-ref" in pair.attributes:
            fresh += [] if _is_referred(pair, children) else [pair]
            continue
        index = next((at for at in unused if children[at].get("name") == pair.get("name")), None)
        if index is None:
            fresh.append(pair)
        else:
            unused.remove(index)
            children[index] = element("nvpair", dict(children[index].attributes) | dict(pair.attributes))
    if old.all("rule") and new.all("rule"):
        at = next(at for at, was in enumerate(children) if was.tag == "rule")
        rules = adopted(element(new.tag, None, *new.all("rule")), old, ids).children
        rest = [child for child in children[at:] if child.tag != "rule"]
        children = [*children[:at], *rules, *rest]
    attributes = {name: value for name, value in new.attributes.items() if name not in ("id", "id-ref")}
    changed = old.with_attribute_map(attributes).with_children((*children, *fresh))
    return with_ids(changed, ids)
