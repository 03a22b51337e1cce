"""Which objects `show`, `save` and `delete` mean: ids, globs, type:, tag:, related:, changed, `and`, `or`."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from cli.grammar.document import CONSTRAINT_TAGS, find, not_found, object_id, objects, section
from cli.grammar.references import named_by
from crm.cib.model import Element
from hacluster.errors import InvalidRequest, NotFound

_TYPE_TAGS = {
    "location": "rsc_location",
    "colocation": "rsc_colocation",
    "order": "rsc_order",
    "property": "cluster_property_set",
    "ms": "master",
    "role": "acl_role",
    "fencing_topology": "fencing-topology",
}


def select(cib: Element, words: Sequence[str], *, before: Element | None = None) -> tuple[Element, ...]:
    """The objects the words choose. `before`: the CIB without the pending changes, for `changed`.

    Raises NotFound for an id that matches nothing.
    """
    everything = tuple(objects(cib))
    chosen: set[int] | None = None
    narrow = False
    for word in words:
        if word == "and":
            narrow = True
            continue
        if word == "or":
            continue
        matched = {id(one) for one in _matching(cib, everything, word, before)}
        if narrow and chosen is not None:
            matched &= chosen
        elif chosen is not None:
            matched |= chosen
        chosen = matched
        narrow = False
    if chosen is None:
        return everything
    return tuple(one for one in everything if id(one) in chosen)


def _matching(
    cib: Element, everything: Sequence[Element], word: str, before: Element | None
) -> list[Element]:
    kind, colon, rest = word.partition(":")
    if word == "changed":
        return _changed(everything, before)
    if colon and kind == "type":
        tag = _TYPE_TAGS.get(rest, "template" if rest == "rsc_template" else rest)
        return [one for one in everything if one.tag == tag]
    if colon and kind == "tag":
        tagged = next((one for one in section(cib, "tags").all("tag") if one.id == rest), None)
        if tagged is None:
            raise NotFound(kind="tag", name=rest)
        inside = {ref.id for ref in tagged.all("obj_ref")}
        return [one for one in everything if object_id(one) in inside]
    if colon and kind == "related":
        return _related(cib, everything, rest)
    if any(character in word for character in "*?["):
        found = [one for one in everything if fnmatch.fnmatchcase(object_id(one), word)]
        if not found and word != "*":
            raise NotFound(kind="object like", name=word)
        return found
    found = [one for one in everything if object_id(one) == word or (one.tag == "node" and one.id == word)]
    if word in ("fencing-topology", "fencing_topology"):
        found = [one for one in everything if one.tag == "fencing-topology"]
    if not found:
        raise not_found("object", word, map(object_id, everything))
    return found


def _changed(everything: Sequence[Element], before: Element | None) -> list[Element]:
    if before is None:
        return []
    old = {(one.tag, object_id(one)): one for one in objects(before)}
    return [one for one in everything if old.get((one.tag, object_id(one))) != one]


def _related(cib: Element, everything: Sequence[Element], what: str) -> list[Element]:
    root = find(cib, what)
    if root is None:
        parts = what.split(":")
        names = ("class", "provider", "type")[-len(parts) :] if len(parts) != 2 else ("class", "type")
        found = [
            one
            for one in everything
            if one.tag in ("primitive", "template")
            and all(one.get(name) == part for name, part in zip(names, parts, strict=True))
        ]
        if not found:
            raise NotFound(kind="object or agent", name=what)
        return found
    identifier = object_id(root)
    return [one for one in everything if _is_related(one, identifier)]


def _is_related(one: Element, identifier: str) -> bool:
    if object_id(one) == identifier or one.get("template") == identifier:
        return True
    if one.tag in CONSTRAINT_TAGS:
        return identifier in named_by(one)
    if one.tag == "tag":
        return any(ref.id == identifier for ref in one.all("obj_ref"))
    return any(child.id == identifier for child in one.all("primitive", "group"))


def obscured(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take `obscure:PATTERN` words out: (the others, the patterns as regular expressions)."""
    patterns: list[str] = []
    rest: list[str] = []
    for word in words:
        if word.startswith("obscure:"):
            if not word[8:]:
                raise InvalidRequest(what="obscure: needs a pattern of attribute names")
            patterns.append(fnmatch.translate(word[8:]))
        else:
            rest.append(word)
    return tuple(rest), tuple(patterns)
