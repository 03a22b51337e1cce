"""A proposal on its way: who has answered what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from messaging.membership.events import Accept, Install, Propose, ViewMember

RESEND_NS: Final = 50_000_000
STRIKES_MAX: Final = 2
PATIENT_TIMES: Final = 3
"""So often a node that has not answered is tried again at once: it may only be slow."""
DOUBLINGS_MAX: Final = 6


class Strikes:
    """How often a proposal has failed on an edge since the last view."""

    def __init__(self) -> None:
        self._strikes: dict[tuple[int, int], int] = {}
        self._silent: dict[tuple[int, int], tuple[int, int]] = {}  # run of the other end, times left out

    def struck(self, edge: tuple[int, int]) -> bool:
        """One more failure on an edge; whether it has had its chances."""
        self._strikes[edge] = self._strikes.get(edge, 0) + 1
        return self._strikes[edge] >= STRIKES_MAX

    def doublings(self, edge: tuple[int, int], incarnation: int) -> int:
        """How often to double the time for which a node that has not answered again is left out.

        One whose disk hangs is heard and never accepts; each try with it costs the others a view.
        """
        run, times = self._silent.get(edge, (incarnation, 0))
        times = times + 1 if run == incarnation else 1
        self._silent[edge] = (incarnation, times)
        return min(max(0, times - PATIENT_TIMES), DOUBLINGS_MAX)

    def forgive(self, edge: tuple[int, int]) -> None:
        """It works."""
        self._strikes.pop(edge, None)
        self._silent.pop(edge, None)

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
