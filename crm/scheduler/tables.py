"""Tables of scores: who may run where. Direct bans reach a resource and everything below it at once."""

from __future__ import annotations

from crm.scheduler.model import Entry, Node, ProbeMode, Resource, Table, WorkingSet


def apply_symmetric_default(work: WorkingSet, resource: Resource) -> None:
    """In a symmetric cluster every node is in the table from the beginning, with the node's own score.

    In another cluster this holds for connections of guests and bundles, and bundles' nodes are no exception.
    """
    symmetric = work.options.symmetric
    if not symmetric and not (resource.is_remote_connection and "container" in resource.meta):
        return
    if resource.exclusive_probes:
        return
    allowed = resource.allowed
    for node in work.nodes:
        key, score, mode = node.id, node.score, node.probe_mode
        if key not in allowed and (mode is not ProbeMode.NEVER or not symmetric):
            # As `new_entry`, but without a call: each instance of a clone meets each node.
            allowed[key] = Entry(node, score, 0, mode, (score, "node", key, None) if score else None)
    for child in resource.children:
        apply_symmetric_default(work, child)


def new_entry(node: Node) -> Entry:
    """A table entry with the node's own score."""
    entry = Entry(node, node.score, 0, node.probe_mode)
    if node.score:
        entry.why = (node.score, "node", node.id, None)
    return entry


def ban(work: WorkingSet, resource: Resource, node: Node | None, score: int, kind: str, origin: str) -> None:
    """Add a score at once, on a node or on all, to a resource and everything below it."""
    for target in (node,) if node is not None else work.nodes:
        for one in resource.walk():
            _add_to_table(one, target, score, kind, origin)


def _add_to_table(resource: Resource, node: Node, score: int, kind: str, origin: str) -> None:
    entry = resource.allowed.get(node.id)
    if entry is None:
        entry = resource.allowed[node.id] = new_entry(node)
    entry.add(score, kind, origin)


def copy_table(table: Table) -> Table:
    """Independent copies of all entries, in the same order."""
    return {key: entry.copy() for key, entry in table.items()}
