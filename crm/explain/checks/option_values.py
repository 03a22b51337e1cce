"""Values of cluster options that are none: the default is in force then, and nobody else would say so.

Allowed values are those of Pacemaker Explained, "Cluster Options"; the last group of the table is our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from crm.cib.model import Element
from crm.cib.schema import Problem
from crm.explain.checks.finding import section, warning
from crm.scheduler.scores import parse_or_none
from crm.scheduler.values import boolean, duration_ms
from hacluster.digits import is_count
from hacluster.durations import parse_ms

TRUTH: Final = "true or false"
NUMBER: Final = "a whole number"
DURATION: Final = "a duration, as 30s, 5min or PT1H30M"
SCORE: Final = "a score: a whole number, INFINITY or -INFINITY"
PERCENTAGE: Final = "a percentage, as 80%"

_BY_KIND: Final = {
    TRUTH: (
        "cancel-removed-actions", "concurrent-fencing", "enable-acl", "enable-startup-probes",
        "fence-remote-without-quorum", "fence-verify", "fencing-enabled", "have-watchdog",
        "maintenance-mode", "shutdown-lock", "start-failure-is-fatal", "startup-fencing",
        "stonith-enabled", "stop-all-resources", "stop-orphan-actions", "stop-orphan-resources",
        "stop-removed-actions", "stop-removed-resources", "symmetric-cluster", "trust-software-watchdog",
    ),
    NUMBER: (
        "batch-limit", "cluster-ipc-limit", "fencing-max-attempts", "migration-limit", "node-action-limit",
        "pe-error-series-max", "pe-input-series-max", "pe-warn-series-max", "stonith-max-attempts",
    ),
    DURATION: (
        "cluster-delay", "cluster-recheck-interval", "fencing-timeout", "stonith-timeout",
        "dc-deadtime", "election-timeout", "join-finalization-timeout", "join-integration-timeout",
        "isolated-delay",
        "node-pending-timeout", "priority-fencing-delay", "shutdown-escalation", "shutdown-lock-limit",
        "transition-delay",
    ),
    SCORE: ("node-health-base", "node-health-green", "node-health-red", "node-health-yellow"),
    PERCENTAGE: ("load-threshold",),
}  # fmt: skip
KINDS: Final = {name: kind for kind, names in _BY_KIND.items() for name in names}
"""What the value of an option has to be."""

OF_NODES: Final = ("standby", "maintenance")
"""Attributes of nodes that are true or false."""

ENUMS: Final = {
    "cib-merge": ("report", "disjoint"),
    "fence-reaction": ("panic", "stop"),
    "fencing-action": ("reboot", "off", "poweroff"),
    "fencing-reaction": ("panic", "stop"),
    "no-quorum-policy": ("stop", "freeze", "ignore", "demote", "fence", "suicide"),
    "node-health-strategy": ("none", "migrate-on-red", "only-green", "progressive", "custom"),
    "placement-strategy": ("default", "utilization", "minimal", "balanced"),
    "stonith-action": ("reboot", "off", "poweroff"),
}
"""Options with a list of values."""

_SIGNED: Final = re.compile(r"[+-]?(\d+)", re.ASCII)
_ANY_CASE: Final = ("cib-merge", "no-quorum-policy", "fence-reaction", "fencing-reaction")
_WATCHDOG: Final = ("fencing-watchdog-timeout", "stonith-watchdog-timeout")


def check(cib: Element) -> Iterator[Problem]:
    """A warning for each option, of the cluster or of a node, whose value is not of its kind."""
    for one in section(cib, "crm_config").all("cluster_property_set"):
        for pair in one.walk():
            name, text = pair.get("name"), pair.get("value")
            if pair.tag == "nvpair" and name and (wanted := lacking(name, text)):
                what = f"{text!r} is not understood: the default is in force"
                yield warning(name, what, f"`hacli configure property {name}=…`: {wanted}")
    for node in section(cib, "nodes").all("node"):
        for pair in (one for part in node.all("instance_attributes") for one in part.walk()):
            name, text = pair.get("name"), pair.get("value")
            if pair.tag == "nvpair" and name in OF_NODES and boolean(text) is None:
                what = f"{name}={text!r} is not understood: it counts as false"
                yield warning(node.get("uname") or node.id, what, f"{name}: {TRUTH}")


def lacking(name: str, text: str) -> str:
    """What the option's value should be; empty when it is, and for options that take any text."""
    if name in ENUMS:
        known = ENUMS[name]
        return "" if (text.lower() if name in _ANY_CASE else text) in known else f"one of {', '.join(known)}"
    if name == "two-node-delay":
        fits = text in ("auto", "off", "false") or _is_plain(text)
        return "" if fits else f"auto, off, or {DURATION}"
    if name in _WATCHDOG:
        fits = text.strip().startswith("-") or _is_plain(text.strip())
        return "" if fits else f"{DURATION}; negative: twice the watchdog's time"
    kind = KINDS.get(name, "")
    return kind if kind and not _is(kind, text) else ""


def _is(kind: str, text: str) -> bool:
    if kind == TRUTH:
        return boolean(text) is not None
    if kind == DURATION:
        return duration_ms(text) is not None
    if kind == SCORE:
        return parse_or_none(text) is not None
    if kind == PERCENTAGE:
        return is_count(text.removesuffix("%"))
    found = _SIGNED.fullmatch(text.strip())
    return text in ("INFINITY", "-INFINITY", "+INFINITY") or (found is not None and is_count(found[1]))


def _is_plain(text: str) -> bool:
    try:
        parse_ms(text)
    except ValueError:
        return False
    return True
