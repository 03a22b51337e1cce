"""Fence devices and the fencing topology, read from the configuration. Pure.

Pacemaker's names: pcmk_host_list, pcmk_host_map, pcmk_host_check, pcmk_host_argument, pcmk_delay_base,
pcmk_delay_max, pcmk_ACTION_action, pcmk_ACTION_timeout, fencing-level. A device is not asked which nodes it
knows: without a list or map it is taken to be able to fence any node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crm.cib.model import Element
from hacluster.durations import parse_ms
from hacluster.vocabulary.agent import AgentName

TIMEOUT_MS: Final = 60_000
OWN: Final = "pcmk_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One fence device; `parameters` are all of its instance attributes."""

    id: str
    agent: AgentName
    parameters: Mapping[str, str]

    def knows(self, target: str) -> bool:
        """Whether it can fence this node."""
        if self.parameters.get("pcmk_host_check") == "none":
            return True
        hosts, mapped = self.parameters.get("pcmk_host_list", ""), self._map()
        if not hosts.strip() and not mapped:
            return True
        return target in re.split(r"[\s,;]+", hosts.strip()) or target in mapped

    def delay_ms(self, target: str) -> tuple[int, int]:
        """The fixed delay before fencing this node, and how much may be added by chance."""
        base = self.parameters.get("pcmk_delay_base", "0")
        if ":" in base:  # "node1:0;node2:10s"
            each = dict(item.split(":", 1) for item in re.split(r"[\s;]+", base) if ":" in item)
            base = each.get(target, "0")
        most, fixed = _ms(self.parameters.get("pcmk_delay_max", "0"), 0), _ms(base, 0)
        return fixed, max(most - fixed, 0)

    def call(self, action: str, target: str) -> tuple[str, dict[str, str]]:
        """The agent's action and its parameters for doing `action` to `target`."""
        given = {name: value for name, value in self.parameters.items() if not name.startswith(OWN)}
        given.pop("action", None)
        argument = self.parameters.get("pcmk_host_argument", "port")
        if argument != "none":
            given.setdefault(argument, self._map().get(target, target))
        given["nodename"] = target
        return self.parameters.get(f"pcmk_{action}_action", action), given

    def timeout_ms(self, action: str, default_ms: int) -> int:
        """How long the agent may take."""
        return _ms(self.parameters.get(f"pcmk_{action}_timeout", ""), default_ms)

    def _map(self) -> dict[str, str]:
        text = self.parameters.get("pcmk_host_map", "")
        pairs = (item.split(":", 1) for item in re.split(r"[\s;]+", text) if ":" in item)
        return {pair[0]: pair[1] for pair in pairs}


def devices(configuration: Element) -> tuple[Device, ...]:
    """All devices that are not switched off by target-role=Stopped, in document order."""
    resources = configuration.child("resources")
    found = []
    for item in resources.walk() if resources is not None else ():
        if item.tag == "primitive" and item.get("class") == "stonith":
            role = _values(item, "meta_attributes").get("target-role", "Started")
            if role.lower() != "stopped":
                agent = AgentName("stonith", "", item.get("type"))
                found.append(Device(id=item.id, agent=agent, parameters=_values(item, "instance_attributes")))
    return tuple(found)


def levels(
    configuration: Element, target: str, attributes: Mapping[str, str]
) -> tuple[tuple[Device, ...], ...]:
    """What to try, one after the other: of each level every device must succeed.

    Without a topology for this node each device that knows it is a level of its own. A level that names a
    device which is not there is none: the others alone do not make certain that the node is off.
    `attributes`: the target's permanent ones, for levels that name an attribute.
    """
    known = {device.id: device for device in devices(configuration)}
    topology = configuration.child("fencing-topology")
    found: dict[int, list[str]] = {}
    for level in topology.all("fencing-level") if topology is not None else ():
        if _is_for(level, target, attributes):
            names = re.split(r"[\s,]+", level.get("devices").strip())
            index = int(level.get("index")) if level.get("index").isdigit() else 9
            found.setdefault(index, []).extend(names)
    if found:
        whole = (found[index] for index in sorted(found) if all(name in known for name in found[index]))
        return tuple(tuple(known[name] for name in names) for names in whole)
    return tuple((device,) for device in known.values() if device.knows(target))


def node_attributes(configuration: Element, node: str) -> dict[str, str]:
    """The permanent attributes of a node."""
    nodes = configuration.child("nodes")
    for item in nodes.all("node") if nodes is not None else ():
        if item.get("uname") == node:
            return _values(item, "instance_attributes")
    return {}


def _is_for(level: Element, target: str, attributes: Mapping[str, str]) -> bool:
    if level.get("target"):
        return level.get("target") == target
    if level.get("target-pattern"):
        try:
            return re.search(level.get("target-pattern"), target) is not None
        except re.error:
            return False
    name = level.get("target-attribute")
    return bool(name) and attributes.get(name) == level.get("target-value")


def _values(item: Element, tag: str) -> dict[str, str]:
    """The first set that names a value counts."""
    values: dict[str, str] = {}
    for group in item.all(tag):
        for pair in group.all("nvpair"):
            values.setdefault(pair.get("name"), pair.get("value"))
    return values


def _ms(text: str, default: int) -> int:
    try:
        return parse_ms(text)
    except ValueError:
        return default
