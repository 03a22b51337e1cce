"""Who may manage resources: votes, two nodes, tie-break, the lease (cluster-protocol.md, 7)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
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
    if config.next is not None and not is_quorate(by_votes(config.next), present):
        return False
    present_votes = sum(votes for node, votes in config.voters if node in present)
    witness = config.witness_votes if WITNESS in present and present_votes else 0
    twice, total = 2 * (present_votes + witness), config.votes_total + config.witness_votes
    if twice > total or (twice == total and total > 0 and config.tiebreak in present):
        return True
    return config.two_node and len(config.voters) == 2 and present_votes > 0


def by_votes(config: QuorumConfig) -> QuorumConfig:
    """The same voters, of whom none acts alone because of `two_node`."""
    return replace(config, two_node=False)


def lease_end_ns(config: QuorumConfig, node: int, supports: Mapping[int, int], *, own_until_ns: int) -> int:
    """Until when `node` and its supporters are quorate; 0 when they are not.

    `supports` says until when each other node's support lasts; our own lasts until `own_until_ns`, which
    bounds the result.
    """
    longest_first = sorted(supports, key=lambda peer: (-supports[peer], peer))
    if not is_quorate(config, {node, *longest_first}):
        return 0
    # The fewest that are needed: who comes to a quorate set never ends that.
    needed = bisect_left(
        range(len(longest_first)), True, key=lambda count: is_quorate(config, {node, *longest_first[:count]})
    )
    return min(own_until_ns, supports[longest_first[needed - 1]]) if needed else own_until_ns


def all_voters_in(config: QuorumConfig, members: Collection[int]) -> bool:
    """Whether wait_for_all is satisfied by this view."""
    return all(node in members for node, _ in config.voters)
