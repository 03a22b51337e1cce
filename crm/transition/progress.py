"""What people see of a transition that runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """For people: how far the transition is."""

    actions: int
    done: int
    running: tuple[str, ...]
    waits: tuple[str, ...]
    state: str
