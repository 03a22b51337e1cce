"""Where resources are: active or not, current nodes, available nodes."""

from __future__ import annotations

from crm.scheduler.model import Entry, Node, NodeKind, Resource, Role, Variant


def is_available(node: Node) -> bool:
    """A node that may run resources: online, clean, not leaving, not in standby or maintenance."""
    return node.online and not (
        node.shutdown or node.unclean or node.standby or node.maintenance or node.pending
    )


def entry_available(entry: Entry | None, *, score: bool = False, guest: bool = False) -> bool:
    """As `is_available`; with `score` it must not be negative; with `guest` the host must be known."""
    if entry is None or not is_available(entry.node):
        return False
    if score and entry.score < 0:
        return False
    if guest and entry.node.kind is NodeKind.GUEST:
        launcher = entry.node.launcher
        if launcher is not None and launcher.assigned is None:
            return False
    return True


def is_active(resource: Resource, *, every: bool) -> bool:
    """Primitives: active somewhere. Collectives: any, or every, child."""
    match resource.variant:
        case Variant.PRIMITIVE:
            return any(node.unclean or node.online or not resource.managed for node in resource.active_nodes)
        case Variant.BUNDLE:
            return _bundle_active(resource, every=every)
        case _:
            states = (is_active(child, every=every) for child in resource.children)
            return all(states) if every else any(states)


def _bundle_active(resource: Resource, *, every: bool) -> bool:
    assert resource.bundle is not None
    parts = [
        is_active(part, every=every)
        for replica in resource.bundle.replicas
        for part in (replica.ip, replica.child, replica.container, replica.connection)
        if part is not None
    ]
    return all(parts) if every else any(parts)


def is_clean(node: Node) -> bool:
    """Online and not to be fenced."""
    return node.online and not node.unclean


def current_node(resource: Resource) -> Node | None:
    """The node it counts as running on: a migration's source first, else clean ones where that matters."""
    if resource.variant is Variant.BUNDLE and resource.bundle is not None:
        nodes: list[Node] = []
        for replica in resource.bundle.replicas:
            nodes.extend(node for node in replica.container.active_nodes if node not in nodes)
    else:
        nodes = resource.active_nodes
    if not nodes:
        return None
    source = resource.partial_source
    if source is not None and source in nodes:
        return source
    if not resource.needs_fencing:
        for node in nodes:
            if is_clean(node):
                return node
    return nodes[0]


def clean_nodes(resource: Resource) -> list[Node]:
    """Those of its active nodes that are clean."""
    return [node for node in resource.active_nodes if is_clean(node)]


def state(resource: Resource, *, current: bool) -> Role:
    """The role now or to be; of a collective the highest of its children's."""
    if resource.is_primitive:
        return resource.orig_role if current else resource.next_role
    return max((state(child, current=current) for child in resource.children), default=Role.UNKNOWN)


def locations(resource: Resource, *, current: bool, pending: bool = False) -> list[Node]:
    """The nodes it is on now (with `pending`: also where an action is under way), or will be on.

    Of a collective: those of all children.
    """
    if resource.is_primitive:
        if not current:
            return [resource.assigned.node] if resource.assigned is not None else []
        if not pending or resource.pending_node is None or resource.pending_node in resource.active_nodes:
            return resource.active_nodes
        return [*resource.active_nodes, resource.pending_node]
    merged: list[Node] = []
    for child in resource.children:
        for node in locations(child, current=current, pending=pending):
            if node not in merged:
                merged.append(node)
    return merged


def location(resource: Resource, *, current: bool, pending: bool = False) -> Node | None:
    """The one node of `locations`, None where there is none or several."""
    if resource.is_primitive and not current:
        return resource.assigned_node
    found = locations(resource, current=current, pending=pending)
    return found[0] if len(found) == 1 else None
