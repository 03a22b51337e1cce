"""Recognise a disagreement as changes of Pacemaker since 2.1.5: by putting 2.1.5's rules back.

A disagreement counts as known only if our scheduler with some of `old_rules.CHANGES` undone gives exactly the
reference's actions; a difference that merely looks similar stays open.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from crm.cib.model import Element
from tests.differential.old_rules import CHANGES, Change, old_rules
from tests.differential.oracle import Actions, ours


def known_change(cib: Element, wanted: Actions) -> str:
    """The names of the fewest changes found that explain the difference, joined by " + ", or ""."""
    changes = _explanation(cib, wanted)
    return " + ".join(change.name for change in changes)


def _explanation(cib: Element, wanted: Actions) -> Sequence[Change]:
    """One change alone; else all at once, less what is not needed; else step by step; else two of them."""
    left = {change.name: _distance(cib, wanted, (change,)) for change in CHANGES}
    for change in CHANGES:
        if not left[change.name]:
            return (change,)
    if not _distance(cib, wanted, CHANGES):
        return _needed(cib, wanted, CHANGES)
    chosen = _climbed(cib, wanted)
    if chosen:
        return _needed(cib, wanted, chosen)
    before = _distance(cib, wanted, ())
    some = [change for change in CHANGES if left[change.name] != before]
    for pair in itertools.combinations(some, 2):
        if not _distance(cib, wanted, pair):
            return pair
    return ()


def _needed(cib: Element, wanted: Actions, changes: Sequence[Change]) -> Sequence[Change]:
    """Without those whose absence makes no difference."""
    for change in changes:
        fewer = tuple(one for one in changes if one is not change)
        if not _distance(cib, wanted, fewer):
            changes = fewer
    return changes


def _climbed(cib: Element, wanted: Actions) -> Sequence[Change]:
    """From all changes and from none: undo or redo the one that brings it nearest, as long as one does."""
    for chosen in (CHANGES, ()):
        here = _distance(cib, wanted, chosen)
        while here:
            steps = [_toggled(chosen, change) for change in CHANGES]
            best, index = min((_distance(cib, wanted, step), number) for number, step in enumerate(steps))
            if best >= here:
                break
            here, chosen = best, steps[index]
        if not here:
            return chosen
    return ()


def _toggled(chosen: Sequence[Change], change: Change) -> tuple[Change, ...]:
    """In the order of CHANGES."""
    return tuple(one for one in CHANGES if (one in chosen) is not (one is change))


def _distance(cib: Element, wanted: Actions, changes: Sequence[Change]) -> int:
    """How many actions are missing or surplus with these rules put back."""
    with old_rules(changes):
        got = ours(cib)
    return (wanted - got).total() + (got - wanted).total()
