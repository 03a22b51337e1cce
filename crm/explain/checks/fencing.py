"""Fence devices: nodes that none of them can fence, names that do not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator

from crm.cib.model import Element, element
from crm.cib.schema import Problem
from crm.explain.checks.finding import section, value, warning
from crm.explain.facts import listed
from crm.fencing.configured import fence_primitives
from crm.fencing.devices import host_map


def check(
    cib: Element, nodes: frozenset[str], members: frozenset[str], *, fencing: bool
) -> Iterator[Problem]:
    """`nodes`: names of all nodes, lower case; `members`: of those that are not reached through others;
    `fencing`: whether it is enabled.
    """
    devices = [
        device for device, _ in fence_primitives(cib.child("configuration") or element("configuration"))
    ]
    covered: set[str] = set()
    every = False
    for one in devices:
        hosts = static_hosts(one)
        every = every or hosts is None
        covered |= hosts or set()
        strange = sorted((hosts or set()) - nodes) if nodes else []
        if strange:
            which = "which is no node" if len(strange) == 1 else "which are no nodes"
            yield warning(
                one.id,
                f"it is to fence {listed(strange)}, {which}",
                "correct pcmk_host_list or pcmk_host_map",
            )
    if fencing and devices and not every:
        for name in sorted(members - covered):
            yield warning(
                name, "no fence device lists this node: it cannot be fenced", "add it to a pcmk_host_list"
            )
    for level in section(cib, "fencing-topology").all("fencing-level"):
        target = level.get("target")
        if target and nodes and target.lower() not in nodes:
            yield warning(level.id, f"there is no node {target!r} to fence", "correct the target")


def static_hosts(device: Element) -> set[str] | None:
    """The nodes a device says that it fences, lower case; None where it is asked, or fences all."""
    check_kind = value(device, "pcmk_host_check", "instance_attributes")
    listed = value(device, "pcmk_host_list", "instance_attributes")
    mapped = value(device, "pcmk_host_map", "instance_attributes")
    if check_kind in ("none", "dynamic-list", "status") or not (listed or mapped):
        return None
    names = [*re.split(r"[,;\s]+", listed), *host_map(mapped)]
    return {name.lower() for name in names if name}
