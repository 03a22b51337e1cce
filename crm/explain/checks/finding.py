"""Findings, and the parts of a CIB that the checks look at."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from crm.cib.model import Element, element
from crm.cib.schema import Problem, Severity
from crm.scheduler.values import integer_or_none, is_true

RESOURCE_TAGS = ("primitive", "group", "clone", "master", "bundle")


def error(where: str, what: str, remedy: str) -> Problem:
    """What cannot work."""
    return Problem(severity=Severity.ERROR, where=where, what=what, remedy=remedy)


def warning(where: str, what: str, remedy: str) -> Problem:
    """What hardly does what was meant."""
    return Problem(severity=Severity.WARNING, where=where, what=what, remedy=remedy)


def section(cib: Element, name: str) -> Element:
    """A section of the configuration; empty when missing."""
    return cib.path("configuration", name) or element(name)


def resources(cib: Element) -> Iterator[Element]:
    """All resources, those inside others too, in document order."""
    return (one for one in section(cib, "resources").walk() if one.tag in RESOURCE_TAGS)


def own_parts(holder: Element) -> Iterator[Element]:
    """The element and all below it, without resources that are inside."""
    yield holder
    for child in holder.children:
        if child.tag not in RESOURCE_TAGS:
            yield from own_parts(child)


def parents(cib: Element) -> dict[str, Element]:
    """What each resource is inside of, by its id; no circles, which ids that stand twice would make."""
    found = {child.id: one for one in resources(cib) for child in one.children if child.tag in RESOURCE_TAGS}
    settled: set[str] = set()
    for name in tuple(found):
        path: set[str] = set()
        here = name
        while here in found and here not in settled:
            path.add(here)
            above = found[here].id
            if above in path:
                del found[here]
            here = above
        settled |= path
    return found


def agent_class(cib: Element, primitive: Element) -> str:
    """The class of its agent, which may be its template's."""
    name = primitive.get("template")
    if name:
        templates = section(cib, "resources").all("template")
        return next((one.get("class") for one in templates if one.id == name), "")
    return primitive.get("class")


def is_promotable(holder: Element) -> bool:
    """Whether it is a clone or bundle whose instances have roles."""
    if holder.tag == "bundle":
        engines = (one for one in holder.children if "image" in one.attributes)
        counts = (one.get("promoted-max") or one.get("masters") for one in engines)
        return any((integer_or_none(text) or 0) > 0 for text in counts)
    return holder.tag == "master" or is_true(value(holder, "promotable") or None)


def pairs(holder: Element, *tags: str) -> Iterator[Element]:
    """The nvpairs of a resource's own sets of these tags."""
    return (
        pair for one in holder.all(*tags) for pair in one.walk() if pair.tag == "nvpair" and pair.get("name")
    )


def value(holder: Element, name: str, tag: str = "meta_attributes") -> str:
    """A name's first value in a resource's own sets; empty when not set."""
    return next((pair.get("value") for pair in pairs(holder, tag) if pair.get("name") == name), "")


def closest(name: str, names: Iterable[str]) -> str:
    """The name that was probably meant; empty when none is near."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.8)
    return found[0] if found else ""
