"""Values of nvpairs: of a node's or resource's sets, and of transient attributes. Pure."""

from __future__ import annotations

from typing import Final

from crm.cib.model import Element

TRUE: Final = ("true", "yes", "on", "1", "y")


def value(item: Element, tag: str, name: str) -> str:
    """The value of a pair in the first set of that kind that has it, "" without."""
    for one in item.all(tag):
        for pair in one.all("nvpair"):
            if pair.get("name") == name:
                return pair.get("value")
    return ""


def transient(cib: Element, node: str, name: str) -> str:
    """A transient attribute of a node, "" when it has none."""
    for state in (cib.child("status") or Element("status")).all("node_state"):
        if state.get("uname") == node:
            for one in state.all("transient_attributes"):
                found = value(one, "instance_attributes", name)
                if found:
                    return found
    return ""


def without_transient(cib: Element, node: str, name: str) -> Element:
    """Without that transient attribute of a node."""

    def clear(item: Element) -> Element | None:
        return None if item.tag == "nvpair" and item.get("name") == name else item.mapped(clear)

    def of_state(item: Element) -> Element:
        if item.tag != "node_state" or item.get("uname") != node:
            return item
        return item.mapped(lambda part: part.mapped(clear) if part.tag == "transient_attributes" else part)

    status = cib.child("status")
    return cib if status is None else cib.with_child(status.mapped(of_state))


def is_promotable(resource: Element) -> bool:
    """A clone with promotable=true, or the old `master`."""
    if resource.tag == "master":
        return True
    return resource.tag == "clone" and value(resource, "meta_attributes", "promotable").lower() in TRUE
