"""Wishes: what colocated resources would like adds, scaled down, to the scores of those they go with."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from crm.scheduler import scores
from crm.scheduler.activity import is_available
from crm.scheduler.colocation import (
    any_available,
    colocation_attribute,
    has_influence,
    this_with,
    with_this,
)
from crm.scheduler.model import Colocation, Entry, Resource, Table, Variant
from crm.scheduler.scores import INFINITY
from crm.scheduler.stages.location import apply_location
from crm.scheduler.tables import copy_table

# Modes, a bit each.
DEFAULT: Final = 0
ACTIVE: Final = 1
NONNEGATIVE: Final = 2
THIS_WITH: Final = 4

_UNUSABLE: Final = -INFINITY - 1000


def single(value: float) -> float:
    """The value in single precision, in which factors are computed."""
    result: float = struct.unpack("f", struct.pack("f", value))[0]
    return result


def factor_of(colocation: Colocation, scale: float = 1.0) -> float:
    """The share of a wish that a colocation's score lets through."""
    return single(single(scale * colocation.score) / INFINITY)


def add_wishes(
    source: Resource,
    target: Resource,
    table: Table | None,
    colocation: Colocation | None,
    factor: float,
    mode: int,
) -> Table | None:
    """The table with what `source` (and those colocated with it) would like; recursive.

    Without a table it starts from the source's own scores.
    """
    if source.updating_nodes:
        return table
    if source.variant is Variant.GROUP and source.children:
        member = source.children[-1 if table is None else 0]
        return add_wishes(member, target, table, colocation, factor, mode)
    source.updating_nodes = True
    try:
        return _add(source, target, table, colocation, factor, mode)
    finally:
        source.updating_nodes = False


def _add(
    source: Resource,
    target: Resource,
    table: Table | None,
    colocation: Colocation | None,
    factor: float,
    mode: int,
) -> Table | None:
    if table is None:
        work = copy_table(source.allowed)
        target = source
    elif not factor:
        # A long way down nothing is left of a wish, and neither of those further down.
        return _unusable_as_one(table) if mode & NONNEGATIVE and any_available(table) else table
    else:
        assert colocation is not None
        nonnegative = bool(mode & NONNEGATIVE)
        if _lends_locations(source, colocation):
            with _group_locations(source):
                work = _updated(source, target, table, colocation, factor, nonnegative=nonnegative)
        else:
            work = _updated(source, target, table, colocation, factor, nonnegative=nonnegative)
    if any_available(work):
        chosen = this_with(source) if mode & THIS_WITH else with_this(source)
        inner_mode = mode | ACTIVE
        for one in chosen:
            if mode & THIS_WITH:
                other = one.primary
            elif has_influence(one):
                other = one.dependent
            else:
                continue
            result = add_wishes(other, target, work, one, factor_of(one, factor), inner_mode)
            assert result is not None
            work = result
    elif mode & ACTIVE:
        return table
    if mode & NONNEGATIVE:
        return _unusable_as_one(work)
    return work


def _unusable_as_one(table: Table) -> Table:
    """What was put aside as unusable counts 1 after all."""
    work = table
    for key, entry in table.items():
        if entry.score == _UNUSABLE:
            work = dict(table) if work is table else work
            work[key] = one = entry.copy()
            one.replace(1, "unwelcome", entry.why[2] if entry.why is not None else "")
    return work


def _lends_locations(source: Resource, colocation: Colocation) -> bool:
    group = source.parent
    return (
        colocation.explicit
        and colocation.dependent is source
        and group is not None
        and group.variant is Variant.GROUP
        and source is not group.children[0]
    )


@contextmanager
def _group_locations(source: Resource) -> Iterator[None]:
    """Lend a later member its group's locations while its own colocation is looked at."""
    group = source.parent
    assert group is not None
    saved = source.allowed
    source.allowed = copy_table(saved)
    for location in reversed(group.locations):
        apply_location(source, location, location.scores)
    yield
    source.allowed = saved


def _updated(
    source: Resource,
    target: Resource,
    table: Table,
    colocation: Colocation,
    factor: float,
    *,
    nonnegative: bool,
) -> Table:
    """The table with the source's own wishes. Only entries that change are copied: most wish for nothing."""
    by_node = colocation.attribute == "#uname" and not (source.is_in_bundle() or target.is_in_bundle())
    allowed = source.allowed
    work = table
    for key, entry in table.items():
        if by_node and not entry.node.launcher and "#uname" in entry.node.attributes:
            own = allowed.get(key)
            best = own.score if own is not None and is_available(own.node) else -INFINITY
        else:
            best = _best_score(source, target, entry, colocation)
        if not best or not factor or entry.score == _UNUSABLE:
            continue  # adding nothing changes nothing
        new = _with_wish(entry.score, best, colocation, factor, nonnegative=nonnegative)
        if new == entry.score:
            continue
        work = dict(table) if work is table else work
        work[key] = changed = entry.copy()
        if new == _UNUSABLE:
            changed.replace(new, "unwelcome", colocation.id)
        else:
            changed.why = (new - entry.score, "wish", colocation.id, entry.why)
            changed.score = new
    return work


def _with_wish(score: int, best: int, colocation: Colocation, factor: float, *, nonnegative: bool) -> int:
    """A score with a wish added; `_UNUSABLE` where it must not become negative."""
    if factor < 0 and best < 0 and not _dislike_counts(colocation, best):
        return score
    wish = best if factor == 1.0 else single(factor * best)
    delta = int(wish - 0.5) if wish < 0 else int(wish + 0.5)
    if delta == 0:
        delta = 1 if factor > 0 else -1
    new = scores.add(score, max(-INFINITY, min(INFINITY, delta)))
    if nonnegative and new < 0 and score >= 0:
        return _UNUSABLE if score > 0 else score
    return new


def _best_score(source: Resource, target: Resource, entry: Entry, colocation: Colocation) -> int:
    name = colocation.attribute
    value = colocation_attribute(target, entry.node, name)
    best = -INFINITY
    for own in source.allowed.values():
        if (
            own.score > best
            and is_available(own.node)
            and colocation_attribute(source, own.node, name) == value
        ):
            best = own.score
    return best


def _dislike_counts(colocation: Colocation, best: int) -> bool:
    """A node both dislike is left alone, unless the dependent can be nowhere else."""
    if colocation.primary.stickiness >= -best or not has_influence(colocation):
        return False
    return sum(one.score >= 0 for one in colocation.dependent.allowed.values()) == 1
