"""The order in which nodes are preferred for a resource."""

from __future__ import annotations

from crm.scheduler.activity import is_available
from crm.scheduler.model import Entry, Node, Resource
from crm.scheduler.scores import INFINITY
from crm.scheduler.table_order import merge_sorted, table_order


def compare_capacity(left: Node, right: Node) -> int:
    """Negative if the first node is freer: one point for each attribute of which it has more."""
    result = 0
    for name, value in left.utilization.items():
        other = right.utilization.get(name, 0)
        result += (value < other) - (value > other)
    for name, value in right.utilization.items():
        if name not in left.utilization:
            result += (value > 0) - (value < 0)
    return result


def sorted_entries(resource: Resource, current: Node | None, strategy: str = "default") -> list[Entry]:
    """The allowed nodes: score, (free capacity,) fewest assigned resources, the current one, name."""
    if strategy == "balanced":
        # Points for capacities are no order where each of three nodes is freer than the next.
        met = [resource.allowed[key] for key in reversed(table_order(tuple(resource.allowed)))]
        return sorted_as_met(met, current, strategy)
    return sorted_as_met(list(resource.allowed.values()), current, strategy)


def first_entries(resource: Resource, current: Node | None, strategy: str) -> list[Entry]:
    """The first two (or fewer) of `sorted_entries`: a clone meets many nodes, most of them banned."""
    if strategy in {"minimal", "balanced"}:
        return sorted_entries(resource, current, strategy)[:2]
    first: Entry | None = None
    second: Entry | None = None
    best = runner_up = (INFINITY + 1, 0, False, "")
    for entry in resource.allowed.values():
        node = entry.node
        rank = -entry.score
        if rank > runner_up[0]:
            continue
        if rank < INFINITY and not is_available(node):
            rank = INFINITY
        key = (rank, node.assigned_count, node is not current, node.name)
        if key < best:
            second, runner_up = first, best
            first, best = entry, key
        elif key < runner_up:
            second, runner_up = entry, key
    return [one for one in (first, second) if one is not None]


def sorted_as_met(entries: list[Entry], current: Node | None, strategy: str) -> list[Entry]:
    """The entries sorted as `sorted_entries` does; where capacities go in a circle the given order counts."""

    def score(entry: Entry) -> int:
        return -entry.score if is_available(entry.node) else INFINITY

    if strategy == "minimal":
        return sorted(entries, key=lambda one: (score(one), one.node.name))
    if strategy != "balanced":
        # Names order by code points as their bytes in UTF-8 do.
        return sorted(
            entries,
            key=lambda one: (score(one), one.node.assigned_count, one.node is not current, one.node.name),
        )

    def compare(left: Entry, right: Entry) -> int:
        first, second = score(left), score(right)
        if first != second:
            return -1 if first < second else 1
        free = compare_capacity(left.node, right.node)
        if free:
            return free
        a = (left.node.assigned_count, left.node is not current, left.node.name)
        b = (right.node.assigned_count, right.node is not current, right.node.name)
        return (a > b) - (a < b)

    return merge_sorted(entries, compare)
