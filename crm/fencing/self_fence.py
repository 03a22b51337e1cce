"""When a node must end itself: a stop failed and nobody may fence it (cluster-protocol.md, 11.7). Pure.

With quorum the DC fences such a node by its devices. A partition without quorum fences nobody, and its own
node is what others are about to take over from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from crm.cib.document import cluster_options
from crm.cib.model import Element
from crm.replica.settings_in_cib import fencing_enabled, ignores_quorum

_TRUE: Final = frozenset({"true", "yes", "on", "1", "y"})
_FALSE: Final = frozenset({"false", "no", "off", "0", "n"})
FENCE: Final = "fence"


def because(configuration: Element, failed_stops: Iterable[str]) -> str:
    """Why this node must not live on without quorum; empty: it may. `failed_stops`: ids of resources."""
    options = cluster_options(configuration)
    if not fencing_enabled(configuration) or ignores_quorum(configuration):
        return ""
    if options.get("maintenance-mode", "").lower() in _TRUE:
        return ""
    names = [name for name in failed_stops if _must_be_fenced(configuration, name.partition(":")[0])]
    return f"no quorum, and the stop of {', '.join(names)} has failed" if names else ""


def _must_be_fenced(configuration: Element, name: str) -> bool:
    resources = configuration.child("resources")
    path = _path(resources, name) if resources is not None else ()
    defaults = (configuration.child("rsc_defaults"), configuration.child("op_defaults"))
    for item in (*reversed(path), *(one for one in defaults[:1] if one is not None)):
        meta = _meta(item)
        if meta.get("maintenance", "").lower() in _TRUE or meta.get("is-managed", "").lower() in _FALSE:
            return False
        if "is-managed" in meta or "maintenance" in meta:
            break  # the innermost word counts
    stop = _stop_of(configuration, path[-1]) if path else None
    on_fail = _meta(defaults[1]).get("on-fail", "") if defaults[1] is not None else ""
    if stop is not None:
        on_fail = stop.get("on-fail") or _meta(stop).get("on-fail", "") or on_fail
    return on_fail in ("", FENCE)


def _path(item: Element, name: str) -> tuple[Element, ...]:
    """The resource of this id with all that it lies in, the outermost first."""
    for child in item.children:
        if child.id == name:
            return (child,)
        if found := _path(child, name):
            return (child, *found)
    return ()


def _stop_of(configuration: Element, primitive: Element) -> Element | None:
    """Its operation `stop`, or its template's."""
    template = (
        configuration.by_id(primitive.get("template"), "template") if primitive.get("template") else None
    )
    for item in (primitive, template):
        for group in item.all("operations") if item is not None else ():
            for operation in group.all("op"):
                if operation.get("name") == "stop":
                    return operation
    return None


def _meta(item: Element) -> dict[str, str]:
    values: dict[str, str] = {}
    for group in item.all("meta_attributes"):
        for pair in group.all("nvpair"):
            values.setdefault(pair.get("name"), pair.get("value"))
    return values
