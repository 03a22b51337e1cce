"""Who may manage resources: votes, two nodes, tie-break, the lease (cluster-protocol.md, 7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from hacluster.vocabulary.membership import QuorumConfig

WITNESS: Final = 0
"""Stands for the witness among nodes."""


def is_quorate(config: QuorumConfig, present: Collection[int]) -> bool:
    """Whether these nodes may act together; nodes that are no voters do not count.

    More than half of all votes; or half of them and the tie-break node; or, with `two_node`, one of the two.
    While the voters change, by the old ones and by the new ones, of whom one alone does not act yet.
    """
    return fewest(config, present) is not None


def fewest(config: QuorumConfig, nodes: Iterable[int]) -> int | None:
    """How many of `nodes`, from the first on, are quorate; None: not even all of them.

    Who comes to a quorate set never ends that.
    """
    if config.next is not None:
        nodes = tuple(nodes)
        both = fewest(replace(config, next=None), nodes), fewest(by_votes(config.next), nodes)
        return None if None in both else max(count for count in both if count is not None)
    votes = dict[int, int](config.voters)
    total = sum(votes.values()) + config.witness_votes
    is_enough = config.two_node and len(votes) == 2
    present = witness = 0
    tie = False
    for count, node in enumerate(nodes, start=1):
        present += votes.get(node, 0)
        if node == WITNESS:
            witness = config.witness_votes
        tie = tie or node == config.tiebreak
        twice = 2 * (present + witness) if present else 0
        if twice > total or (tie and twice == total > 0) or (is_enough and present):
            return count
    return None


def by_votes(config: QuorumConfig) -> QuorumConfig:
    """The same voters, of whom none acts alone because of `two_node`."""
    return replace(config, two_node=False)


def lease_end_ns(config: QuorumConfig, node: int, supports: Mapping[int, int], *, own_until_ns: int) -> int:
    """Until when `node` and its supporters are quorate; 0 when they are not.

    `supports` says until when each other node's support lasts; our own lasts until `own_until_ns`, which
    bounds the result.
    """
    longest_first = sorted(supports, key=lambda peer: (-supports[peer], peer))
    needed = fewest(config, (node, *longest_first))
    if needed is None:
        return 0
    return min(own_until_ns, supports[longest_first[needed - 2]]) if needed > 1 else own_until_ns


def all_voters_in(config: QuorumConfig, members: Collection[int]) -> bool:
    """Whether wait_for_all is satisfied by this view."""
    return all(node in members for node, _ in config.voters)
