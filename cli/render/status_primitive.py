"""One line about a primitive, as crm_mon and crm_simulate word it. Reads the scheduler's working set only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crm.scheduler.activity import current_node
from crm.scheduler.model import Node, Resource, Role, WorkingSet

PENDING_WORDS: Final = {
    "start": "Starting",
    "stop": "Stopping",
    "migrate_to": "Migrating",
    "migrate_from": "Migrating",
    "promote": "Promoting",
    "demote": "Demoting",
}
PROBE_WORDS: Final = {
    2: "Invalid parameter",
    5: "Not installed",
}


@dataclass(frozen=True, slots=True)
class StatusContext:
    """What a renderer needs: the working set after unpacking, and whether pending actions are shown.

    `detail`: instances of clones one by one.
    """

    work: WorkingSet
    pending: bool = True
    detail: bool = False


def base_name(resource: Resource) -> str:
    """The id; instances of anonymous clones and their members go by their plain name."""
    return resource.id if resource.unique else resource.id.partition(":")[0]


def target_role(resource: Resource) -> str:
    """The target-role as written, lower case; empty when not set."""
    return resource.meta.get("target-role", "").lower()


def is_disabled(resource: Resource) -> bool:
    """Whether target-role keeps it from its full role (Unpromoted counts for promotable clones)."""
    wanted = target_role(resource)
    return wanted == "stopped" or (wanted in ("unpromoted", "slave") and resource.top().promotable)


def primitive_line(
    context: StatusContext, resource: Resource, *, name: str = "", host: Resource | None = None
) -> str:
    """NAME<TAB>(AGENT):<TAB> STATE[ NODE][ (FLAGS)]; it is said to be where `host` is, when given."""
    several = host is None and len(resource.active_nodes) > 1
    where = None if several else current_node(host) if host else display_node(resource)
    parts = [f"{name or base_name(resource)}\t({resource.class_agent}):\t"]
    if resource.removed:
        parts.append(" ORPHANED")
    parts.append(f" {state_word(context, resource)}")
    if where is not None:
        parts.append(f" {where.name}")
    masked = masked_probe_text(context, resource, where)
    if resource.orig_role is Role.STOPPED and masked:
        parts.append(f" ({masked}) ")
    flags = flags_of(context, resource, where)
    if flags:
        parts.append(f" ({', '.join(flags)})")
    if several:
        description = resource.element.get("description")
        if description:
            parts.append(f" ({description})")
        names = " ".join(active.name for active in resource.active_nodes)
        parts.append(f" [ {names} ]")
    return "".join(parts)


def display_node(resource: Resource) -> Node | None:
    """The current node; else where an action is pending; else the node of a shutdown lock."""
    current = current_node(resource)
    if current is not None:
        return current
    if resource.pending_node is not None:
        return resource.pending_node
    return resource.lock_node


def state_word(context: StatusContext, resource: Resource) -> str:
    """FAILED, a pending state, or the role."""
    if resource.failed:
        return "FAILED Promoted" if resource.orig_role is Role.PROMOTED else "FAILED"
    if context.pending and resource.pending_task in PENDING_WORDS:
        return PENDING_WORDS[resource.pending_task]
    if resource.orig_role is Role.STARTED and resource.top().promotable:
        return Role.UNPROMOTED.label
    return resource.orig_role.label


def masked_probe_text(context: StatusContext, resource: Resource, node: Node | None) -> str:
    """The words for a probe whose failure counts as "not running", on `node` or (None) anywhere."""
    for failure in context.work.failed_operations:
        if failure.masked_probe and failure.resource is resource and node in (None, failure.node):
            return PROBE_WORDS.get(failure.rc, "")
    return ""


def flags_of(context: StatusContext, resource: Resource, node: Node | None) -> list[str]:
    """What is said in brackets: UNCLEAN, disabled, blocked, unmanaged and the like."""
    flags: list[str] = []
    if node is not None and not node.online and node.unclean:
        flags.append("UNCLEAN")
    if node is not None and resource.lock_node is node:
        flags.append("LOCKED")
    if context.pending and resource.pending_task == "monitor" and resource.pending_interval_ms > 0:
        flags.append("Monitoring")
    wanted = target_role(resource)
    if wanted == "stopped":
        flags.append("disabled")
    elif wanted in ("unpromoted", "slave") and resource.top().promotable:
        flags.append(f"target-role:{resource.meta['target-role']}")
    if resource.blocked:
        flags.append("blocked")
    elif resource.maintenance:
        flags.append("maintenance")
    elif not resource.managed:
        flags.append("unmanaged")
    if resource.failure_ignored:
        flags.append("failure ignored")
    return flags
