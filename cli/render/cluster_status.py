"""Nodes and resources of a cluster as indented lists, in the words of crm_mon and crm_simulate.

Pure: reads the scheduler's working set after its status section was unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cli.render.status_primitive import (
    StatusContext,
    is_disabled,
    masked_probe_text,
    primitive_line,
    target_role,
)
from crm.scheduler import scores
from crm.scheduler.activity import is_active
from crm.scheduler.model import Node, NodeKind, Replica, Resource, Role, Variant, WorkingSet
from crm.scheduler.values import natural_key

KIND_WORDS: Final = {NodeKind.CLUSTER: "Node", NodeKind.REMOTE: "RemoteNode", NodeKind.GUEST: "GuestNode"}
LIST_WORDS: Final = (
    (NodeKind.CLUSTER, "Online", "OFFLINE"),
    (NodeKind.REMOTE, "RemoteOnline", "RemoteOFFLINE"),
    (NodeKind.GUEST, "GuestOnline", ""),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a list, `depth` levels deep."""

    depth: int
    text: str

    def __str__(self) -> str:
        return f"{'  ' * self.depth}* {self.text}"


def status_text(work: WorkingSet, *, pending: bool) -> str:
    """The two lists, "Node List" and "Full List of Resources", without a heading."""
    context = StatusContext(work, pending)
    nodes = [Item(1, "Node List:"), *node_items(context)]
    resources = list(resource_items(context)) or [Item(2, "No resources")]
    upper = "\n".join(map(str, nodes))
    lower = "\n".join(map(str, [Item(1, "Full List of Resources:"), *resources]))
    return f"{upper}\n\n{lower}\n"


def node_items(context: StatusContext) -> Iterator[Item]:
    """Nodes that need a line of their own, then the lists of the others by kind."""
    plain: list[Node] = []
    for node in context.work.nodes:
        status, special = node_status(context.work, node)
        if special:
            yield Item(2, f"{KIND_WORDS[node.kind]} {node.name}: {status}")
        else:
            plain.append(node)
    for kind, up, down in LIST_WORDS:
        for word, online in ((up, True), (down, False)):
            names = [node.name for node in plain if node.kind is kind and node.online is online]
            if names and word:
                yield Item(2, f"{word}: [ {' '.join(names)} ]")


def node_status(work: WorkingSet, node: Node) -> tuple[str, bool]:
    """A node's state in words, and whether it deserves a line of its own."""
    health = _health_word(work, node)
    suffix = f" (health is {health})" if health else ""
    if node.unclean:
        word = "online" if node.online else "pending" if node.pending else "offline"
        return f"UNCLEAN ({word}){suffix}", True
    if node.pending:
        return f"pending{suffix}", True
    if node.standby_on_fail and node.online:
        return f"standby (on-fail){suffix}", True
    if node.standby:
        if not node.online:
            return f"OFFLINE (standby){suffix}", True
        return ("standby (with active resources)" if node.running else "standby") + suffix, True
    if node.maintenance:
        return ("maintenance" if node.online else "OFFLINE (maintenance)") + suffix, True
    return ("online" if node.online else "OFFLINE") + suffix, bool(health)


def _health_word(work: WorkingSet, node: Node) -> str:
    options = work.options
    if options.health_strategy == "none":
        return ""
    worst = ""
    for name, value in node.attributes.items():
        if not name.startswith("#health"):
            continue
        number = scores.parse_or_none(value)
        if value.lower() == "red" or (number is not None and number <= options.health_red):
            return "RED"
        if value.lower() == "yellow" or (
            number is not None
            and number <= options.health_yellow
            and options.health_yellow != options.health_green
        ):
            worst = "YELLOW"
    return worst


def resource_items(context: StatusContext) -> Iterator[Item]:
    """All resources in list order; implicit ones are part of what they belong to."""
    for resource in context.work.resources:
        if resource.removed and not is_active(resource, every=True):
            continue
        yield from _resource(context, resource, 2)


def _resource(context: StatusContext, resource: Resource, depth: int) -> Iterator[Item]:
    if resource.meta.get("internal_rsc", "").lower() == "true":
        return
    if resource.variant is Variant.GROUP:
        yield from _group(context, resource, depth)
    elif resource.variant is Variant.CLONE:
        yield from _clone(context, resource, depth)
    elif resource.variant is Variant.BUNDLE:
        yield from _bundle(context, resource, depth)
    else:
        yield Item(depth, primitive_line(context, resource))


def _managed_words(resource: Resource) -> list[str]:
    if resource.maintenance:
        return ["maintenance"]
    return [] if resource.managed else ["unmanaged"]


def _heading(text: str, flags: list[str]) -> str:
    return f"{text} ({', '.join(flags)}):" if flags else f"{text}:"


def _group(context: StatusContext, group: Resource, depth: int) -> Iterator[Item]:
    flags = (["disabled"] if is_disabled(group) else []) + _managed_words(group)
    yield Item(depth, _heading(f"Resource Group: {group.id}", flags))
    for member in group.children:
        yield from _resource(context, member, depth + 1)


def _clone(context: StatusContext, clone: Resource, depth: int) -> Iterator[Item]:
    flags = [word for word, holds in (("promotable", clone.promotable), ("unique", clone.unique)) if holds]
    flags += ["disabled"] if is_disabled(clone) else []
    flags += _managed_words(clone)
    child = clone.child_element.id if clone.child_element is not None else ""
    yield Item(depth, _heading(f"Clone Set: {clone.id} [{child}]", flags))
    promoted: list[Node] = []
    started: list[Node] = []
    for instance in clone.children:
        if clone.unique:
            if is_active(instance, every=False) or not clone.removed:
                yield from _resource(context, instance, depth + 1)
            continue
        place = "individual" if context.detail else _summary_place(context, instance)
        if place == "individual":
            yield from _resource(context, instance, depth + 1)
        elif place != "stopped":
            (promoted if place == "promoted" else started).append(_nodes_of(instance)[0])
    if not context.detail:
        yield from _clone_lists(context, clone, promoted, started, depth + 1)


def _nodes_of(instance: Resource) -> list[Node]:
    found: list[Node] = []
    for primitive in instance.primitives():
        found.extend(node for node in primitive.active_nodes if node not in found)
    return found


def _summary_place(context: StatusContext, instance: Resource) -> str:
    """individual, stopped, promoted or started: where an anonymous instance is told of."""
    parts = list(instance.primitives())
    if context.pending and instance.pending_task:  # of a group's instance nothing is pending, only of members
        return "individual"
    if not is_active(instance, every=False):
        return "stopped"
    if any(part.removed or not part.managed or part.failed for part in (*parts, instance)):
        return "individual"
    nodes = _nodes_of(instance)
    if not is_active(instance, every=True) or len(nodes) != 1:
        return "individual"
    if not nodes[0].online and nodes[0].unclean:
        return "individual"
    return "promoted" if max(part.orig_role for part in parts) is Role.PROMOTED else "started"


def _clone_lists(
    context: StatusContext, clone: Resource, promoted: list[Node], started: list[Node], depth: int
) -> Iterator[Item]:
    wanted = target_role(clone) or (target_role(clone.children[0]) if clone.children else "")
    word = "Started"
    if clone.promotable:
        word = "Unpromoted (target-role)" if wanted in ("unpromoted", "slave") else "Unpromoted"
    for title, nodes in (("Promoted", promoted), (word, started)):
        if nodes:
            yield Item(depth, f"{title}: [ {_names(nodes)} ]")
    if not clone.unique and clone.clone_max > len(promoted) + len(started):
        yield from _stopped_lists(context, clone, wanted, depth)


def _stopped_lists(context: StatusContext, clone: Resource, wanted: str, depth: int) -> Iterator[Item]:
    table = [entry.node for entry in clone.allowed.values()] or list(clone.probed_nodes.values())
    idle: dict[str, list[Node]] = {}
    busy = set(map(id, _nodes_of(clone)))
    for node in table:
        if id(node) in busy:
            continue
        text = "Stopped"
        masked = next(
            (found for part in clone.primitives() if (found := masked_probe_text(context, part, node))), ""
        )
        if wanted == "stopped":
            text = "Stopped (disabled)"
        elif masked:
            text = f"Stopped ({masked})"
        idle.setdefault(text, []).append(node)
    for text, nodes in sorted(idle.items()):
        yield Item(depth, f"{text}: [ {_names(nodes)} ]")


def _names(nodes: list[Node]) -> str:
    return " ".join(node.name for node in sorted(nodes, key=lambda node: natural_key(node.name)))


def _bundle(context: StatusContext, bundle: Resource, depth: int) -> Iterator[Item]:
    data = bundle.bundle
    assert data is not None, bundle.id
    title = "Container bundle set" if len(data.replicas) > 1 else "Container bundle"
    flags = (["unique"] if bundle.unique else []) + _managed_words(bundle)
    yield Item(depth, _heading(f"{title}: {bundle.id} [{data.image}]", flags))
    for replica in data.replicas:
        yield Item(depth + 1, _replica(context, replica))


def _replica(context: StatusContext, replica: Replica) -> str:
    name = replica.connection.id if replica.connection is not None else replica.container.id
    if replica.address:
        name = f"{name} ({replica.address})"
    shown = replica.child or replica.container
    return primitive_line(context, shown, name=name, host=replica.container)


def disabled_and_blocked(work: WorkingSet) -> str:
    """The line that counts disabled and blocked resource instances; empty when there are none."""
    total = disabled = blocked = 0
    for resource in work.resources:
        for primitive in resource.primitives():
            if primitive.removed and not is_active(primitive, every=True):
                continue
            total += 1
            disabled += is_disabled(primitive)
            blocked += primitive.blocked
    if not disabled and not blocked:
        return ""
    return (
        f"{disabled} of {total} resource instances DISABLED and {blocked} BLOCKED "
        "from further action due to failure"
    )
