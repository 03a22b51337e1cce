"""Votes and leases, against obvious slow versions."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hacluster.vocabulary.ids import NodeId
from hacluster.vocabulary.membership import QuorumConfig
from messaging.membership.quorum import WITNESS, all_voters_in, by_votes, fewest, is_quorate, lease_end_ns


def a_config(*votes: int, two_node: bool = False, tiebreak: int | None = None) -> QuorumConfig:
    return QuorumConfig(
        voters=tuple((NodeId(number), count) for number, count in enumerate(votes, 1)),
        two_node=two_node,
        tiebreak=NodeId(tiebreak) if tiebreak else None,
    )


def test_more_than_half() -> None:
    three = a_config(1, 1, 1)
    assert is_quorate(three, {1, 2})
    assert not is_quorate(three, {1})
    assert not is_quorate(a_config(1, 1), {1})
    assert is_quorate(a_config(3, 1, 1), {1})
    assert not is_quorate(a_config(), set())


def test_half_and_the_tie_break() -> None:
    four = a_config(1, 1, 1, 1, tiebreak=2)
    assert is_quorate(four, {2, 4})
    assert not is_quorate(four, {1, 3})
    assert not is_quorate(four, {2})


def test_two_node_needs_one_of_exactly_two() -> None:
    assert is_quorate(a_config(1, 1, two_node=True), {2})
    assert not is_quorate(a_config(1, 1, two_node=True), set())
    assert not is_quorate(a_config(1, 1, 1, two_node=True), {2})


def test_two_who_are_the_next_voters_only_do_not_act_alone() -> None:
    two = a_config(1, 1, two_node=True)
    joint = replace(a_config(1, 1, 1), next=two)
    assert not is_quorate(joint, {1, 3})
    assert not is_quorate(joint, {2, 3})
    assert is_quorate(joint, {1, 2})
    assert is_quorate(replace(two, next=a_config(1)), {1})  # the survivor takes the other's vote away
    assert not is_quorate(by_votes(two), {1})
    assert is_quorate(by_votes(two), {1, 2})


def test_strangers_do_not_vote() -> None:
    assert not is_quorate(a_config(1, 1, 1), {1, 7, 8, 9})
    assert all_voters_in(a_config(1, 1), [1, 2, 9])
    assert not all_voters_in(a_config(1, 1), [1])


configs = st.builds(
    lambda votes, tiebreak: a_config(*votes, tiebreak=tiebreak),
    st.lists(st.integers(1, 3), min_size=1, max_size=6),
    st.one_of(st.none(), st.integers(1, 6)),
)


@given(configs, st.sets(st.integers(1, 6)))
def test_two_disjoint_sets_are_never_quorate(config: QuorumConfig, one: set[int]) -> None:
    other = {node for node, _ in config.voters} - one
    assert not (is_quorate(config, one) and is_quorate(config, other))


@given(configs, st.dictionaries(st.integers(2, 6), st.integers(1, 100)), st.integers(1, 100))
def test_the_lease_lasts_while_the_supporters_are_quorate(
    config: QuorumConfig, supports: dict[int, int], own: int
) -> None:
    """By trying every instant."""
    lasting = [
        at
        for at in range(1, own + 1)
        if is_quorate(config, {1, *(node for node, until in supports.items() if until >= at)})
    ]
    assert lease_end_ns(config, 1, supports, own_until_ns=own) == max(lasting, default=0)


def quorate_by_the_rule(config: QuorumConfig, present: set[int]) -> bool:
    """Cluster-protocol.md 7.2, word by word."""
    if config.next is not None:
        both = replace(config, next=None), by_votes(config.next)
        return all(quorate_by_the_rule(one, present) for one in both)
    votes = sum(count for node, count in config.voters if node in present)
    if votes and WITNESS in present:
        votes += config.witness_votes
    total = sum(count for _, count in config.voters) + config.witness_votes
    if 2 * votes > total or (2 * votes == total > 0 and config.tiebreak in present):
        return True
    return config.two_node and len(config.voters) == 2 and votes > 0


any_config = st.builds(
    lambda config, two_node, witness: replace(config, two_node=two_node, witness_votes=witness),
    configs,
    st.booleans(),
    st.integers(0, 3),
)


@given(
    st.builds(lambda config, after: replace(config, next=after), any_config, st.none() | any_config),
    st.permutations(range(8)),
    st.integers(0, 8),
)
def test_the_fewest_are_the_shortest_beginning_that_is_quorate(
    config: QuorumConfig, nodes: list[int], length: int
) -> None:
    nodes = nodes[:length]
    enough = [count for count in range(length + 1) if quorate_by_the_rule(config, set(nodes[:count]))]
    assert fewest(config, nodes) == min(enough, default=None)
    assert is_quorate(config, set(nodes)) is bool(enough)
