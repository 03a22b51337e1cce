"""Resources: roles, numbers of clones, values of meta attributes, tickets, capacity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from crm.cib.model import Element, element
from crm.cib.schema import Problem
from crm.explain.checks.finding import (
    agent_class,
    error,
    is_promotable,
    pairs,
    parents,
    resources,
    section,
    value,
    warning,
)
from crm.scheduler.scores import parse_or_none
from crm.scheduler.values import duration_ms, integer_or_none, is_true

_BOOLEANS: Final = (
    "is-managed", "maintenance", "allow-migrate", "promotable", "globally-unique", "interleave", "notify",
    "ordered", "critical", "allow-unhealthy-nodes",
)  # fmt: skip
_TRUTHS: Final = ("true", "yes", "on", "1", "y", "false", "no", "off", "0", "n")
_NUMBERS: Final = (
    "clone-max",
    "clone-node-max",
    "clone-min",
    "promoted-max",
    "promoted-node-max",
    "priority",
)
_SCORES: Final = ("resource-stickiness", "migration-threshold")
_ENUMS: Final = {
    "multiple-active": ("stop_start", "stop_only", "block", "stop_unexpected"),
    "requires": ("nothing", "quorum", "fencing", "unfencing"),
}
_ROLES: Final = ("#default", "started", "stopped", "promoted", "unpromoted", "master", "slave")
_ANONYMOUS: Final = ("lsb", "systemd", "service", "stonith", "heartbeat", "upstart")


def check(cib: Element) -> Iterator[Problem]:
    """All findings about resources."""
    inside = parents(cib)
    for one in resources(cib):
        yield from _values(one)
        yield from _target_role(one, inside)
        yield from _remote(one)
        if one.tag in ("clone", "master"):
            yield from _clone(one)
        if one.tag in ("clone", "master", "bundle") and is_promotable(one):
            yield from _left_out(cib, one)
    yield from _tickets(cib)
    yield from _capacity(cib)


def _remote(one: Element) -> Iterator[Problem]:
    """Remote nodes, guests and what runs in a bundle's containers are planned, and never reached."""
    agent = (one.get("class"), one.get("provider"), one.get("type"))
    what = ""
    if agent == ("ocf", "pacemaker", "remote"):
        what = "remote nodes are not supported: the connection is not made, and nothing runs there"
    elif guest := value(one, "remote-node"):
        what = f"guests are not supported: no connection to {guest} is made, and nothing runs there"
    elif one.tag == "bundle" and any(child.tag == "primitive" for child in one.children):
        what = (
            "resources in containers are not supported: no connection is made, and nothing is managed in them"
        )
    if what:
        yield warning(one.id, what, "run the services on full nodes, or have the container start them")


def _values(one: Element) -> Iterator[Problem]:
    for pair in pairs(one, "meta_attributes"):
        name, text = pair.get("name"), pair.get("value")
        what = ""
        if name in _BOOLEANS and text.lower() not in _TRUTHS:
            what = "neither true nor false"
        elif name in _NUMBERS and (
            integer_or_none(text) is None or not text.strip().lstrip("+-").isdecimal()
        ):
            what = "no whole number"
        elif name in _SCORES and parse_or_none(text) is None:
            what = "no score"
        elif name == "failure-timeout" and duration_ms(text) is None:
            what = "no duration"
        elif name in _ENUMS and text not in _ENUMS[name]:
            what = f"none of {', '.join(_ENUMS[name])}"
        elif name == "target-role" and text.lower() not in _ROLES:
            what = "no role: Started, Stopped, Promoted or Unpromoted"
        if what:
            yield warning(
                one.id, f"{name}={text!r} is {what}", f"`hacli resource meta {one.id} set {name} …`"
            )


def _target_role(one: Element, inside: Mapping[str, Element]) -> Iterator[Problem]:
    role = value(one, "target-role")
    if role.lower() not in ("promoted", "unpromoted", "master", "slave"):
        return
    here: Element | None = one
    while here is not None:
        if is_promotable(here):
            return
        here = inside.get(here.id)
    what = f"target-role={role} is ignored: only promotable clones know it"
    yield warning(one.id, what, f"`hacli resource start {one.id}`, or make its clone promotable")


def _clone(one: Element) -> Iterator[Problem]:
    numbers = {name: integer_or_none(value(one, name)) for name in _NUMBERS}
    unique = is_true(value(one, "globally-unique") or None)
    for name in ("clone-node-max", "promoted-node-max"):
        if (numbers[name] or 1) > 1 and not unique:
            what = f"{name}={numbers[name]} is ignored: an anonymous clone has one instance a node"
            yield warning(one.id, what, "set globally-unique=true, or leave it out")
    top = numbers["clone-max"]
    if top is not None:
        top = max(0, top)  # as the scheduler takes it
    for name in ("clone-min", "promoted-max"):
        if top is not None and (numbers[name] or 0) > top:
            yield warning(one.id, f"{name}={numbers[name]} is more than clone-max={top}", "raise clone-max")
    if top == 0:
        yield warning(one.id, "clone-max=0: there will be no instance", "raise it, or remove the clone")
    plain = next(
        (part for part in one.walk() if part.tag == "primitive" and part.get("class") in _ANONYMOUS), None
    )
    if unique and plain is not None:
        what = f"globally-unique=true is ignored: {plain.id} is of class {plain.get('class')}"
        yield warning(one.id, what, "leave it out")


def _left_out(cib: Element, one: Element) -> Iterator[Problem]:
    """Only OCF agents know roles: a promotable group does without others, a promotable clone is ignored."""
    for part in one.walk():
        kind = agent_class(cib, part) if part.tag == "primitive" else "ocf"
        if kind not in ("", "ocf"):
            what = f"it does not run: {one.id} is promotable, and agents of class {kind} know no roles"
            remedy = "use an OCF agent, take it out, or set promotable=false"
            yield error(part.id, what, remedy)


# --- tickets


def _tickets(cib: Element) -> Iterator[Problem]:
    known = {one.id for part in _status(cib).all("tickets") for one in part.all("ticket_state")}
    seen: set[str] = set()
    for one in section(cib, "constraints").all("rsc_ticket"):
        name = one.get("ticket")
        if name and name not in known and name not in seen:
            seen.add(name)
            yield warning(
                one.id,
                f"ticket {name} was never granted here or revoked: what depends on it does not run",
                f"grant it, or `hacli configure delete {one.id}`",
            )


def _status(cib: Element) -> Element:
    return cib.child("status") or element("status")


# --- capacity


def _capacity(cib: Element) -> Iterator[Problem]:
    option = next(
        (
            pair.get("value")
            for one in section(cib, "crm_config").children
            for pair in one.walk()
            if pair.get("name") == "placement-strategy"
        ),
        "default",
    )
    needs = {one.id: _needs(one) for one in resources(cib) if one.tag in ("primitive", "group")}
    needs = {name: need for name, need in needs.items() if need}
    nodes = {one.get("uname"): _amounts(one) for one in section(cib, "nodes").all("node")}
    if not needs:
        return
    first = next(iter(needs))
    if option == "default":
        what = "it has utilization, but placement-strategy=default looks at none"
        yield warning(first, what, "`hacli configure property placement-strategy=balanced`")
        return
    if not any(nodes.values()):
        yield warning(first, "it has utilization, but no node has capacity: it fits nowhere", _GIVE)
        return
    for name, need in needs.items():
        if any(all(have.get(key, 0) >= amount for key, amount in need.items()) for have in nodes.values()):
            continue
        lacking = {
            key: (amount, max(have.get(key, 0) for have in nodes.values())) for key, amount in need.items()
        }
        words = [
            f"{key}={amount}, the most that a node has is {most}" for key, (amount, most) in lacking.items()
        ]
        yield warning(name, f"it fits on no node: it needs {'; '.join(words)}", _GIVE)


_GIVE: Final = "`hacli node utilization NODE set NAME VALUE`"


def _amounts(holder: Element) -> dict[str, int]:
    return {
        pair.get("name"): integer_or_none(pair.get("value")) or 0 for pair in pairs(holder, "utilization")
    }


def _needs(one: Element) -> dict[str, int]:
    """Of a primitive, or of all the members of a group, which have to be on one node."""
    if one.tag == "primitive":
        return _amounts(one)
    total: dict[str, int] = {}
    for member in one.all("primitive"):
        for name, amount in _amounts(member).items():
            total[name] = total.get(name, 0) + amount
    return total
