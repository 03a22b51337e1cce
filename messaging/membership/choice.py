"""Which nodes should form the view: a clique, found by removing nodes (cluster-protocol.md, 6.3)."""

from __future__ import annotations

from collections.abc import Sequence


def choose(
    *,
    candidates: int,
    hear: Sequence[int],
    cut: Sequence[int],
    installed: int,
    votes: Sequence[int],
) -> int:
    """The chosen nodes, as a bit set of slots.

    `hear[i]` has bit j when i says that it hears j; an edge needs both directions, and no bit in `cut` (edges
    that failed a proposal, for a while). While two chosen nodes lack an edge, one node goes: the one with
    most missing edges; then one that is not in the installed view; then fewer votes; then the higher slot.
    The result is the same everywhere once the inputs are.
    """
    slots = [slot for slot in range(len(hear)) if candidates >> slot & 1]
    says = {slot: (hear[slot] & ~cut[slot] | 1 << slot) & candidates for slot in slots}
    if all(row == candidates for row in says.values()):
        return candidates
    edges = dict(says)
    for slot in slots:
        deaf = candidates & ~says[slot]  # whom it does not hear lacks the edge too
        while deaf:
            lowest = deaf & -deaf
            edges[lowest.bit_length() - 1] &= ~(1 << slot)
            deaf ^= lowest
    chosen = candidates
    while True:
        missing = {slot: (chosen & ~edges[slot]).bit_count() for slot in slots if chosen >> slot & 1}
        if not any(missing.values()):
            return chosen
        chosen &= ~(
            1 << max(missing, key=lambda slot: (missing[slot], not installed >> slot & 1, -votes[slot], slot))
        )
