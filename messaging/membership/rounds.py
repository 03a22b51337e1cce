"""A proposal on its way: who has answered what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from messaging.membership.events import Accept, Install, Propose, ViewMember

RESEND_NS: Final = 50_000_000
STRIKES_MAX: Final = 2


class Strikes:
    """How often a proposal has failed on an edge since the last view."""

    def __init__(self) -> None:
        self._strikes: dict[tuple[int, int], int] = {}

    def struck(self, edge: tuple[int, int]) -> bool:
        """One more failure on an edge; whether it has had its chances."""
        self._strikes[edge] = self._strikes.get(edge, 0) + 1
        return self._strikes[edge] >= STRIKES_MAX

    def forgive(self, edge: tuple[int, int]) -> None:
        """It works."""
        self._strikes.pop(edge, None)

    def clear(self) -> None:
        """A new view, new chances."""
        self._strikes.clear()


@dataclass(slots=True)
class Round:
    """A proposal of ours on its way."""

    propose: Propose
    started_ns: int
    token: int
    next_send_ns: int
    promised: bool = False  # by our own disk
    accepts: dict[int, Accept] = field(default_factory=dict)
    install: Install | None = None
    installed: set[int] = field(default_factory=set)
    sends: int = 0

    def waiting(self, own: int) -> tuple[ViewMember, ...]:
        """The other members that have not answered what was sent last."""
        answered = self.accepts if self.install is None else self.installed
        return tuple(m for m in self.propose.members if m.id != own and m.id not in answered)
