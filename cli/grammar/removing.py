"""`property remove NAME…`, also of rsc_defaults and op_defaults: their defaults hold again. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cli.grammar.document import find, not_found, object_id, section, with_section
from cli.grammar.edits import delete
from cli.grammar.options import DEFAULT_SETS
from cli.grammar.words import checked_identifier, is_score_word
from crm.cib.model import Element
from hacluster.errors import InvalidRequest

REMOVE: Final = "remove"
_SECTIONS: Final = {"property": "crm_config", "rsc_defaults": "rsc_defaults", "op_defaults": "op_defaults"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What was typed. `set_id` empty: the usual set."""

    keyword: str
    set_id: str
    names: tuple[str, ...]


def removal_of(words: Sequence[str]) -> Removal | None:
    """`property [SETID:|$id=SETID] remove NAME…`; None: it is a definition. Raises InvalidRequest.

    In a file the same words define options without a value, as they do with crmsh.
    """
    keyword, rest = words[0].lower(), list(words[1:])
    if keyword not in DEFAULT_SETS:
        return None
    set_id = ""
    if rest and rest[0].startswith("$id="):
        set_id = checked_identifier(rest.pop(0).removeprefix("$id="))
    elif rest and is_score_word(rest[0]):
        set_id = checked_identifier(rest.pop(0)[:-1])
    if rest[:1] != [REMOVE] or "=" in "".join(rest):
        return None
    if not rest[1:]:
        raise InvalidRequest(
            what=f"{keyword} {REMOVE} needs a name", remedy=f"{keyword} [SETID:] {REMOVE} NAME…"
        )
    return Removal(keyword=keyword, set_id=set_id, names=tuple(dict.fromkeys(rest[1:])))


def options_of(cib: Element, keyword: str, set_id: str = "") -> Iterator[str]:
    """The names of the options that a set (or, without its id, any) has."""
    for one in section(cib, _SECTIONS[keyword]).children:
        if not set_id or one.id == set_id:
            yield from (pair.get("name") for pair in one.all("nvpair") if pair.get("name"))


def without_options(cib: Element, removal: Removal, *, missing_ok: bool = False) -> tuple[Element, str]:
    """The CIB without them, and the id of the set they were in; a set that has nothing left goes.

    Raises InvalidRequest for one that the set has not, unless `missing_ok`; it names the set that has it.
    """
    keyword = removal.keyword
    set_id = removal.set_id or _usual_set(cib, keyword)
    there = set(options_of(cib, keyword, set_id))
    for name in removal.names:
        if name not in there and not missing_ok:
            raise _missing(cib, removal, name, set_id)
    gone = there.intersection(removal.names)
    if not gone:
        return cib, set_id
    sets = section(cib, _SECTIONS[keyword])
    before = next(one for one in sets.children if one.id == set_id)
    after = before.mapped(lambda one: None if one.tag == "nvpair" and one.get("name") in gone else one)
    if not after.all("nvpair") and (item := find(cib, set_id, *_TAGS)) is not None:
        return delete(cib, [object_id(item)]), set_id
    return with_section(cib, sets.tag, sets.mapped(lambda one: after if one is before else one)), set_id


_TAGS: Final = ("cluster_property_set", "rsc_defaults", "op_defaults")


def _usual_set(cib: Element, keyword: str) -> str:
    """The default one; where another tool made the only one there is, that."""
    sets = [one.id for one in section(cib, _SECTIONS[keyword]).children]
    usual = DEFAULT_SETS[keyword]
    return sets[0] if len(sets) == 1 and usual not in sets else usual


def _missing(cib: Element, removal: Removal, name: str, set_id: str) -> InvalidRequest:
    keyword = removal.keyword
    others = [
        one.id
        for one in section(cib, _SECTIONS[keyword]).children
        if any(pair.get("name") == name for pair in one.all("nvpair"))
    ]
    if others:
        return InvalidRequest(
            what=f"{name} is not in the set {set_id}, but in {' and in '.join(others)}",
            remedy=f"`{keyword} {others[0]}: {REMOVE} {name}`",
        )
    remedy = not_found("option", name, options_of(cib, keyword, set_id)).remedy
    return InvalidRequest(what=f"the set {set_id} has no {name!r}", remedy=remedy)
