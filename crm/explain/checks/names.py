"""Names that are old, or misspelled: options, meta attributes, roles, attributes of constraints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crm.cib.model import Element
from crm.cib.schema import Problem
from crm.explain.checks.finding import closest, own_parts, pairs, resources, section, warning

OPTIONS: Final = frozenset((
    "batch-limit", "cib-merge", "cluster-delay", "cluster-infrastructure", "cluster-ipc-limit",
    "cluster-name", "cluster-recheck-interval", "concurrent-fencing", "dc-deadtime", "dc-version",
    "election-timeout", "enable-acl", "enable-startup-probes", "fence-reaction",
    "fence-remote-without-quorum", "fencing-action", "fencing-enabled", "fencing-max-attempts",
    "fencing-reaction", "fencing-timeout", "fencing-watchdog-timeout", "have-watchdog",
    "join-finalization-timeout", "join-integration-timeout", "last-lrm-refresh", "last-rsc-refresh",
    "load-threshold", "maintenance-mode", "migration-limit", "no-quorum-policy",
    "node-action-limit", "node-health-base", "node-health-green", "node-health-red",
    "node-health-strategy", "node-health-yellow", "node-pending-timeout", "pe-error-series-max",
    "pe-input-series-max", "pe-warn-series-max", "placement-strategy", "priority-fencing-delay",
    "shutdown-escalation", "shutdown-lock", "shutdown-lock-limit", "start-failure-is-fatal",
    "startup-fencing", "stonith-action", "stonith-enabled", "stonith-max-attempts",
    "stonith-timeout", "stonith-watchdog-timeout", "stop-all-resources", "stop-orphan-actions",
    "stop-orphan-resources", "stop-removed-actions", "stop-removed-resources",
    "cancel-removed-actions", "symmetric-cluster", "transition-delay", "fence-verify",
    "isolated-delay", "trust-software-watchdog", "two-node-delay",
))  # fmt: skip
META: Final = frozenset((
    "allow-migrate", "allow-unhealthy-nodes", "clone-max", "clone-min", "clone-node-max", "container",
    "container-attribute-target", "critical", "failure-timeout", "globally-unique", "interleave",
    "is-managed", "maintenance", "migration-threshold", "multiple-active", "notify", "ordered",
    "priority", "promotable", "promoted-max", "promoted-node-max", "provides", "remote-addr",
    "remote-allow-migrate", "remote-connect-timeout", "remote-node", "remote-port", "requires",
    "resource-stickiness", "restart-type", "target-role",
))  # fmt: skip
OWN_OPTIONS: Final = "cib-bootstrap-options"
OLD_OPTIONS: Final = {
    "default-resource-stickiness": "rsc_defaults resource-stickiness",
    "default-resource-failure-stickiness": "rsc_defaults migration-threshold",
    "default-migration-threshold": "rsc_defaults migration-threshold",
    "is-managed-default": "rsc_defaults is-managed",
    "default-action-timeout": "op_defaults timeout",
    "crmd-integration-timeout": "join-integration-timeout",
    "crmd-finalization-timeout": "join-finalization-timeout",
    "crmd-transition-delay": "transition-delay",
    "remove-after-stop": "nothing: it has no effect any more",
}
OLD_META: Final = {
    "master-max": "promoted-max",
    "master-node-max": "promoted-node-max",
    "resource-failure-stickiness": "migration-threshold",
    "resource_stickiness": "resource-stickiness",
    "is_managed": "is-managed",
    "target_role": "target-role",
    "collocated": "a colocation with a resource set",
    "isolation": "a bundle",
    "can_fail": "op on-fail=ignore",
}
OLD_ROLES: Final = {"master": "Promoted", "slave": "Unpromoted"}
_ROLE_ATTRIBUTES: Final = ("role", "rsc-role", "with-rsc-role")
OLD_CLASSES: Final = {"heartbeat": "an OCF agent", "upstart": "systemd", "nagios": "an OCF agent"}


def check(cib: Element) -> Iterator[Problem]:
    """All old and misspelled names."""
    yield from _options(cib)
    for one in resources(cib):
        yield from _meta(one, one.id, in_group=one.tag == "group")
    for one in section(cib, "rsc_defaults").walk():
        if one.tag == "meta_attributes":
            yield from _pairs(one, one.id, OLD_META, META, "meta attribute")
    yield from _roles(cib)
    yield from _constraints(cib)
    yield from _agents(cib)


def _options(cib: Element) -> Iterator[Problem]:
    for one in section(cib, "crm_config").all("cluster_property_set"):
        own = one.id == OWN_OPTIONS  # agents keep a state of their own in other sets
        yield from _pairs(one, "", OLD_OPTIONS, OPTIONS, "cluster option", every=own)


def _pairs(
    holder: Element,
    where: str,
    old: dict[str, str],
    known: frozenset[str],
    what: str,
    *,
    every: bool = True,
) -> Iterator[Problem]:
    """Names that are old or unknown; without `every` the unknown ones only when a known one is near."""
    for pair in holder.walk():
        name = pair.get("name")
        if pair.tag != "nvpair" or not name or name in known:
            continue
        if name in old:
            yield warning(where or name, f"{what} {name} is an old name", f"use {old[name]}")
        elif meant := closest(name, known):
            yield warning(where or name, f"there is no {what} {name}", f"did you mean {meant}?")
        elif every:
            yield warning(where or name, f"there is no {what} {name}", "it has no effect; see the manual")


def _meta(one: Element, where: str, *, in_group: bool) -> Iterator[Problem]:
    for part in one.all("meta_attributes"):
        yield from _pairs(part, where, OLD_META, META, "meta attribute")
    if in_group:
        for pair in pairs(one, "meta_attributes"):
            if pair.get("name") == "ordered":
                yield warning(
                    where,
                    "meta attribute ordered of a group is deprecated",
                    "use an order with a resource set",
                )


def _roles(cib: Element) -> Iterator[Problem]:
    for holder in (*resources(cib), *section(cib, "constraints").children):
        old: dict[str, str] = {}
        for item in own_parts(holder):
            named = [item.get(name) for name in _ROLE_ATTRIBUTES]
            named += [item.get("value")] if item.get("name") == "target-role" else []
            old |= {word: OLD_ROLES[word.lower()] for word in named if word.lower() in OLD_ROLES}
        for word, new in old.items():
            yield warning(holder.id, f"the role {word} is an old name", f"use {new}")


def _constraints(cib: Element) -> Iterator[Problem]:
    for one in section(cib, "constraints").children:
        if one.tag == "rsc_order" and any(item.get("require-all") for item in one.walk()):
            yield warning(one.id, "require-all is deprecated", "use the clone's meta attribute clone-min")
        if one.tag == "rsc_order" and one.get("score") and not one.get("kind"):
            yield warning(
                one.id, "the score of an order is an old form", "use kind=Mandatory or kind=Optional"
            )
        if one.child("lifetime") is not None:
            yield warning(one.id, "lifetime is an old form", "use a rule with a date_expression")
        for item in one.walk():
            for name in ("moon", "yearsdays"):
                if item.get(name):
                    yield warning(one.id, f"{name} in a date is an old form", "leave it out")


def _agents(cib: Element) -> Iterator[Problem]:
    for one in resources(cib):
        if one.tag == "primitive" and one.get("class") in OLD_CLASSES:
            remedy = f"use {OLD_CLASSES[one.get('class')]}"
            yield warning(one.id, f"agents of class {one.get('class')} are no longer supported", remedy)
        if one.get("class") == "lsb" and "/" in one.get("type"):
            what = f"{one.get('type')} is not run: init scripts are run from their folder alone"
            yield warning(one.id, what, "give the script's name, or write an OCF agent or a systemd unit")
        for op in (op for part in one.all("operations") for op in part.all("op")):
            if op.get("requires") or any(pair.get("name") == "requires" for pair in op.walk()):
                remedy = "use the resource's meta attribute requires"
                yield warning(one.id, f"requires of operation {op.get('name')} is deprecated", remedy)
