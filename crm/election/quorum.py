"""Which sets of voters may decide (cluster-protocol.md 7.2, 9.3, 9.5)."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from hacluster.vocabulary.membership import QuorumConfig

NOBODY: Set[int] = frozenset()


def halves(config: QuorumConfig) -> tuple[QuorumConfig, ...]:
    """The old and the new voters while they change, who have to agree; else the voters alone."""
    return (config,) if config.next is None else (replace(config, next=None), config.next)


def is_quorum(config: QuorumConfig, nodes: Set[int], *, witness: bool = False) -> bool:
    """A majority of votes, or half of them with the tie-break node among them; of both halves of a change.

    `witness`: its votes count with theirs; they are among all the votes in any case.
    """
    return all(_is_quorum(half, nodes, witness=witness) for half in halves(config))


def _is_quorum(config: QuorumConfig, nodes: Set[int], *, witness: bool) -> bool:
    votes = sum(weight for node, weight in config.voters if node in nodes)
    if votes and witness:
        votes += config.witness_votes
    total = config.votes_total + config.witness_votes
    return 2 * votes > total or (
        total > 0 and 2 * votes == total and config.tiebreak is not None and config.tiebreak in nodes
    )


def could_be_quorate(config: QuorumConfig, present: Set[int]) -> bool:
    """Whether ha-messaging would call these nodes quorate if all of them were heard; a witness aside.

    One of two acts alone (`two_node`), but not of two who are only the next voters yet.
    """
    now, *following = (replace(half, witness_votes=0) for half in halves(config))
    alone = now.two_node and any(node in present and weight > 0 for node, weight in now.voters)
    return (alone or is_quorum(now, present)) and all(is_quorum(half, present) for half in following)


def has_witness(config: QuorumConfig) -> bool:
    """Whether a witness has votes, now or when the change under way is over."""
    return any(half.witness_votes for half in halves(config))


def witness_helps(config: QuorumConfig, in_sync: Set[int], counted: Set[int]) -> bool:
    """Whether the witness's votes count with these nodes' in an election (7.4).

    One of them must be `in_sync`, as the witness says in the candidate's term: it has all that was committed
    with the witness's help. When no DC has said yet who is, all voters must be among them.
    """
    return bool(in_sync & counted) if in_sync else counted >= set(voters_of(config))


def agree(
    config: QuorumConfig,
    me: int,
    nodes: Set[int],
    *,
    blank: Set[int] = NOBODY,
    gone: int | None = None,
    witness: bool = False,
) -> bool:
    """`is_quorum` as node `me` may count, which has a memory: half by half.

    Of two voters the other counts also when it is `blank`: without a memory. Ours has every committed entry
    then, unless a tie-break or a witness lets the other commit alone. It is not needed among the old voters
    when it is `gone`: confirmed off, and we have the solo right.
    """
    for at, half in enumerate(halves(config)):
        other = other_voter(half, me)
        two = other is not None and me in nodes
        if two and other == gone and at == 0:
            continue
        lone = half.tiebreak is not None or half.witness_votes > 0
        if not _is_quorum(half, nodes | blank if two and not lone else nodes, witness=witness):
            return False
    return True


def is_voter(config: QuorumConfig, node_id: int) -> bool:
    """Whether the node has a vote, or will have one when the change under way is over."""
    return any(node == node_id and weight > 0 for half in halves(config) for node, weight in half.voters)


def voters_of(config: QuorumConfig) -> tuple[int, ...]:
    """All of them, the old and the new, in the order of ids."""
    return tuple(sorted({node for half in halves(config) for node, weight in half.voters if weight > 0}))


def other_voter(config: QuorumConfig, node_id: int) -> int | None:
    """With exactly two (old) voters of which `node_id` is one: the other."""
    ids = [node for node, weight in config.voters if weight > 0]
    if len(ids) != 2 or node_id not in ids:
        return None
    return ids[0] if ids[1] == node_id else ids[1]
