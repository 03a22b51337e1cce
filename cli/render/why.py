"""An explanation as text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crm.explain.facts import Explanation, Fact


def text(explained: Explanation) -> str:
    """The answer, the facts in order, then what would change it."""
    lines = [explained.answer, *_facts(explained.facts, 1)]
    if explained.remedies:
        lines += ["", "To change that:"]
        for remedy in explained.remedies:
            lines += [f"  {command}" for command in remedy.commands]
            lines.append(f"      then {remedy.outcome} (the scheduler was asked)")
    elif explained.tried:
        lines += [
            "",
            f"No single command or pair of those that apply would change that ({explained.tried} tried).",
        ]
    return "\n".join(lines)


def _facts(facts: tuple[Fact, ...], depth: int) -> Iterator[str]:
    for fact in facts:
        yield f"{'  ' * depth}* {fact.text}"
        yield from _facts(fact.details, depth + 1)


def as_data(explained: Explanation) -> dict[str, Any]:
    """The same for programs, as `cli.formats` describes it."""
    return {
        "subject": explained.subject,
        "answer": explained.answer,
        "facts": [_fact(fact) for fact in explained.facts],
        "remedies": [
            {"commands": list(remedy.commands), "outcome": remedy.outcome} for remedy in explained.remedies
        ],
        "tried": explained.tried,
    }


def _fact(fact: Fact) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": fact.kind, "text": fact.text}
    if fact.node:
        found["node"] = fact.node
    if fact.origin:
        found["origin"] = fact.origin
    if fact.score is not None:
        found["score"] = fact.score
    if fact.details:
        found["details"] = [_fact(one) for one in fact.details]
    return found
