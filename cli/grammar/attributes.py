"""Attribute sets (`params`, `meta`, …), rules and their expressions: words -> elements without ids."""

from __future__ import annotations

import re
from typing import Final

from cli.grammar.words import Words, boolean_of, is_score_word, score_attributes, score_of
from crm.cib.model import Element, element
from hacluster.errors import InvalidRequest

SET_ELEMENTS: Final = {
    "params": "instance_attributes",
    "meta": "meta_attributes",
    "utilization": "utilization",
    "attributes": "instance_attributes",
    "op_params": "instance_attributes",
    "op_meta": "meta_attributes",
}
# A word without "=" that is one of these ends the pairs of a set.
KEYWORDS: Final = frozenset({*SET_ELEMENTS, "operations", "op", "rule"})
OPERATIONS: Final = ("lt", "gt", "lte", "gte", "eq", "ne")
TYPES: Final = ("string", "integer", "number", "version")
DATE_FIELDS: Final = frozenset(
    {
        *("hours", "monthdays", "weekdays", "yearsdays", "yeardays", "months", "weeks", "years"),
        *("weekyears", "moon", "minutes", "seconds", "days"),
    }
)
_SOURCED: Final = re.compile(r"(\w+)\{(.*)\}")


def attribute_set(words: Words, tag: str, stop: frozenset[str] = KEYWORDS) -> Element:
    """The set whose keyword has just been read: [$id=|$id-ref=] [SCORE:] [rule …] NAME=VALUE …"""
    attributes: dict[str, str] = {}
    reference = _take_marked(words, "$id-ref")
    if reference is not None:
        return element(tag, {"id-ref": reference})
    identifier = _take_marked(words, "$id")
    if identifier is not None:
        attributes["id"] = identifier
    if is_score_word(words.peek()):
        score = words.take()[:-1]
        attributes["score"] = score_of(score) or score
    children: list[Element] = []
    while not words.at_end:
        if words.keyword() == "rule":
            words.take()
            children.append(rule(words))
            continue
        word = words.peek()
        if word is None or word.lower() in stop:
            break
        children.append(nvpair(words.take()))
    return element(tag, attributes, *children)


def nvpair(word: str) -> Element:
    """NAME=VALUE, NAME, $ID:NAME=VALUE, $NAME=VALUE, @ID or @ID:NAME."""
    if word.startswith("@"):
        reference, _, name = word[1:].partition(":")
        if not reference:
            raise InvalidRequest(what=f"{word!r}: the id after @ is missing")
        return element("nvpair", {"id-ref": reference} | ({"name": name} if name else {}))
    attributes: dict[str, str] = {}
    if word.startswith("$"):
        left, has_value, value = word[1:].partition("=")
        identifier, _, name = left.partition(":")
        attributes = {"id": identifier, "name": name or identifier}
    else:
        left, has_value, value = word.partition("=")
        attributes = {"name": left}
    if not attributes["name"]:
        raise InvalidRequest(what=f"{word!r}: the name before = is missing")
    if not has_value and word.endswith(":"):
        raise InvalidRequest(
            what=f"{word!r} is not understood here",
            remedy="a score or the id of a set stands before the pairs",
        )
    if has_value:
        attributes["value"] = value
    return element("nvpair", attributes)


def _take_marked(words: Words, mark: str) -> str | None:
    pair = words.take_pair(mark)
    return None if pair is None else pair[1]


def rule(words: Words) -> Element:
    """[$id=|$id-ref=] [$role=|role=] [SCORE:] EXPR [and|or EXPR …]; the word `rule` has been read."""
    attributes: dict[str, str] = {}
    while (pair := words.take_pair("$id", "$id-ref", "$role", "role")) is not None:
        attributes[pair[0].lstrip("$")] = pair[1]
    if "id-ref" in attributes:
        return element("rule", {"id-ref": attributes["id-ref"]})
    if is_score_word(words.peek()):
        attributes |= score_attributes(words.take())
    else:
        attributes["score"] = "INFINITY"
    expressions = [_expression(words)]
    joined_by = ""
    while words.keyword() in ("and", "or"):
        word = words.take().lower()
        if joined_by and word != joined_by:
            raise InvalidRequest(
                what="`and` and `or` are mixed in one rule", remedy="write two rules, or nest them as xml"
            )
        joined_by = word
        expressions.append(_expression(words))
    if joined_by == "or":
        attributes["boolean-op"] = "or"
    return element("rule", attributes, *expressions)


def _expression(words: Words) -> Element:
    match words.keyword():
        case "defined" | "not_defined":
            operation = words.take().lower()
            return element(
                "expression", {"operation": operation, "attribute": words.take("the name of an attribute")}
            )
        case "date":
            words.take()
            return _date_expression(words)
        case "rsc" if "=" in (words.peek(1) or ""):
            words.take()
            return _resource_expression(words)
        case "op" if words.peek(1) is not None and not _is_comparison(words.peek(1) or ""):
            words.take()
            return _operation_expression(words)
        case _:
            return _comparison(words)


def _is_comparison(word: str) -> bool:
    return word.rpartition(":")[2].lower() in OPERATIONS


def _resource_expression(words: Words) -> Element:
    """`rsc class=… provider=… type=…`, for defaults."""
    pairs: dict[str, str] = {}
    while (pair := words.take_pair("class", "provider", "type")) is not None:
        pairs[pair[0]] = pair[1]
    if not pairs:
        raise InvalidRequest(
            what=f"`rsc {words.peek()}` is not understood", remedy="rsc and class=, provider= or type="
        )
    return element("rsc_expression", pairs)


def _operation_expression(words: Words) -> Element:
    """`op NAME [interval=TIME]`, for defaults."""
    attributes = {"name": words.take("the name of an operation")}
    pair = words.take_pair("interval")
    if pair is not None:
        attributes["interval"] = pair[1]
    return element("op_expression", attributes)


def _comparison(words: Words) -> Element:
    attribute = words.take("an expression of the rule")
    word = words.take(f"the comparison after {attribute!r}")
    kind, colon, operation = word.rpartition(":")
    operation = operation.lower()
    if operation not in OPERATIONS or (colon and kind.lower() not in TYPES):
        raise InvalidRequest(
            what=f"{word!r} is not a comparison",
            remedy=f"[TYPE:]OP, with OP one of {' '.join(OPERATIONS)} and TYPE one of {' '.join(TYPES)}",
        )
    attributes = {"attribute": attribute, "operation": operation}
    if kind:
        attributes["type"] = kind.lower()
    value = words.take(f"the value after {word!r}")
    sourced = _SOURCED.fullmatch(value)
    if sourced is not None:
        attributes |= {"value": sourced[2], "value-source": sourced[1]}
    else:
        attributes["value"] = value
    return element("expression", attributes)


def _date_expression(words: Words) -> Element:
    operation = words.take("the operation after `date`").lower()
    match operation:
        case "lt":
            return element("date_expression", {"operation": "lt", "end": words.take("the date")})
        case "gt":
            return element("date_expression", {"operation": "gt", "start": words.take("the date")})
        case "in" | "in_range":
            return _date_range(words)
        case "spec" | "date_spec":
            fields = _date_pairs(words, DATE_FIELDS)
            if not fields:
                raise InvalidRequest(what="`date spec` needs at least one field, as hours=9-16")
            return element("date_expression", {"operation": "date_spec"}, element("date_spec", fields))
        case _:
            raise InvalidRequest(what=f"`date {operation}` is not known", remedy="use lt, gt, in or spec")


def _date_range(words: Words) -> Element:
    pairs = _date_pairs(words, DATE_FIELDS | {"start", "end"})
    if len(pairs) < 2:
        raise InvalidRequest(
            what="`date in` needs two values", remedy="start=DATE end=DATE, or start=DATE and a duration"
        )
    ends = {name: pairs.pop(name) for name in ("start", "end") if name in pairs}
    duration = (element("duration", pairs),) if pairs else ()
    return element("date_expression", {"operation": "in_range"} | ends, *duration)


def _date_pairs(words: Words, names: frozenset[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    while (pair := words.take_pair(*names)) is not None:
        pairs[pair[0]] = pair[1]
    return pairs


def description(words: Words, attributes: dict[str, str]) -> bool:
    """Take description=TEXT into `attributes`; False when the next word is something else."""
    pair = words.take_pair("description")
    if pair is None:
        return False
    attributes["description"] = pair[1]
    return True


def is_boolean(value: str) -> bool:
    """The value is one of the words for true and false."""
    return boolean_of(value) is not None
