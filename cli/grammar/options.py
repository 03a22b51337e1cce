"""property, rsc_defaults, op_defaults, fencing_topology, node, tag: words -> elements without ids."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from cli.grammar.attributes import SET_ELEMENTS, attribute_set, description
from cli.grammar.words import Words, checked_identifier, is_score_word
from crm.cib.model import Element, element
from hacluster.errors import InvalidRequest

DEFAULT_SETS: Final = {
    "property": "cib-bootstrap-options",
    "rsc_defaults": "rsc-options",
    "op_defaults": "op-options",
}
NODE_TYPES: Final = ("normal", "member", "ping", "remote")
ALL_NODES: Final = "#all"


def property_set(words: Words) -> Element:
    """`property [SETID:|$id=SETID] [rule …] NAME=VALUE…`."""
    return _option_set(words, "property", "cluster_property_set")


def rsc_defaults(words: Words) -> Element:
    """`rsc_defaults …`: the section with the one set."""
    return element("rsc_defaults", None, _option_set(words, "rsc_defaults", "meta_attributes"))


def op_defaults(words: Words) -> Element:
    """`op_defaults …`: the section with the one set."""
    return element("op_defaults", None, _option_set(words, "op_defaults", "meta_attributes"))


def _option_set(words: Words, keyword: str, tag: str) -> Element:
    identifier = DEFAULT_SETS[keyword]
    if is_score_word(words.peek()):
        identifier = checked_identifier(words.take()[:-1])
    built = attribute_set(words, tag)
    words.expect_end(f"{keyword} takes NAME=VALUE")
    if not built.id:
        built = element(tag, {"id": identifier} | dict(built.attributes), *built.children)
    return built


def fencing_topology(words: Words) -> Element:
    """`fencing_topology DEV[,DEV…] …` or `TARGET: DEV… TARGET: DEV…`.

    Without any word it is empty: no levels. Levels for all nodes have the attribute `#all` until the nodes
    are known.
    """
    levels: list[Element] = []
    target: dict[str, str] = {ALL_NODES: "yes"}
    counts: Counter[tuple[tuple[str, str], ...]] = Counter()
    while (word := words.peek()) is not None:
        words.take()
        named = _target(word)
        if named is not None:
            if levels and ALL_NODES in target:
                raise InvalidRequest(
                    what=f"{word!r} follows levels without a target", remedy="name a target for each"
                )
            _expect_devices(target, counts)
            target = named
            continue
        key = tuple(target.items())  # a target named again goes on where it was
        counts[key] += 1
        levels.append(element("fencing-level", target | {"index": str(counts[key]), "devices": word}))
    _expect_devices(target, counts)
    return element("fencing-topology", None, *levels)


def _expect_devices(target: dict[str, str], counts: Counter[tuple[tuple[str, str], ...]]) -> None:
    if ALL_NODES not in target and not counts[tuple(target.items())]:
        raise InvalidRequest(
            what=f"fencing_topology names no device for {'='.join(target.values())}",
            remedy="as in `fencing_topology node1: f1 node2: f2`",
        )


def _target(word: str) -> dict[str, str] | None:
    if word.startswith("attr:"):
        name, equals, value = word[5:].partition("=")
        if not (name and equals):
            raise InvalidRequest(what=f"{word!r}: attr:NAME=VALUE is needed")
        return {"target-attribute": name, "target-value": value}
    if word.startswith("pattern:"):
        return {"target-pattern": word[8:]}
    if word.endswith(":") and len(word) > 1:
        return {"target": word[:-1]}
    return None


def node(words: Words) -> Element:
    """`node [ID:|$id=ID] NAME[:TYPE] [description=] [attributes …] [utilization …]`."""
    identifier = ""
    pair = words.take_pair("$id")
    if pair is not None:
        identifier = pair[1]
    elif is_score_word(words.peek()):
        identifier = words.take()[:-1]
    name, colon, kind = words.take("the name of the node").partition(":")
    if not re.fullmatch(r"[\w.-]+", name):
        raise InvalidRequest(what=f"{name!r} is not the name of a node")
    identifier = identifier or name
    if not re.fullmatch(r"[\w.-]+", identifier):  # a number, or a UUID of heartbeat's: no XML id
        raise InvalidRequest(what=f"{identifier!r} is not a valid id of a node")
    attributes = {"id": identifier, "uname": name}
    if colon:
        if kind.lower() not in NODE_TYPES:
            raise InvalidRequest(
                what=f"{kind!r} is not a type of node", remedy="one of " + " ".join(NODE_TYPES)
            )
        if kind.lower() != "normal":
            attributes["type"] = kind.lower()
    sets: list[Element] = []
    while not words.at_end:
        keyword = words.keyword()
        if description(words, attributes):
            continue
        if not sets and "=" in keyword:
            sets.append(attribute_set(words, "instance_attributes"))
            continue
        if keyword not in ("attributes", "utilization"):
            words.expect_end("attributes, utilization or description=… may stand here")
        words.take()
        sets.append(attribute_set(words, SET_ELEMENTS[keyword]))
    return element("node", attributes, *sets)


def tag(words: Words) -> Element:
    """`tag ID[:] OBJ…`."""
    identifier = checked_identifier(words.take("the id of the tag").removesuffix(":"))
    members = [checked_identifier(words.take()) for _ in words.left]
    if not members:
        raise InvalidRequest(what=f"tag {identifier} has no members", remedy="name at least one object")
    return element("tag", {"id": identifier}, *(element("obj_ref", {"id": member}) for member in members))
