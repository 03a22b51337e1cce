"""A layered drawing of a directed graph, left to right: Sugiyama's method. Pure; knows nothing of pictures.

Layers are longest paths, sources moved right as far as they can go; an arrow over several layers gets a
waypoint in each; within a layer the order is by medians of neighbours, the best of several sweeps by the
number of crossings (inversions); heights are the ordered least-squares fit to those of the neighbours (pool
adjacent violators).
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

SWEEPS = 10
ALIGNMENTS = 12


@dataclass(slots=True)
class Layout:
    """Where everything is: items by layer in order, the height of each item's middle, each arrow's way.

    Items below zero are waypoints.
    """

    layers: list[list[int]] = field(default_factory=list)
    middle: dict[int, float] = field(default_factory=dict)
    ways: dict[tuple[int, int], list[int]] = field(default_factory=dict)


def layout(inputs: Mapping[int, Iterable[int]], heights: Mapping[int, float], gap: float) -> Layout:
    """`inputs`: what each item waits for; `heights` of the items; `gap` between two of a layer."""
    edges = acyclic(inputs)
    edges = reduced(edges)
    layer_of = _layer_numbers(edges)
    found = Layout()
    neighbours = _with_waypoints(edges, layer_of, found)
    _order(found.layers, neighbours)
    _align(found, neighbours, heights, gap)
    return found


Edges = dict[int, list[int]]  # what each item waits for


def acyclic(inputs: Mapping[int, Iterable[int]]) -> Edges:
    """Without unknown items, repetitions, and arrows that close a circle (found depth first)."""
    edges = {
        one: [other for other in dict.fromkeys(befores) if other in inputs] for one, befores in inputs.items()
    }
    state: dict[int, int] = {}
    for start in edges:
        if start in state:
            continue
        state[start] = 1
        stack = [(start, iter(list(edges[start])))]
        while stack:
            here, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[here] = 2
                stack.pop()
            elif state.get(following) == 1:
                edges[here].remove(following)
            elif following not in state:
                state[following] = 1
                stack.append((following, iter(list(edges[following]))))
    return edges


def in_order(edges: Edges) -> list[int]:
    """Every item after what it waits for."""
    missing = {one: len(befores) for one, befores in edges.items()}
    after = _reversed(edges)
    ready = [one for one, count in missing.items() if not count]
    for one in ready:  # grows while it is walked
        for other in after[one]:
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    return ready


def _reversed(edges: Edges) -> Edges:
    after: Edges = {one: [] for one in edges}
    for one, befores in edges.items():
        for before in befores:
            after[before].append(one)
    return after


def reduced(edges: Edges) -> Edges:
    """Without arrows that follow from others (transitive reduction); bits stand for items."""
    bit = {one: 1 << number for number, one in enumerate(edges)}
    above: dict[int, int] = {}
    found: Edges = {one: [] for one in edges}
    for one in in_order(edges):
        indirect = 0
        for before in edges[one]:
            indirect |= above[before]
        found[one] = [before for before in edges[one] if not bit[before] & indirect]
        above[one] = indirect
        for before in edges[one]:
            above[one] |= bit[before]
    return found


def _layer_numbers(edges: Edges) -> dict[int, int]:
    order = in_order(edges)
    number: dict[int, int] = {}
    for one in order:
        number[one] = max((number[before] + 1 for before in edges[one]), default=0)
    after = _reversed(edges)
    for one in reversed(order):
        if not edges[one] and after[one]:
            number[one] = min(number[other] for other in after[one]) - 1
    return number


def _with_waypoints(
    edges: Edges, layer_of: dict[int, int], found: Layout
) -> dict[int, tuple[list[int], list[int]]]:
    """Fills layers and ways; returns the neighbours to the left and right of everything."""
    count = max(layer_of.values(), default=-1) + 1
    found.layers = [[] for _ in range(count)]
    neighbours: dict[int, tuple[list[int], list[int]]] = {one: ([], []) for one in edges}
    for one in edges:
        found.layers[layer_of[one]].append(one)
    waypoint = 0
    for after, befores in edges.items():
        for before in befores:
            way = [before]
            for layer in range(layer_of[before] + 1, layer_of[after]):
                waypoint -= 1
                neighbours[waypoint] = ([], [])
                found.layers[layer].append(waypoint)
                way.append(waypoint)
            way.append(after)
            found.ways[before, after] = way
            for left, right in itertools.pairwise(way):
                neighbours[left][1].append(right)
                neighbours[right][0].append(left)
    return neighbours


# --- order


def _order(layers: list[list[int]], neighbours: Mapping[int, tuple[list[int], list[int]]]) -> None:
    place = {one: at for layer in layers for at, one in enumerate(layer)}
    best = [list(layer) for layer in layers]
    fewest = crossings(layers, neighbours)
    for sweep in range(SWEEPS):
        side = sweep % 2  # 0: by what is on the left, walking to the right
        for layer in layers if side == 0 else reversed(layers):
            wanted = {
                one: _median([place[other] for other in neighbours[one][side]], place[one]) for one in layer
            }
            layer.sort(key=lambda one: wanted[one])
            place.update((one, at) for at, one in enumerate(layer))
        _swap(layers, neighbours, place)
        count = crossings(layers, neighbours)
        if count < fewest:
            fewest, best = count, [list(layer) for layer in layers]
        if not count:
            break
    layers[:] = best


def _median(places: list[int], otherwise: int) -> float:
    if not places:
        return otherwise
    places.sort()
    half = len(places) // 2
    return places[half] if len(places) % 2 else (places[half - 1] + places[half]) / 2


def _swap(
    layers: list[list[int]], neighbours: Mapping[int, tuple[list[int], list[int]]], place: dict[int, int]
) -> None:
    """Exchange two that stand one above the other where that saves crossings."""
    for layer in layers:
        for at in range(len(layer) - 1):
            upper, lower = layer[at], layer[at + 1]
            now = later = 0
            for side in (0, 1):
                ups = [place[one] for one in neighbours[upper][side]]
                downs = [place[one] for one in neighbours[lower][side]]
                now += sum(up > down for up in ups for down in downs)
                later += sum(up < down for up in ups for down in downs)
            if later < now:
                layer[at], layer[at + 1] = lower, upper
                place[upper], place[lower] = at + 1, at


def crossings(layers: Sequence[Sequence[int]], neighbours: Mapping[int, tuple[list[int], list[int]]]) -> int:
    """Pairs of arrows between neighbouring layers that cross: inversions."""
    total = 0
    for layer, following in itertools.pairwise(layers):
        place = {one: at for at, one in enumerate(following)}
        seen: list[int] = []
        for one in layer:
            ends = sorted(place[other] for other in neighbours[one][1])
            for end in ends:
                total += len(seen) - bisect_left(seen, end + 1)
            for end in ends:
                insort(seen, end)
    return total


# --- heights


def _align(
    found: Layout,
    neighbours: Mapping[int, tuple[list[int], list[int]]],
    heights: Mapping[int, float],
    gap: float,
) -> None:
    middle = found.middle
    offsets: list[list[float]] = []
    for layer in found.layers:
        places: list[float] = []
        y = 0.0
        for one in layer:
            height = heights.get(one, 0.0)
            places.append(y + height / 2)
            middle[one] = y + height / 2
            y += height + gap
        offsets.append(places)
    for number in range(ALIGNMENTS):
        rightwards = number % 2 == 0
        pairs = list(zip(found.layers, offsets, strict=True))
        for layer, places in pairs if rightwards else reversed(pairs):
            sides: tuple[int, ...] = (0,) if rightwards else (1,)
            if number >= ALIGNMENTS - 2:
                sides = (0, 1)
            wanted: list[float] = []
            weights: list[float] = []
            for one, offset in zip(layer, places, strict=True):
                near = [middle[other] for side in sides for other in neighbours[one][side]]
                wanted.append((sum(near) / len(near) if near else middle[one]) - offset)
                straight = one < 0 or any(other < 0 for side in sides for other in neighbours[one][side])
                weights.append((4.0 if straight else 1.0) if near else 0.05)
            for one, offset, shift in zip(layer, places, fitted(wanted, weights), strict=True):
                middle[one] = offset + shift
    top = min((middle[one] - heights.get(one, 0.0) / 2 for one in middle), default=0.0)
    for one in middle:
        middle[one] -= top


def fitted(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The non-decreasing numbers nearest to those wanted: pool adjacent violators."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, how many
    for value, weight in zip(wanted, weights, strict=True):
        mean, total, count = value, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, other_weight, other_count = blocks.pop()
            mean = (mean * total + other * other_weight) / (total + other_weight)
            total += other_weight
            count += other_count
        blocks.append((mean, total, count))
    return [mean for mean, _, count in blocks for _ in range(count)]
