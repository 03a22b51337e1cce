"""Random choices for one CIB: a generator, the features switched on for it, and fresh ids.

Each feature is on or off for a whole CIB ("swarm testing"): a few features in one document, used often, meet
each other in more ways than all of them, each used rarely.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

from crm.cib.model import Element, element

Item = TypeVar("Item")

SHARES = (0.1, 0.2, 0.3)
"""Shares of the features that are on in one CIB, by seed, unless one share is asked for.

What two features do to each other shows best where few others are on; some things need many of them.
"""


def share_of(seed: int) -> float:
    """The share of the features that a seed has on by itself."""
    return SHARES[seed % len(SHARES)]


class Draw:
    """All choices of one seed; equal seeds give equal choices."""

    def __init__(self, seed: int, share: float | None = None) -> None:
        self.rng = random.Random(seed)
        self._seed = seed
        self._number = 0
        self._on: dict[str, bool] = {}
        self._share = share_of(seed) if share is None else share

    def on(self, feature: str) -> bool:
        """Whether the feature is on in this CIB; does not depend on what was asked before."""
        if feature not in self._on:
            self._on[feature] = random.Random(f"{self._seed}/{feature}").random() < self._share
        return self._on[feature]

    def may(self, feature: str, chance: float) -> bool:
        """Use the feature here? `chance` holds where it is on."""
        rolled = self.rng.random() < chance
        return rolled and self.on(feature)

    def chance(self, chance: float) -> bool:
        """True in that share of the calls."""
        return self.rng.random() < chance

    def pick(self, choices: Sequence[Item]) -> Item:
        """One of them."""
        return self.rng.choice(choices)

    def number(self, low: int, high: int) -> int:
        """A number between the two, both included."""
        return self.rng.randint(low, high)

    def some(self, choices: Sequence[Item], count: int) -> list[Item]:
        """Up to `count` different ones, in random order."""
        return self.rng.sample(choices, min(count, len(choices)))

    def id(self, prefix: str) -> str:
        """An id that was not used yet."""
        self._number += 1
        return f"{prefix}{self._number}"

    def values(self, table: Sequence[tuple[str, str, Sequence[str], float]]) -> dict[str, str]:
        """Name to value for rows of (feature, name, choices, chance)."""
        return {
            name: self.pick(choices) for feature, name, choices, chance in table if self.may(feature, chance)
        }

    def pairs(self, tag: str, owner: str, values: Mapping[str, str]) -> tuple[Element, ...]:
        """A set of nvpairs, or nothing where there are no values."""
        return (nvset(tag, self.id(f"{owner}-{tag}-"), values),) if values else ()


def nvset(tag: str, set_id: str, values: Mapping[str, str], *rules: Element) -> Element:
    """`<tag id><rule…/><nvpair name value/>…</tag>`."""
    pairs = (
        element("nvpair", {"id": f"{set_id}-{index}", "name": name, "value": value})
        for index, (name, value) in enumerate(values.items())
    )
    return element(tag, {"id": set_id}, *rules, *pairs)
