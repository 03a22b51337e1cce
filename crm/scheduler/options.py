"""Cluster options, their defaults and old names (Pacemaker Explained, "Cluster Options")."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from crm.cib.model import Element
from crm.scheduler import scores, values
from crm.scheduler.rules import Context, Elements, merge_sets
from crm.scheduler.scores import INFINITY
from hacluster.records import record


class NoQuorum(StrEnum):
    """no-quorum-policy."""

    STOP = "stop"
    IGNORE = "ignore"
    FREEZE = "freeze"
    DEMOTE = "demote"
    FENCE = "fence"


_OLD_NAMES: Final = {
    "fencing-enabled": "stonith-enabled",
    "fencing-action": "stonith-action",
    "fencing-timeout": "stonith-timeout",
    "stop-removed-resources": "stop-orphan-resources",
    "cancel-removed-actions": "stop-orphan-actions",
}


@record(frozen=True, kw_only=True)
class Options:
    """The options as used; an invalid value has become the default."""

    raw: Mapping[str, str]
    no_quorum: NoQuorum
    fencing_enabled: bool
    fencing_action: str
    concurrent_fencing: bool
    startup_fencing: bool
    have_watchdog: bool
    symmetric: bool
    stop_all: bool
    maintenance_mode: bool
    start_failure_is_fatal: bool
    startup_probes: bool
    stop_removed_resources: bool
    cancel_removed_actions: bool
    placement: str
    health_strategy: str
    health_base: int
    health_green: int
    health_yellow: int
    health_red: int
    shutdown_lock: bool
    shutdown_lock_limit_s: int
    node_pending_timeout_s: int
    priority_fencing_delay_s: int
    fence_remote_without_quorum: bool
    cluster_name: str

    def get(self, name: str) -> str | None:
        """The text of an option under its new or old name."""
        value = self.raw.get(name)
        return value if value is not None else self.raw.get(_OLD_NAMES.get(name, ""))


def read_options(cib: Element, context: Context, elements: Elements) -> Options:
    """The options in force now."""
    raw: dict[str, str] = {}
    merge_sets(
        raw,
        cib.path("configuration", "crm_config"),
        "cluster_property_set",
        context,
        elements,
        first_id="cib-bootstrap-options",
    )

    def text(name: str) -> str | None:
        value = raw.get(name)
        return value if value is not None else raw.get(_OLD_NAMES.get(name, ""))

    def truth(name: str, *, default: bool) -> bool:
        return values.is_true(text(name), default=default)

    def span(name: str) -> int:
        return values.seconds(values.duration_ms(text(name)) or 0)

    fencing = truth("fencing-enabled", default=True)
    action = text("fencing-action") or "reboot"
    action = "off" if action in {"off", "poweroff"} else "reboot"
    placement = text("placement-strategy") or "default"
    strategy = text("node-health-strategy") or "none"
    return Options(
        raw=raw,
        no_quorum=_no_quorum(text("no-quorum-policy"), cib, fencing=fencing),
        fencing_enabled=fencing,
        fencing_action=action,
        concurrent_fencing=truth("concurrent-fencing", default=True),
        startup_fencing=fencing and truth("startup-fencing", default=True),
        have_watchdog=truth("have-watchdog", default=False),
        symmetric=truth("symmetric-cluster", default=True),
        stop_all=truth("stop-all-resources", default=False),
        maintenance_mode=truth("maintenance-mode", default=False),
        start_failure_is_fatal=truth("start-failure-is-fatal", default=True),
        startup_probes=truth("enable-startup-probes", default=True),
        stop_removed_resources=truth("stop-removed-resources", default=True),
        cancel_removed_actions=truth("cancel-removed-actions", default=True),
        placement=placement if placement in {"utilization", "minimal", "balanced"} else "default",
        health_strategy=strategy
        if strategy in {"migrate-on-red", "only-green", "progressive", "custom"}
        else "none",
        health_base=scores.parse(text("node-health-base")),
        health_green=scores.parse(text("node-health-green")),
        health_yellow=scores.parse(text("node-health-yellow")),
        health_red=scores.parse(text("node-health-red"), -INFINITY),
        shutdown_lock=truth("shutdown-lock", default=False),
        shutdown_lock_limit_s=span("shutdown-lock-limit"),
        node_pending_timeout_s=span("node-pending-timeout"),
        priority_fencing_delay_s=span("priority-fencing-delay"),
        fence_remote_without_quorum=truth("fence-remote-without-quorum", default=False),
        cluster_name=text("cluster-name") or "",
    )


def _no_quorum(text: str | None, cib: Element, *, fencing: bool) -> NoQuorum:
    wanted = (text or "stop").lower()
    if wanted in {"fence", "suicide"}:
        if not fencing:
            return NoQuorum.STOP
        quorate = values.is_true(cib.attributes.get("have-quorum"))
        panic = values.integer(cib.attributes.get("no-quorum-panic")) != 0
        return NoQuorum.FENCE if quorate or panic else NoQuorum.STOP
    return NoQuorum(wanted) if wanted in NoQuorum.__members__.values() else NoQuorum.STOP
