"""Damage done to a CIB: a few random changes of the tree, all drawn from one seeded source."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from crm.cib.model import Element

VALUES: Final = (
    *("", "0", "-1", "1", "7", "true", "false", "INFINITY", "-INFINITY", "+INFINITY", "1.5", "abc", "#", ":"),
    *(
        "99999999999999999999",
        "-99999999999999999999",
        "1s",
        "10min",
        "P1D",
        "Started",
        "Stopped",
        "Promoted",
    ),
    *(
        "Master",
        "start",
        "stop",
        "promote",
        "stonith",
        "ocf",
        "block",
        "fence",
        "standby",
        "demote",
        "ignore",
    ),
    *(
        "freeze",
        "suicide",
        "balanced",
        "minimal",
        "exclusive",
        "never",
        "0:0;1:1:0:x",
        "4:1;1:1:0:x",
        "é\u2028",
    ),
    *("pending", "member", "down", "online", "offline", "stop_only", "Optional", "Serialize", "2026-01-01"),
    *("#uname", "#kind", "a:b:c", "x_start_0", "_", "__", "a_b_c", "$", "(", "[", "\\1", "\\99", "*", "1:2"),
)
NAMES: Final = (
    *("id", "id-ref", "rsc", "with-rsc", "first", "then", "score", "node", "kind", "role", "value", "name"),
    *("interval", "operation", "operation_key", "transition-magic", "transition-key", "rc-code", "op-status"),
    *("call-id", "uname", "in_ccm", "crmd", "join", "expected", "container", "template", "type", "class"),
)
META: Final = (
    *("target-role", "is-managed", "migration-threshold", "failure-timeout", "resource-stickiness"),
    *("clone-max", "clone-node-max", "promotable", "promoted-max", "notify", "interleave", "ordered"),
    *("allow-migrate", "multiple-active", "remote-node", "globally-unique", "requires", "maintenance"),
    *("container", "critical", "priority", "stonith-enabled", "no-quorum-policy", "symmetric-cluster"),
    *("maintenance-mode", "placement-strategy", "shutdown-lock", "standby", "shutdown", "terminate"),
)
_SETS: Final = ("meta_attributes", "instance_attributes", "cluster_property_set", "utilization")


def mutated(cib: Element, rng: random.Random) -> Element:
    """One to six changes; the root stays a <cib>."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4, 6))):
        cib = _once(cib, rng)
    return cib


def _once(cib: Element, rng: random.Random) -> Element:
    paths = _paths(cib)
    path = rng.choice(paths)
    kind = rng.choice(_KINDS)
    return _changed(cib, path, lambda item: kind(item, cib, rng))


def _paths(root: Element) -> list[tuple[int, ...]]:
    """The way to every element below the root, as numbers of children."""
    found: list[tuple[int, ...]] = [()]
    waiting: list[tuple[tuple[int, ...], Element]] = [((), root)]
    while waiting:
        path, item = waiting.pop()
        for number, child in enumerate(item.children):
            below = (*path, number)
            found.append(below)
            waiting.append((below, child))
    return found


def _changed(item: Element, path: tuple[int, ...], change: Callable[[Element], Element]) -> Element:
    if not path:
        return change(item)
    children = list(item.children)
    children[path[0]] = _changed(children[path[0]], path[1:], change)
    return item.with_children(tuple(children))


def _drop_child(item: Element, _root: Element, rng: random.Random) -> Element:
    if not item.children:
        return item
    at = rng.randrange(len(item.children))
    return item.with_children(item.children[:at] + item.children[at + 1 :])


def _double_child(item: Element, _root: Element, rng: random.Random) -> Element:
    if not item.children:
        return item
    at = rng.randrange(len(item.children))
    return item.with_children((*item.children, item.children[at]))


def _shuffle(item: Element, _root: Element, rng: random.Random) -> Element:
    children = list(item.children)
    rng.shuffle(children)
    return item.with_children(tuple(children))


def _set_value(item: Element, root: Element, rng: random.Random) -> Element:
    if not item.attributes:
        return item
    return item.with_attribute_map({rng.choice(list(item.attributes)): _value(root, rng)})


def _set_name(item: Element, root: Element, rng: random.Random) -> Element:
    return item.with_attribute_map({rng.choice(NAMES): _value(root, rng)})


def _drop_attribute(item: Element, _root: Element, rng: random.Random) -> Element:
    return item.with_attribute_map({rng.choice(list(item.attributes)): None}) if item.attributes else item


def _rename(item: Element, root: Element, rng: random.Random) -> Element:
    tags = sorted({one.tag for one in root.walk()} - {"cib"})
    return item if item is root or not tags else Element(rng.choice(tags), item.attributes, item.children)


def _adopt(item: Element, root: Element, rng: random.Random) -> Element:
    """A copy of something from anywhere becomes a child."""
    everything = [one for one in root.walk() if one is not root]
    return item.with_children((*item.children, rng.choice(everything))) if everything else item


def _add_pair(item: Element, root: Element, rng: random.Random) -> Element:
    name = rng.choice(META)
    pair = Element("nvpair", {"id": f"f-{name}", "name": name, "value": _value(root, rng)})
    if item.tag in _SETS:
        return item.with_children((*item.children, pair))
    return item.with_children((Element(rng.choice(_SETS), {"id": "f"}, (pair,)), *item.children))


def _value(root: Element, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return rng.choice(VALUES)
    values = [value for one in root.walk() for value in one.attributes.values()]
    return rng.choice(values) if values else ""


_KINDS: Final = (
    *(_drop_child, _double_child, _shuffle, _set_value, _set_value, _set_value, _set_name, _drop_attribute),
    *(_rename, _adopt, _add_pair, _add_pair),
)
