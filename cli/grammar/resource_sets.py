"""`a b:ROLE ( c d ) [ e f ]` <-> resource_set elements, for colocation, order, location and tickets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cli.grammar.words import ACTIONS, Words, boolean_text, checked_identifier, role_of
from crm.cib.model import Element, element
from hacluster.errors import InvalidRequest

FORCED: Final = "_rsc_set_"
_BRACKETS: Final = re.compile(r"([()\[\]{}])")
_CLOSING: Final = {"(": ")", "[": "]"}
_SET_ATTRIBUTES: Final = ("sequential", "require-all")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetText:
    """What was read: the sets, and whether brackets, attributes or `_rsc_set_` rule the simple form out."""

    sets: tuple[Element, ...]
    forced: bool
    count: int

    @property
    def references(self) -> tuple[tuple[str, str], ...]:
        """All (id, role or action) in order."""
        return tuple(
            (reference.id, one.get("role") or one.get("action"))
            for one in self.sets
            for reference in one.children
        )


@dataclass(slots=True)
class _Reader:
    by_action: bool
    sets: list[Element] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    role: str = ""
    bracket: str = ""
    pending: dict[str, str] = field(default_factory=dict)
    inside: list[tuple[str, list[str]]] = field(default_factory=list)
    forced: bool = False
    count: int = 0

    def token(self, token: str) -> None:
        if token in _CLOSING:
            self._open(token)
        elif token in _CLOSING.values():
            self._close(token)
        elif "=" in token:
            self._attribute(token)
        else:
            self._member(token)

    def _open(self, token: str) -> None:
        if self.bracket:
            raise InvalidRequest(what="resource sets cannot be nested")
        self.flush()
        self.bracket = token
        self.forced = True

    def _close(self, token: str) -> None:
        if not self.bracket:
            raise InvalidRequest(what=f"{token!r} closes a set that was not opened")
        if _CLOSING[self.bracket] != token:
            raise InvalidRequest(what=f"a set opened with {self.bracket!r} is closed with {token!r}")
        groups = self.inside + ([(self.role, self.members)] if self.members else [])
        if not groups:
            raise InvalidRequest(what="a resource set is empty")
        flags = {"sequential": "false"} | ({"require-all": "false"} if self.bracket == "[" else {})
        flags |= self.pending
        for role, members in groups:
            self._emit(role, members, flags)
        self.inside, self.members, self.pending, self.bracket, self.role = [], [], {}, "", ""

    def _attribute(self, token: str) -> None:
        name, _, value = token.partition("=")
        if name not in _SET_ATTRIBUTES:
            raise InvalidRequest(
                what=f"{token!r}: a resource set has no attribute {name!r}",
                remedy="sequential and require-all are known",
            )
        if not self.bracket and not self.members:
            raise InvalidRequest(what=f"{token!r} does not follow a resource of its set")
        self.pending[name] = boolean_text(name, value)
        self.forced = True

    def _member(self, token: str) -> None:
        name, colon, kind = token.partition(":")
        if colon:
            kind = _action_of(kind) if self.by_action else role_of(kind)
        checked_identifier(name)
        self.count += 1
        if self.members and kind != self.role:
            if self.bracket:
                self.inside.append((self.role, self.members))
                self.members = []
            else:
                self.flush()
        self.role = kind
        self.members.append(name)

    def flush(self) -> None:
        """Close the open set that stands outside brackets."""
        if self.members:
            self._emit(self.role, self.members, self.pending)
        self.members, self.pending, self.role = [], {}, ""

    def _emit(self, role: str, members: list[str], flags: dict[str, str]) -> None:
        attributes = {name: "false" for name in _SET_ATTRIBUTES if flags.get(name) == "false"}
        if role:
            attributes["action" if self.by_action else "role"] = role
        references = (element("resource_ref", {"id": member}) for member in members)
        self.sets.append(element("resource_set", attributes, *references))


def _action_of(word: str) -> str:
    if word.lower() not in ACTIONS:
        raise InvalidRequest(what=f"{word!r} is not an action", remedy="one of " + ", ".join(ACTIONS))
    return word.lower()


def read_sets(words: Words, *, by_action: bool = False, closed_by: str = "") -> SetText:
    """Read resources and sets up to the first pair that is not a set's, or to the word `closed_by`."""
    reader = _Reader(by_action)
    if words.peek() == FORCED:
        words.take()
        reader.forced = True
    while (word := words.peek()) is not None:
        if "=" in word:
            inside = bool(reader.bracket) or closed_by
            if word.partition("=")[0] not in _SET_ATTRIBUTES and not inside:
                break
            tokens = [word]
            tail = re.fullmatch(r"([^()\[\]{}]+)([)\]}])", word)
            if tail is not None:
                tokens = [tail[1], tail[2]]
        else:
            tokens = [token for token in _BRACKETS.split(word) if token]
        words.take()
        for token in tokens:
            if closed_by and token == closed_by:
                return _finish(reader)
            reader.token(token)
    if closed_by:
        raise InvalidRequest(what=f"{closed_by!r} is missing after the set")
    return _finish(reader)


def _finish(reader: _Reader) -> SetText:
    if reader.bracket:
        raise InvalidRequest(what=f"the set opened with {reader.bracket!r} is not closed")
    reader.flush()
    return SetText(sets=tuple(reader.sets), forced=reader.forced, count=reader.count)


def sets_text(sets: Sequence[Element], simple_count: int) -> str | None:
    """How the language says these sets; None when it cannot. `simple_count`: what would read as simple."""
    parts: list[str] = []
    for one in sets:
        if set(one.attributes) - {"id", "role", "action", *_SET_ATTRIBUTES} or not one.children:
            return None
        if any(child.tag != "resource_ref" or set(child.attributes) != {"id"} for child in one.children):
            return None
        kind = one.get("role") or one.get("action")
        names = " ".join(child.id + (f":{kind}" if kind else "") for child in one.children)
        loose = one.get("sequential") == "false"
        any_one = one.get("require-all") == "false"
        if any_one:
            parts.append(f"[ {names} ]" if loose else f"[ {names} sequential=true ]")
        else:
            parts.append(f"( {names} )" if loose else names)
    text = " ".join(parts)
    count = sum(len(one.children) for one in sets)
    if count <= simple_count and (simple_count == 1 or not sets or sets[-1].get("sequential") != "false"):
        return f"{FORCED} {text}"  # where brackets say it as well, crmsh has the word before them, too
    return text
