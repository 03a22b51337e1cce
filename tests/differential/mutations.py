"""Meaningful changes to a CIB, each drawn at random among its possible targets. Pure but for the generator.

A mutation returns what it did and the changed CIB, or None where it finds nothing to change.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from crm.cib.model import Element, element
from tests.differential.tree import Place, at, below, chosen, put, tagged, with_pair

Changed = tuple[str, Element] | None
Mutation = Callable[[Element, random.Random], Changed]

MEMBER = {"in_ccm": "true", "crmd": "online", "join": "member", "expected": "member"}
NODE_STATES: dict[str, dict[str, str]] = {
    "clean-off": {"in_ccm": "false", "crmd": "offline", "join": "down", "expected": "down"},
    "lost": {"in_ccm": "false", "crmd": "offline", "join": "member", "expected": "member"},
    "no-controller": {"in_ccm": "true", "crmd": "offline", "join": "member", "expected": "member"},
    "pending": {"in_ccm": "true", "crmd": "online", "join": "pending", "expected": "member"},
    "joining": {"in_ccm": "true", "crmd": "online", "join": "down", "expected": "down"},
    "not-in-cpg": {"in_ccm": "true", "crmd": "offline", "join": "down", "expected": "down"},
    "nack": {"in_ccm": "true", "crmd": "online", "join": "nack", "expected": "member"},
    "up": MEMBER,
}
OPTIONS: dict[str, tuple[str, ...]] = {
    "no-quorum-policy": ("stop", "ignore", "freeze", "demote", "suicide"),
    "stonith-enabled": ("true", "false"),
    "stonith-action": ("off", "reboot"),
    "concurrent-fencing": ("true", "false"),
    "startup-fencing": ("true", "false"),
    "symmetric-cluster": ("true", "false"),
    "stop-all-resources": ("true", "false"),
    "maintenance-mode": ("true", "false"),
    "start-failure-is-fatal": ("true", "false"),
    "enable-startup-probes": ("true", "false"),
    "stop-orphan-resources": ("true", "false"),
    "stop-orphan-actions": ("true", "false"),
    "placement-strategy": ("default", "utilization", "minimal", "balanced"),
    "node-health-strategy": ("none", "migrate-on-red", "only-green", "progressive", "custom"),
    "shutdown-lock": ("true", "false"),
    "priority-fencing-delay": ("0", "15s"),
    "have-watchdog": ("true", "false"),
    "node-health-base": ("0", "10"),
}
NODE_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "standby": ("on", "off"),
    "maintenance": ("true", "false"),
    "#health-disk": ("red", "yellow", "green", "-5"),
}
TRANSIENT_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shutdown": ("1400000000", "0"),
    "terminate": ("true",),
    "standby": ("on", "off"),
    "maintenance": ("true", "false"),
    "#health-cpu": ("red", "yellow", "green"),
}


def _state(cib: Element, rng: random.Random) -> Place | None:
    return chosen(rng, below(cib, "status", "node_state"))


def node_state(cib: Element, rng: random.Random) -> Changed:
    """A node in another state; its history stays."""
    place = _state(cib, rng)
    if place is None:
        return None
    state = at(cib, place)
    name, values = rng.choice(list(NODE_STATES.items()))
    return f"{name} {state.get('uname')}", put(cib, place, state.with_attribute_map(values))


def node_off(cib: Element, rng: random.Random) -> Changed:
    """A node that left: history and transient attributes are gone."""
    place = _state(cib, rng)
    if place is None:
        return None
    state = at(cib, place)
    return f"off {state.get('uname')}", put(
        cib, place, state.with_attribute_map(NODE_STATES["clean-off"]).with_children(())
    )


def node_configured(cib: Element, rng: random.Random) -> Changed:
    """A configured attribute of a node."""
    place = chosen(rng, below(cib, "nodes", "node"))
    if place is None:
        return None
    name = rng.choice(list(NODE_ATTRIBUTES))
    value = rng.choice(NODE_ATTRIBUTES[name])
    node = at(cib, place)
    return f"{name}={value} {node.get('uname')}", put(
        cib, place, with_pair(node, "instance_attributes", name, value)
    )


def node_transient(cib: Element, rng: random.Random) -> Changed:
    """A transient attribute of a node."""
    place = _state(cib, rng)
    if place is None:
        return None
    name = rng.choice(list(TRANSIENT_ATTRIBUTES))
    value = rng.choice(TRANSIENT_ATTRIBUTES[name])
    state = at(cib, place)
    return f"{name}={value} {state.get('uname')}", put(cib, place, _with_transient(state, name, value))


def _with_transient(state: Element, name: str, value: str | None) -> Element:
    whole = state.child("transient_attributes") or element("transient_attributes", {"id": state.id})
    changed = with_pair(whole, "instance_attributes", name, value)
    for place in tagged(state, "transient_attributes"):
        return put(state, place, changed)
    return state.with_children((changed, *state.children))


def attribute_value(cib: Element, rng: random.Random) -> Changed:
    """Another value of, or no more, some node attribute that is there."""
    found = [
        place
        for place in (*below(cib, "nodes", "nvpair"), *below(cib, "status", "nvpair"))
        if at(cib, place).get("name") != "probe_complete"  # it asks older releases to probe again
    ]
    place = chosen(rng, found)
    if place is None:
        return None
    pair = at(cib, place)
    value = rng.choice((None, "0", "1", "100", "-INFINITY", "INFINITY", "true", "false", "x"))
    changed = put(cib, place, *(() if value is None else (pair.with_attributes(value=value),)))
    return f"{pair.get('name')}={value}", changed


def node_forgotten(cib: Element, rng: random.Random) -> Changed:
    """A node without state, without history, or without configuration."""
    kind = rng.choice(("node_state", "lrm", "transient_attributes", "node"))
    place = chosen(rng, below(cib, "nodes" if kind == "node" else "status", kind))
    if place is None or (kind == "node" and len(below(cib, "nodes", "node")) < 2):
        return None
    gone = at(cib, place)
    return f"no {kind} {gone.get('uname') or gone.id}", put(cib, place)


def root_attribute(cib: Element, rng: random.Random) -> Changed:
    """Quorum lost or had, another DC or none."""
    if rng.random() < 0.6:
        value = "0" if cib.get("have-quorum") in {"1", "true"} else "1"
        return f"have-quorum={value}", cib.with_attribute_map({"have-quorum": value})
    ids = [at(cib, place).id for place in below(cib, "nodes", "node")]
    if not ids:
        return None
    value = rng.choice([*ids, ""])
    return f"dc-uuid={value}", cib.with_attribute_map({"dc-uuid": value or None})


def option(cib: Element, rng: random.Random) -> Changed:
    """A cluster option with another legal value."""
    configs = tagged(cib, "crm_config")
    if not configs:
        return None
    config = at(cib, configs[0])
    name = rng.choice(list(OPTIONS))
    known = _NEW_NAMES.get(name, name)
    if any(item.get("name") == known for item in config.walk() if item.tag == "nvpair"):
        name = known
    value = rng.choice(OPTIONS[_OLD_NAMES.get(name, name)])
    changed = put(cib, configs[0], with_pair(config, "cluster_property_set", name, value))
    return (f"{name}={value}", changed) if changed != cib else None


_NEW_NAMES = {
    "stonith-enabled": "fencing-enabled",
    "stonith-action": "fencing-action",
    "stop-orphan-resources": "stop-removed-resources",
    "stop-orphan-actions": "cancel-removed-actions",
}
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()}


def ticket(cib: Element, rng: random.Random) -> Changed:
    """A ticket granted, revoked, in standby, or never heard of."""
    known = sorted({at(cib, place).get("ticket") for place in below(cib, "constraints", "rsc_ticket")})
    statuses = tagged(cib, "status")
    if not known or not statuses:
        return None
    name = rng.choice(known)
    granted, standby = rng.choice((("true", "false"), ("false", "false"), ("true", "true"), ("", "")))
    status = at(cib, statuses[0])
    tickets = status.child("tickets") or element("tickets")
    others = [item for item in tickets.children if item.id != name]
    if granted:
        values = {"id": name, "granted": granted, "standby": standby, "last-granted": "1300000000"}
        others.append(element("ticket_state", values))
    kept = [item for item in status.children if item.tag != "tickets"]
    changed = put(cib, statuses[0], status.with_children((*kept, tickets.with_children(tuple(others)))))
    return f"{name} granted={granted} standby={standby}", changed


def defaults(cib: Element, rng: random.Random) -> Changed:
    """A default of all resources or operations."""
    configurations = tagged(cib, "configuration")
    if not configurations:
        return None
    section, name, values = rng.choice(
        (
            ("rsc_defaults", "resource-stickiness", ("0", "1", "100", "INFINITY", "-1")),
            ("rsc_defaults", "migration-threshold", ("1", "3", "0")),
            ("rsc_defaults", "failure-timeout", ("60s", "0")),
            ("rsc_defaults", "is-managed", ("false",)),
            ("rsc_defaults", "allow-migrate", ("true", "false")),
            ("rsc_defaults", "multiple-active", ("block", "stop_only", "stop_unexpected")),
            ("rsc_defaults", "requires", ("nothing", "quorum", "fencing")),
            ("rsc_defaults", "target-role", ("Stopped", "Started")),
            ("rsc_defaults", "priority", ("5",)),
            ("op_defaults", "timeout", ("33s",)),
            ("op_defaults", "on-fail", ("ignore", "block", "stop", "restart")),
            ("op_defaults", "record-pending", ("true", "false")),
            ("op_defaults", "enabled", ("false",)),
        )
    )
    value = rng.choice(values)
    configuration = at(cib, configurations[0])
    holder = configuration.child(section) or element(section)
    changed = configuration.with_child(with_pair(holder, "meta_attributes", name, value))
    return f"{section} {name}={value}", put(cib, configurations[0], changed)
