"""The layered layout: what it must keep for any graph."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cli.render.layers import acyclic, crossings, fitted, in_order, layout, reduced

GRAPHS = st.dictionaries(st.integers(0, 30), st.lists(st.integers(0, 30), max_size=5), max_size=30)


def reachable(edges: dict[int, list[int]]) -> set[tuple[int, int]]:
    found: dict[int, set[int]] = {}
    for one in in_order(edges):
        found[one] = set()
        for before in edges[one]:
            found[one] |= {before} | found[before]
    return {(one, before) for one, befores in found.items() for before in befores}


@given(GRAPHS)
def test_every_item_has_a_place_right_of_what_it_waits_for(inputs: dict[int, list[int]]) -> None:
    found = layout(inputs, dict.fromkeys(inputs, 20.0), 10.0)
    layer_of = {one: at for at, layer in enumerate(found.layers) for one in layer}
    assert {one for one in layer_of if one >= 0} == set(inputs)
    edges = acyclic(inputs)
    for after, befores in edges.items():
        assert all(layer_of[before] < layer_of[after] for before in befores)
    for layer in found.layers:
        for upper, lower in itertools.pairwise(layer):
            need = (20 if upper >= 0 else 0) / 2 + (20 if lower >= 0 else 0) / 2 + 10
            assert found.middle[lower] - found.middle[upper] >= need - 1e-6
    for (before, after), way in found.ways.items():
        assert (way[0], way[-1]) == (before, after)
        assert [layer_of[one] for one in way] == list(range(layer_of[before], layer_of[after] + 1))


@given(GRAPHS)
def test_left_out_arrows_follow_from_the_others(inputs: dict[int, list[int]]) -> None:
    edges = acyclic(inputs)
    less = reduced(edges)
    assert reachable(less) == reachable(edges)
    assert all(set(less[one]) <= set(edges[one]) for one in edges)
    assert set(in_order(edges)) == set(inputs)


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 9)), max_size=12))
def test_the_fit_does_not_fall_and_moves_nothing_that_fits(pairs: list[tuple[int, int]]) -> None:
    wanted, weights = [float(one) for one, _ in pairs], [float(one) for _, one in pairs]
    found = fitted(wanted, weights)
    assert all(upper <= lower + 1e-9 for upper, lower in itertools.pairwise(found))
    if wanted == sorted(wanted):
        assert found == wanted
    total = sum(weight * (one - want) for one, want, weight in zip(found, wanted, weights, strict=True))
    assert abs(total) < 1e-6


def test_crossings_are_counted_and_avoided() -> None:
    neighbours: dict[int, tuple[list[int], list[int]]] = {
        0: ([], [3]), 1: ([], [2]), 2: ([1], []), 3: ([0], []),
    }  # fmt: skip
    assert crossings([[0, 1], [2, 3]], neighbours) == 1
    found = layout({0: [], 1: [], 2: [1], 3: [0]}, dict.fromkeys(range(4), 1.0), 1.0)
    assert [layer.index(one) for layer, one in zip(found.layers, (0, 3), strict=True)] == [
        found.layers[0].index(0),
        found.layers[1].index(3),
    ]
    assert found.layers[0].index(0) == found.layers[1].index(3)
