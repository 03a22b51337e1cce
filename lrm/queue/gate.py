"""The activation gate (cluster-protocol.md section 10.3): whether this node may activate anything now."""

from __future__ import annotations

from typing import Final

from hacluster.vocabulary.ids import ViewId
from hacluster.vocabulary.membership import Authority
from hacluster.vocabulary.operation import Operation

ACTIVATIONS: Final = frozenset({"start", "promote", "migrate_to", "migrate_from", "unfence", "on"})
"""Actions that make something active that was not; "on" is a fence agent's unfencing."""


def is_activation(operation: Operation) -> bool:
    """Whether the gate applies."""
    return operation.action in ACTIVATIONS


def shut_because(
    authority: Authority | None, view: ViewId, *, without_quorum: bool, now_ns: int
) -> str | None:
    """Why an operation of that view may not activate anything at `now_ns`, or None if it may.

    `without_quorum` is no-quorum-policy "ignore": quorum and lease are not asked for, the view is.
    """
    if authority is None:
        return "ha-messaging does not answer"
    if authority.view.id != view:
        return f"the operation is of view {view}, this node is in view {authority.view.id}"
    if without_quorum:
        return None
    if not authority.quorate or authority.waiting:
        return "this node's partition has no quorum"
    if authority.lease_end_ns <= now_ns:
        return "this node's lease has run out"
    return None


def is_early(
    authority: Authority | None, operation: Operation, view: ViewId, *, without_quorum: bool, now_ns: int
) -> bool:
    """Whether the gate is shut to the operation and news from ha-messaging may open it.

    The DC hears of a view, or of a lease, from the ha-messaging of its own node, and may be quicker than this
    node's. What is of an older view than this node is in comes too late, not too early.
    """
    if not is_activation(operation) or (authority is not None and view < authority.view.id):
        return False
    return shut_because(authority, view, without_quorum=without_quorum, now_ns=now_ns) is not None
