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
