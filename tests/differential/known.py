"""Recognise a disagreement as changes of Pacemaker since 2.1.5: by putting 2.1.5's rules back.

A disagreement counts as known only if our scheduler with a few of `old_rules.CHANGES` undone gives exactly
the actions of the reference; a difference that merely looks similar stays open. So does one that only many
explain together: the more may be chosen, the likelier some choice fits by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from crm.cib.model import Element
from tests.differential.old_rules import CHANGES, Change, old_rules
from tests.differential.oracle import Actions, Decision, decide

CHANGES_MAX = 4
"""How many changes may explain one disagreement together."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The fewest changes that explain a difference; `scores`: whether the scores are then the same, too."""

    changes: tuple[Change, ...]
    scores: bool

    def __str__(self) -> str:
        return " + ".join(change.name for change in self.changes)


def known_change(cib: Element, wanted: Actions, scores: frozenset[str] = frozenset()) -> Explanation | None:
    """None when nothing explains it. Of as many changes, those that give the scores as well are preferred."""
    relevant = tuple(_relevant(cib))
    for size in range(1, CHANGES_MAX + 1):
        fitting = [
            Explanation(chosen, decision.scores == scores)
            for chosen, decision in _decisions(cib, combinations(relevant, size))
            if decision.actions == wanted
        ]
        if fitting:
            return max(fitting, key=lambda one: one.scores)  # the first of equals
    return None


def _relevant(cib: Element) -> Iterator[Change]:
    """Those that make a difference here, put back alone, or left out when all others are put back."""
    today, old = _decide(cib, ()), _decide(cib, CHANGES)
    for change in CHANGES:
        others = tuple(one for one in CHANGES if one is not change)
        if _decide(cib, (change,)) != today or _decide(cib, others) != old:
            yield change


def _decisions(
    cib: Element, choices: Iterable[Sequence[Change]]
) -> Iterator[tuple[tuple[Change, ...], Decision]]:
    for chosen in choices:
        yield tuple(chosen), _decide(cib, chosen)


def _decide(cib: Element, changes: Sequence[Change]) -> Decision:
    with old_rules(changes):
        return decide(cib)
