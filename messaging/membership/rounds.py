"""A proposal on its way: who has answered what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from messaging.membership.events import Accept, CommittedQuorum, Install, Propose, Refuse, ViewMember
from messaging.membership.runs import Run

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


def all_accepted(
    propose: Propose, accepts: Mapping[int, Accept], quorum: CommittedQuorum, runs: tuple[Run, ...]
) -> Install:
    """What follows from all their words; `quorum` and `runs` are the newest that any of them knew before."""
    known = {run.node for run in runs if not run.left}
    return Install(
        id=propose.id,
        members=tuple(
            ViewMember(id=m.id, incarnation=m.incarnation, boot_token=accepts[m.id].boot_token)
            for m in propose.members
        ),
        hold_ns=max(accept.lease_rest_ns for accept in accepts.values()),
        quorum=quorum,
        runs=runs,
        forgetful=tuple(
            node for node, one in sorted(accepts.items()) if one.forgetful or (one.fresh and node in known)
        ),
    )


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

    def missing(self, sender: int, refuse: Refuse) -> list[int]:
        """The members that the sender of `refuse` does not hear."""
        members = (member.id for member in self.propose.members)
        return [node for node in members if node != sender and node not in refuse.hears]

    def waiting(self, own: int) -> tuple[ViewMember, ...]:
        """The other members that have not answered what was sent last."""
        answered = self.accepts if self.install is None else self.installed
        return tuple(m for m in self.propose.members if m.id != own and m.id not in answered)
