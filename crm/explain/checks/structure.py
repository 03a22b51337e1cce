"""Structure beyond the table of crm.cib.schema: what may stand only once, containers that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crm.cib.model import Element, element
from crm.cib.schema import Problem
from crm.explain.checks.finding import error, resources, value, warning

_ONCE: Final = {
    "primitive": ("operations",),
    "template": ("operations",),
    "bundle": ("docker", "podman", "rkt", "network", "storage", "primitive"),
    "configuration": (
        "crm_config", "rsc_defaults", "op_defaults", "nodes", "resources", "constraints", "fencing-topology",
        "tags", "acls", "alerts",
    ),
}  # fmt: skip


def check(cib: Element) -> Iterator[Problem]:
    """All findings."""
    if cib.get("validate-with") == "none":
        what = "validate-with is none: Pacemaker's tools do not check the structure of this CIB"
        yield warning("validate-with", what, "name the schema, as pacemaker-3.0")
    configuration = cib.child("configuration") or element("configuration")
    for item in configuration.walk():
        for tag in _ONCE.get(item.tag, ()):
            if len(item.all(tag)) > 1:
                where = f'<{item.tag} id="{item.id}">' if item.id else f"<{item.tag}>"
                yield error(where, f"<{tag}> stands in it more than once", "put their contents into one")
    known = {one.id for one in resources(cib)}
    for one in resources(cib):
        container = value(one, "container")
        if container and container not in known:
            yield warning(
                one.id, f"its container {container!r} does not exist", "correct meta attribute container"
            )
