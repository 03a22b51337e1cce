"""Fence devices and the fencing topology, read from the configuration. Pure.

Pacemaker's names: pcmk_host_list, pcmk_host_map, pcmk_host_check, pcmk_host_argument, pcmk_delay_base,
pcmk_delay_max, pcmk_action_limit, pcmk_ACTION_action, pcmk_ACTION_timeout, pcmk_ACTION_retries, provides,
fencing-level. What a device has to be asked (which nodes it knows) is in `Known`, asked by the shell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, assert_never

from crm import patterns
from crm.cib.model import Element
from crm.fencing.configured import NOTHING, Transient, configured
from hacluster.digits import is_count
from hacluster.durations import parse_ms
from hacluster.vocabulary.agent import AgentName

TIMEOUT_MS: Final = 60_000
TRIES: Final = 2
ACTION_LIMIT: Final = 1
OWN: Final = "pcmk_"
BOOT: Final = "hacluster_boot"
"""A parameter that agents of ours have: which boot of the node is to end."""

_BETWEEN: Final = re.compile(r"(?:\\.|[^\\\s;])++", re.DOTALL)  # in two steps: one would take quadratic time
_MAPPED: Final = re.compile(r"[:=]*+((?:\\.|[^\\:=])++)[:=](.+)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


class HostCheck(StrEnum):
    """How it is found out which nodes a device knows."""

    STATIC = "static-list"
    DYNAMIC = "dynamic-list"
    STATUS = "status"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """What a fence agent's meta-data says: its actions, its parameters, and how it unfences.

    `automatic`: its "on" is to be done before a node runs anything (unfencing); `on_target`: by that node.
    """

    actions: frozenset[str]
    parameters: frozenset[str] = frozenset()
    automatic: bool = False
    on_target: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What a device has answered: nodes that it knows, and those it does not."""

    hosts: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One fence device; `parameters` are all of its instance attributes.

    `banned`: nodes on which its agent must not be executed, by location constraints. `facts` is None until
    its agent's meta-data is known; `answer` until the device was asked.
    """

    id: str
    agent: AgentName
    parameters: Mapping[str, str]
    provides: str = ""
    banned: frozenset[str] = frozenset()
    facts: AgentFacts | None = None
    answer: Known | None = field(default=None, compare=False)

    @property
    def host_check(self) -> HostCheck:
        """As configured; else a static list where there is one, else what the agent can be asked."""
        try:
            return HostCheck(self.parameters.get("pcmk_host_check", "").strip())
        except ValueError:
            pass  # not set, or nothing that Pacemaker knows: it takes the default then, too
        if self.parameters.get("pcmk_host_list", "").strip() or self._map():
            return HostCheck.STATIC
        actions = self.facts.actions if self.facts is not None else frozenset()
        if actions & {"list", "list-status"}:
            return HostCheck.DYNAMIC
        return HostCheck.STATUS if "status" in actions else HostCheck.NONE

    @property
    def action_limit(self) -> int:
        """How much it may do at once; -1: any number."""
        text = self.parameters.get("pcmk_action_limit", "")
        try:
            limit = int(text)
        except ValueError:
            return ACTION_LIMIT
        return limit if limit != 0 else ACTION_LIMIT

    @property
    def unfences(self) -> bool:
        """Whether nodes need its "on" before they may run anything."""
        automatic = self.facts is not None and self.facts.automatic
        return self.provides == "unfencing" or automatic

    @property
    def has_delay(self) -> bool:
        """Whether anything was configured to let one node shoot before the other."""
        return any(self.parameters.get(name, "") for name in ("pcmk_delay_base", "pcmk_delay_max"))

    def knows(self, target: str) -> bool:
        """Whether it can fence this node, in any case of letters. What was not answered is taken as no.

        A list that it was asked for has its own names: of a node to which the map gives one, that one counts.
        """
        match self.host_check:
            case HostCheck.NONE:
                return True
            case HostCheck.STATIC:
                listed = re.split(r"[\s,;]+", self.parameters.get("pcmk_host_list", "").strip())
                return _is_in(target, listed) or target.lower() in self._map()
            case HostCheck.DYNAMIC:
                known = self.answer.hosts if self.answer is not None else frozenset()
                return _is_in(self._alias(target), known)
            case HostCheck.STATUS:
                return self.answer is not None and target in self.answer.hosts
            case unknown:
                assert_never(unknown)

    def can(self, action: str) -> bool:
        """Whether its agent has this action; what is not known of it is taken as yes."""
        if self.facts is None or f"pcmk_{action}_action" in self.parameters:
            return True
        return action in self.facts.actions

    def tries(self, action: str) -> int:
        """How often an executor tries this action in all."""
        text = self.parameters.get(f"pcmk_{action}_retries", "")
        return max(int(text), 1) if is_count(text) else TRIES

    def delay_ms(self, target: str) -> tuple[int, int]:
        """The fixed delay before fencing this node, and how much may be added by chance."""
        base = self.parameters.get("pcmk_delay_base", "0")
        if ":" in base:  # "node1:0;node2:10s"
            each = (item.split(":", 1) for item in re.split(r"[\s;]+", base) if ":" in item)
            base = {name.lower(): delay for name, delay in each}.get(target.lower(), "0")
        most, fixed = _ms(self.parameters.get("pcmk_delay_max", "0"), 0), _ms(base, 0)
        return (min(fixed, most), max(most - fixed, 0)) if most else (fixed, 0)

    def call(self, action: str, target: str, boot: str = "") -> tuple[str, dict[str, str]]:
        """The agent's action and its parameters for doing `action` to `target` in its boot `boot`."""
        given = {name: value for name, value in self.parameters.items() if not name.startswith(OWN)}
        given.pop("action", None)
        if target:
            argument = self.parameters.get("pcmk_host_argument") or self._host_argument()
            if not self.agent.type.startswith(
                "fence_"
            ):  # cluster-glue's: told the name, or what the map says
                return self.parameters.get(f"pcmk_{action}_action", action), {
                    **given,
                    "nodename": self._alias(target),
                }
            if argument != "none" and given.get(argument, "dynamic") == "dynamic":
                given[argument] = self._alias(target)
            given["nodename"] = target
            if boot and self.facts is not None and BOOT in self.facts.parameters:
                given[BOOT] = boot
        return self.parameters.get(f"pcmk_{action}_action", action), given

    def timeout_ms(self, action: str, default_ms: int) -> int:
        """How long the agent may take."""
        return _ms(self.parameters.get(f"pcmk_{action}_timeout", ""), default_ms)

    def _host_argument(self) -> str:
        """Agents of fence-agents 4.5 and newer call it plug, older ones port."""
        parameters = self.facts.parameters if self.facts is not None else frozenset()
        return "plug" if "plug" in parameters and "port" not in parameters else "port"

    def _alias(self, target: str) -> str:
        """What the device calls this node."""
        return self._map().get(target.lower(), target)

    def _map(self) -> dict[str, str]:
        """Plugs by the lower-case name of their node."""
        return host_map(self.parameters.get("pcmk_host_map", ""))


def devices(configuration: Element, *, now_s: int = 0, transient: Transient = NOTHING) -> tuple[Device, ...]:
    """All devices that are not switched off by target-role=Stopped, by falling priority, then in order.

    For rules: `now_s` (since 1970) is the time, `transient` has the transient attributes of nodes by name.
    """
    found = [
        Device(
            id=one.id,
            agent=AgentName("stonith", "", one.type),
            parameters=one.parameters,
            provides=one.meta.get("provides", "") or one.parameters.get("provides", ""),
            banned=one.banned,
        )
        for one in configured(configuration, now_s, transient)
    ]
    return tuple(sorted(found, key=lambda device: -_priority(device)))


def levels(
    configuration: Element,
    target: str,
    attributes: Mapping[str, str],
    of: Sequence[Device] | None = None,
) -> tuple[tuple[Device, ...], ...]:
    """What to try, one after the other: of each level every device must succeed.

    Without a topology for this node each device that knows it is a level of its own. Levels for the node's
    name hide those that fit it otherwise, and of these the first pattern or attribute hides the rest. A level
    that names a device which is not there is none: the others alone do not make certain that the node is off.
    `attributes`: the target's permanent ones, for levels that name an attribute. `of`: the devices with what
    was found out about them.
    """
    known = {device.id: device for device in (of if of is not None else devices(configuration))}
    topology = configuration.child("fencing-topology")
    found: dict[int, list[str]] = {}
    for level in _levels_for(
        topology.all("fencing-level") if topology is not None else (), target, attributes
    ):
        names = re.split(r"[\s,]+", level.get("devices").strip())
        index = int(level.get("index")) if is_count(level.get("index")) else 9
        found.setdefault(index, []).extend(names)
    if found:
        whole = (found[index] for index in sorted(found) if all(name in known for name in found[index]))
        return tuple(tuple(known[name] for name in names) for names in whole)
    return tuple((device,) for device in known.values() if device.knows(target))


def unfencing_level(of: Sequence[Device], target: str) -> tuple[tuple[Device, ...], ...]:
    """All devices whose "on" this node needs; every one of them must succeed."""
    group = tuple(device for device in of if device.unfences and device.knows(target))
    return (group,) if group else ()


def described(device: Device, facts: AgentFacts | None, answer: Known | None) -> Device:
    """The device with what was found out about it."""
    return replace(device, facts=facts, answer=answer)


def host_map(text: str) -> dict[str, str]:
    """The plugs that a pcmk_host_map gives, by the node's name in lower case.

    "node1:1;node2=2,3" has several plugs for node2; a backslash takes the meaning from what follows it.
    """
    found = {}
    for word in _BETWEEN.findall(text):
        if mapped := _MAPPED.match(word):
            found[_ESCAPED.sub(r"\1", mapped[1]).lower()] = _ESCAPED.sub(r"\1", mapped[2])
    return found


def listed(output: str) -> frozenset[str]:
    """Nodes in the answer to `list`: "port,alias" lines, or names between blanks and commas.

    Both names of a line count (Pacemaker's parse_host_list does not tell them apart either).
    """
    words = re.split(r"[\s,;]+", output)
    return frozenset(word for word in words if re.fullmatch(r"[\w.:-]+", word))


def node_attributes(configuration: Element, node: str) -> dict[str, str]:
    """The permanent attributes of a node."""
    nodes = configuration.child("nodes")
    for item in nodes.all("node") if nodes is not None else ():
        if item.get("uname") == node:
            return _values(item, "instance_attributes")
    return {}


def _levels_for(every: Sequence[Element], target: str, attributes: Mapping[str, str]) -> tuple[Element, ...]:
    """The levels of the one topology that counts for a node (Pacemaker's find_topology_for_host)."""
    fitting = [level for level in every if _is_for(level, target, attributes)]
    named = tuple(level for level in fitting if level.get("target"))
    if named or not fitting:
        return named
    first = _topology(fitting[0])
    return tuple(level for level in fitting if _topology(level) == first)


def _topology(level: Element) -> tuple[str, ...]:
    return tuple(level.get(name) for name in ("target-pattern", "target-attribute", "target-value"))


def _is_for(level: Element, target: str, attributes: Mapping[str, str]) -> bool:
    if level.get("target"):
        return level.get("target").lower() == target.lower()
    if level.get("target-pattern"):
        pattern = patterns.compiled(level.get("target-pattern"))
        return pattern is not None and pattern.search(target) is not None
    name = level.get("target-attribute")
    return bool(name) and attributes.get(name) == level.get("target-value")


def _values(item: Element, tag: str) -> dict[str, str]:
    """The first set that names a value counts."""
    values: dict[str, str] = {}
    for group in item.all(tag):
        for pair in group.all("nvpair"):
            values.setdefault(pair.get("name"), pair.get("value"))
    return values


def _is_in(name: str, names: Iterable[str]) -> bool:
    return name.lower() in {one.lower() for one in names}


def _priority(device: Device) -> int:
    text = device.parameters.get("priority", "0")
    return int(text) if is_count(text.removeprefix("-")) else 0


def _ms(text: str, default: int) -> int:
    try:
        return parse_ms(text)
    except ValueError:
        return default
