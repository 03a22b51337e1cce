"""What an explanation consists of: sentences with their origin, and commands that change the outcome."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One sentence. `origin`: the id of the constraint, rule, resource or option it comes from.

    `score`: what a contribution adds or, for a fact about a node, the sum. `details` are the facts below it.
    """

    kind: str
    text: str
    node: str = ""
    origin: str = ""
    score: int | None = None
    details: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """Commands that, one after the other, lead to `outcome`; the scheduler was asked."""

    commands: tuple[str, ...]
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer to one question. `tried`: changes the scheduler was asked about."""

    subject: str
    answer: str
    facts: tuple[Fact, ...] = ()
    remedies: tuple[Remedy, ...] = field(default=())
    tried: int = 0


def listed(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
