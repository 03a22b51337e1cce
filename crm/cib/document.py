"""The whole `<cib>` document: configuration and status under one root with its attributes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crm.cib.history import FEATURE_SET
from crm.cib.model import Element
from crm.cib.versions import CibVersion

SCHEMA: Final = "pacemaker-3.9"
"""validate-with: the newest of Pacemaker's schemas that knows everything we write."""

_BOOLEAN: Final = {"true": True, "on": True, "yes": True, "y": True, "1": True}


def whole(
    configuration: Element,
    status: Element,
    version: CibVersion,
    *,
    quorate: bool,
    dc_uuid: str = "",
    execution_date_s: int = 0,
) -> Element:
    """The document that the scheduler reads and tools are shown."""
    attributes = {
        "crm_feature_set": FEATURE_SET,
        "validate-with": SCHEMA,
        **version.attributes(),
        "have-quorum": "1" if quorate else "0",
    }
    if dc_uuid:
        attributes["dc-uuid"] = dc_uuid
    if execution_date_s:
        attributes["execution-date"] = str(execution_date_s)
    return Element("cib", attributes, (configuration, status))


def cluster_options(configuration: Element) -> Mapping[str, str]:
    """The cluster options as plain names and values; of several sets the first that names one counts.

    Rules are not looked at: the options read here (intervals, limits) are needed without a moment in time.
    """
    options: dict[str, str] = {}
    section = configuration.child("crm_config")
    for properties in section.all("cluster_property_set") if section is not None else ():
        for pair in properties.all("nvpair"):
            options.setdefault(pair.get("name"), pair.get("value"))
    return options


def is_true(text: str) -> bool:
    """Pacemaker's reading of a boolean; anything else is false."""
    return _BOOLEAN.get(text.lower(), False)


def primitives_of(configuration: Element, wanted: str) -> tuple[str, ...]:
    """The ids of the primitives in the resource (group, clone, bundle or primitive) called `wanted`.

    Empty when there is no such resource; templates are none.
    """
    resources = configuration.child("resources")
    found = resources.by_id(wanted) if resources is not None else None
    if found is None:
        return ()
    return tuple(item.id for item in found.walk() if item.tag == "primitive")
