"""What no schema of Pacemaker allows: refused where it is typed, with its column. Pure.

The table is the union of all its schemas in our own words, so that nothing which an old one knows is refused.
XML is read as it is (a newer Pacemaker may know more), and what stands here cannot be said is shown as `xml`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cli.grammar.words import IDENTIFIER, NOT_AN_ID
from crm.cib.ids import IDS_ELSEWHERE
from crm.cib.model import COMMENT, Element


@dataclass(frozen=True, slots=True, kw_only=True)
class Impossible:
    """`words`: how the wrong one may be written, the likeliest first; none when something is missing."""

    what: str
    remedy: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    fits: Callable[[str], bool]
    remedy: str


def _any(_text: str) -> bool:
    return True


def _one_of(*values: str) -> _Kind:
    return _Kind(fits=values.__contains__, remedy="one of " + " ".join(values))


def _pattern(text: str, remedy: str) -> _Kind:
    compiled = re.compile(text)
    return _Kind(fits=lambda value: compiled.fullmatch(value) is not None, remedy=remedy)


_TEXT: Final = _Kind(fits=_any, remedy="")
_BOOLEAN: Final = _one_of("true", "false", "1", "0")
_NUMBER: Final = _pattern(r"[+-]?[0-9]+", "a whole number")
_SCORE: Final = _pattern(r"[+-]?([0-9]+|INFINITY)", "a whole number, inf or -inf")
_CONTAINER: Final = {
    **dict.fromkeys(("image", "run-command", "network", "options"), _TEXT),
    **dict.fromkeys(("replicas", "replicas-per-host", "masters", "promoted-max"), _NUMBER),
}
_DATE: Final = dict.fromkeys(
    (
        *("years", "months", "weeks", "days", "hours", "minutes", "seconds"),
        *("monthdays", "weekdays", "yearsdays", "yeardays", "weekyears", "moon"),
    ),
    _TEXT,
)
_SETS: Final = ("instance_attributes", "meta_attributes", "utilization", "cluster_property_set")

# The attributes that an element may have beyond its id. Elements that are not here are checked elsewhere.
_ATTRIBUTES: Final[Mapping[str, Mapping[str, _Kind]]] = {
    **{tag: {"id-ref": _TEXT, "score": _SCORE} for tag in _SETS},
    **dict.fromkeys(("docker", "podman", "rkt"), _CONTAINER),
    "op": {
        **dict.fromkeys(("name", "interval", "timeout", "description", "start-delay"), _TEXT),
        **dict.fromkeys(("enabled", "record-pending"), _BOOLEAN),
        "interval-origin": _TEXT,
        "role": _TEXT,
        "on-fail": _one_of(
            *("ignore", "block", "demote", "stop", "restart", "standby", "fence", "restart-container")
        ),
    },
    "network": {
        **dict.fromkeys(("ip-range-start", "host-interface"), _TEXT),
        **dict.fromkeys(("control-port", "host-netmask"), _NUMBER),
        "add-host": _BOOLEAN,
    },
    "port-mapping": {
        **dict.fromkeys(("port", "internal-port"), _NUMBER),
        "range": _pattern(r"[0-9-]+", "FIRST-LAST"),
    },
    "storage": {},
    "storage-mapping": dict.fromkeys(("source-dir", "source-dir-root", "target-dir", "options"), _TEXT),
    "rsc_location": {
        **dict.fromkeys(("rsc", "rsc-pattern", "node", "role", "score-attribute"), _TEXT),
        "score": _TEXT,
        "resource-discovery": _one_of("always", "never", "exclusive"),
    },
    "expression": {
        **dict.fromkeys(("attribute", "operation", "value", "type"), _TEXT),
        "value-source": _one_of("literal", "param", "meta"),
    },
    "duration": _DATE,
    "date_spec": _DATE,
    "fencing-level": {
        **dict.fromkeys(("#all", "target", "target-pattern", "target-attribute", "target-value"), _TEXT),
        "index": _TEXT,
        "devices": _pattern(r"[\w.-]+(,[\w.-]+)*", "names of devices with commas between them"),
    },
}
# Of these attributes exactly one, or one at most, may stand in an element.
_ONE: Final = {"port-mapping": ("port", "range"), "storage-mapping": ("source-dir", "source-dir-root")}
_ONE_AT_MOST: Final = {
    **dict.fromkeys(("docker", "podman", "rkt"), ("masters", "promoted-max")),
    "op": ("start-delay", "interval-origin"),
}
_MISSING: Final = {
    **dict.fromkeys(("docker", "podman", "rkt"), ("image",)),
    "storage-mapping": ("target-dir",),
}
# What may stand once inside of an element.
_ONCE: Final = {
    **dict.fromkeys(_SETS, ("rule",)),
    "bundle": ("network", "storage"),
    "select": ("select_nodes", "select_fencing", "select_resources", "select_attributes"),
    "alert": ("select",),
}


def impossible(item: Element) -> Iterator[Impossible]:
    """All that no schema allows in a definition as it was typed (ids still missing), in its order."""
    for one in item.walk():
        if one.tag != COMMENT:
            yield from _identifier(one)
            yield from _attributes(one)
            yield from _presence(one)
    if item.tag in ("rsc_location", "rsc_colocation") and item.all("resource_set"):
        for name in ("node-attribute", "role"):
            if name in item.attributes:
                yield Impossible(
                    what=f"{name} has no place beside resource sets",
                    remedy="leave it out" if name == "node-attribute" else "write it inside of the set",
                    words=_written(name, item.get(name)),
                )


def _identifier(item: Element) -> Iterator[Impossible]:
    if item.tag in IDS_ELSEWHERE or IDENTIFIER.fullmatch(item.get("id", "_")):
        return
    words = (*_written("id", item.id), f"${item.id}", f"${item.id}:")
    yield Impossible(what=f"{item.id!r} is not a valid id", remedy=NOT_AN_ID, words=words)


def _attributes(item: Element) -> Iterator[Impossible]:
    known = _ATTRIBUTES.get(item.tag)
    if known is None:
        return
    for name, value in item.attributes.items():
        kind = known.get(name)
        if name == "id" or (kind is not None and kind.fits(value)):
            continue
        if kind is None:
            yield Impossible(
                what=f"{name!r} is no attribute of {_SPOKEN.get(item.tag, item.tag)}",
                remedy=_may_have(item.tag, known),
                words=_written(name, value),
            )
        else:
            yield Impossible(
                what=f"{name}={value!r} is not possible", remedy=kind.remedy, words=_written(name, value)
            )


def _may_have(tag: str, known: Mapping[str, _Kind]) -> str:
    names = ("role", "resource-discovery") if tag == "rsc_location" else tuple(known)
    return f"it may have {' '.join(names)}" if names else ""


def _presence(item: Element) -> Iterator[Impossible]:
    spoken = _SPOKEN.get(item.tag, item.tag)
    for name in _MISSING.get(item.tag, ()):
        if name not in item.attributes:
            yield Impossible(what=f"{spoken} has no {name}", remedy=f"add {name}=…")
    either = _ONE.get(item.tag, ())
    given = [name for name in either if name in item.attributes]
    if either and not given:
        yield Impossible(what=f"{spoken} has no {either[0]}", remedy=f"add {' or '.join(either)}")
    either = either or _ONE_AT_MOST.get(item.tag, ())
    given = [name for name in either if name in item.attributes]
    if len(given) > 1:
        yield Impossible(
            what=f"{spoken} cannot have both {given[0]} and {given[1]}",
            remedy="leave one out",
            words=_written(given[1], item.get(given[1])),
        )
    if item.tag == "port-mapping" and "internal-port" in item.attributes and "port" not in item.attributes:
        yield Impossible(
            what=f"{spoken} has an internal-port without a port",
            remedy="add port=…",
            words=_written("internal-port", item.get("internal-port")),
        )
    kinds = item.all("docker", "podman", "rkt") if item.tag == "bundle" else ()
    if len(kinds) > 1:
        yield Impossible(
            what=f"{spoken} has {kinds[0].tag} and {kinds[1].tag}",
            remedy="it is made by one of them",
            words=(kinds[1].tag,),
        )
    for tag in _ONCE.get(item.tag, ()):
        if len(item.all(tag)) > 1:
            yield Impossible(
                what=f"{spoken} has {_SPOKEN.get(tag, tag)} more than once",
                remedy="one set for each rule" if tag == "rule" else "put all of it into one",
                words=() if tag == "rule" else (tag.removeprefix("select_"),),
            )
    is_range = item.get("operation") == "in_range"
    if is_range and "start" not in item.attributes and "end" not in item.attributes:
        yield Impossible(what="`date in` has neither start nor end", remedy="add start=DATE")


def _written(name: str, value: str) -> tuple[str, ...]:
    """How a pair may stand in the text."""
    return (f"{name}={value}", f"${name}={value}", f"{value}:", value)


_SPOKEN: Final = {
    "instance_attributes": "a set of parameters",
    "meta_attributes": "a set of meta attributes",
    "utilization": "a set of utilization",
    "cluster_property_set": "a set of properties",
    "op": "an operation",
    "rsc_location": "a location",
    "network": "network",
    "bundle": "a bundle",
    "rule": "a rule",
    "fencing-level": "a level of fencing",
}
