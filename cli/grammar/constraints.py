"""location, colocation, order and rsc_ticket: words -> elements without ids."""

from __future__ import annotations

from typing import Final

from cli.grammar.attributes import rule
from cli.grammar.resource_sets import SetText, read_sets
from cli.grammar.words import (
    INTEGER,
    Words,
    boolean_text,
    checked_identifier,
    is_score_word,
    role_of,
    score_attributes,
    score_of,
)
from crm.cib.model import Element, element
from hacluster.errors import InvalidRequest

KINDS: Final = {kind.lower(): kind for kind in ("Mandatory", "Optional", "Serialize")}
LOSS_POLICIES: Final = ("stop", "demote", "fence", "freeze")


def location(words: Words) -> Element:
    """`location ID RSC [ATTR=…] SCORE: NODE` or `… rule …`."""
    identifier = words.take_identifier("location")
    attributes = {"id": identifier}
    children: list[Element] = []
    target = words.take(f"the resource of location {identifier}")
    if target == "//":
        raise InvalidRequest(what=f"{target!r}: the pattern is empty", remedy="/REGEX/, as /vm-.*/")
    if len(target) > 2 and target.startswith("/") and target.endswith("/"):
        attributes["rsc-pattern"] = target[1:-1]
    elif target.startswith("{"):
        inner = Words((*((target[1:],) if target != "{" else ()), *words.left))
        taken = len(inner.left)
        text = read_sets(inner, closed_by="}")
        if not text.sets:
            raise InvalidRequest(what=f"location {identifier}: the resource set is empty")
        children += text.sets
        used = taken - len(inner.left) - (target != "{")
        for _ in range(used):
            words.take()
    else:
        attributes["rsc"] = checked_identifier(target)
    _location_pairs(words, attributes)
    if words.keyword() == "rule":
        while words.keyword() == "rule":
            words.take()
            children.append(rule(words))
    elif is_score_word(words.peek()):
        attributes |= score_attributes(words.take())
        attributes["node"] = words.take("the node")
        _location_pairs(words, attributes)
    else:
        raise InvalidRequest(
            what=f"location {identifier} has neither SCORE: NODE nor a rule",
            remedy="as in `location l web 100: node1`",
        )
    words.expect_end()
    return element("rsc_location", attributes, *children)


def _location_pairs(words: Words, attributes: dict[str, str]) -> None:
    while (word := words.peek()) is not None and "=" in word:
        words.take()
        name, _, value = word.partition("=")
        name = name.lstrip("$")
        attributes[name] = role_of(value) if name == "role" else value


def _reference(word: str) -> tuple[str, str]:
    name, _, kind = word.partition(":")
    return name, kind


def colocation(words: Words) -> Element:
    """`colocation ID SCORE: A[:ROLE] WITH[:ROLE] [node-attribute=]` or with sets."""
    identifier = words.take_identifier("colocation")
    attributes = {"id": identifier}
    if not is_score_word(words.peek()):
        raise InvalidRequest(
            what=f"colocation {identifier} has no score", remedy="as in `colocation c inf: a b`"
        )
    attributes |= score_attributes(words.take())
    children: tuple[Element, ...] = ()
    instances = _instances(words)
    if instances is not None:
        attributes |= instances
    else:
        text = read_sets(words)
        if text.count == 2 and not text.forced:
            (first, first_role), (second, second_role) = text.references
            attributes["rsc"] = first
            attributes |= {"rsc-role": first_role} if first_role else {}
            attributes["with-rsc"] = second
            attributes |= {"with-rsc-role": second_role} if second_role else {}
        elif text.count < 2 and not text.forced:
            raise InvalidRequest(what=f"colocation {identifier} needs two resources, or a set")
        else:
            children = text.sets
    while (pair := words.take_pair("node-attribute", "influence")) is not None:
        name, value = pair
        attributes[name] = boolean_text(name, value) if name == "influence" else value
    words.expect_end("node-attribute=… and influence=… may stand at the end")
    return element("rsc_colocation", attributes, *children)


def _instances(words: Words) -> dict[str, str] | None:
    """The old form `A:NUMBER WITH:NUMBER` of two resources, where one of them has a number."""
    first, second = words.peek(), words.peek(1)
    if first is None or second is None or (words.peek(2) is not None and "=" not in (words.peek(2) or "")):
        return None
    (rsc, kind), (with_rsc, with_kind) = _reference(first), _reference(second)
    if not (INTEGER.fullmatch(kind) or INTEGER.fullmatch(with_kind)):
        return None
    words.take()
    words.take()
    attributes: dict[str, str] = {}
    for name, value, where in (("rsc", rsc, kind), ("with-rsc", with_rsc, with_kind)):
        attributes[name] = checked_identifier(value)
        if INTEGER.fullmatch(where):
            attributes[f"{name}-instance"] = where
        elif where:
            attributes[f"{name}-role"] = role_of(where)
    return attributes


def order(words: Words) -> Element:
    """`order ID [KIND:|SCORE:] FIRST[:ACTION] THEN[:ACTION] [symmetrical=]` or with sets."""
    identifier = words.take_identifier("order")
    attributes = {"id": identifier}
    if is_score_word(words.peek()):
        attributes["kind"] = _kind_of(words.take()[:-1])
    text = _ordered(words)
    children: tuple[Element, ...] = ()
    if text.count == 2 and not text.forced:
        (first, first_action), (then, then_action) = text.references
        attributes["first"] = first
        attributes |= {"first-action": first_action} if first_action else {}
        attributes["then"] = then
        attributes |= {"then-action": then_action} if then_action else {}
    elif text.count < 2 and not text.forced:
        raise InvalidRequest(what=f"order {identifier} needs two resources, or a set")
    else:
        children = text.sets
    while (pair := words.take_pair("symmetrical", "require-all")) is not None:
        attributes[pair[0]] = boolean_text(*pair)
    words.expect_end("symmetrical=… may stand at the end")
    return element("rsc_order", attributes, *children)


def _ordered(words: Words) -> SetText:
    """Sets by action. `FIRST THEN require-all=BOOL` is the simple form's own attribute, not a set's."""
    simple = [word for word in words.left if "=" not in word]
    if len(simple) == 2 and not any(character in word for word in simple for character in "()[]"):
        return read_sets(Words(_take_all(words, 2)), by_action=True)
    return read_sets(words, by_action=True)


def _take_all(words: Words, count: int) -> tuple[str, ...]:
    return tuple(words.take("a resource") for _ in range(count))


def _kind_of(word: str) -> str:
    kind = KINDS.get(word.lower())
    if kind is not None:
        return kind
    score = score_of(word)
    if score is None:
        raise InvalidRequest(
            what=f"{word!r} is neither a kind nor a score",
            remedy="Mandatory, Optional, Serialize or a number",
        )
    return "Optional" if score.lstrip("+-0") == "" else "Mandatory"


def rsc_ticket(words: Words) -> Element:
    """`rsc_ticket ID TICKET: RSC[:ROLE]… [loss-policy=]`."""
    identifier = words.take_identifier("rsc_ticket")
    if not is_score_word(words.peek()):
        raise InvalidRequest(
            what=f"rsc_ticket {identifier} names no ticket", remedy="as in `rsc_ticket t ticketA: web`"
        )
    attributes = {"id": identifier, "ticket": words.take()[:-1]}
    text = read_sets(words)
    children: tuple[Element, ...] = ()
    if text.count == 1 and not text.forced:
        name, role = text.references[0]
        attributes["rsc"] = name
        attributes |= {"rsc-role": role} if role else {}
    elif not text.sets:
        raise InvalidRequest(what=f"rsc_ticket {identifier} names no resource")
    else:
        children = text.sets
    pair = words.take_pair("loss-policy")
    if pair is not None:
        if pair[1] not in LOSS_POLICIES:
            raise InvalidRequest(
                what=f"{pair[1]!r} is not a loss-policy", remedy="one of " + " ".join(LOSS_POLICIES)
            )
        attributes["loss-policy"] = pair[1]
    words.expect_end("loss-policy=… may stand at the end")
    return element("rsc_ticket", attributes, *children)
