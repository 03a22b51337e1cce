"""Which sets of voters may decide (cluster-protocol.md 7.2, 9.3)."""

from __future__ import annotations

from collections.abc import Set

from hacluster.vocabulary.membership import QuorumConfig


def is_quorum(config: QuorumConfig, nodes: Set[int]) -> bool:
    """A majority of votes, or half of them with the tie-break node among them."""
    votes = sum(weight for node, weight in config.voters if node in nodes)
    total = config.votes_total
    return 2 * votes > total or (
        total > 0 and 2 * votes == total and config.tiebreak is not None and config.tiebreak in nodes
    )


def is_voter(config: QuorumConfig, node_id: int) -> bool:
    """Whether the node has a vote."""
    return any(node == node_id and weight > 0 for node, weight in config.voters)


def other_voter(config: QuorumConfig, node_id: int) -> int | None:
    """With exactly two voters of which `node_id` is one: the other."""
    ids = [node for node, weight in config.voters if weight > 0]
    if len(ids) != 2 or node_id not in ids:
        return None
    return ids[0] if ids[1] == node_id else ids[1]
