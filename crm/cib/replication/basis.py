"""The basis of a DC's authority to commit."""

from __future__ import annotations

from enum import StrEnum


class Basis(StrEnum):
    """Why a DC may commit; each entry of the log names it."""

    MAJORITY = "majority"
    FENCED = "fenced"
    FORCED = "forced"
    ASSUMED = "assumed"
    UNQUORATE = "unquorate"
    CARETAKER = "caretaker"

    @property
    def safe(self) -> bool:
        """A safe commit is never lost; a provisional one may end up as an orphan, reported."""
        return self in (Basis.MAJORITY, Basis.FENCED, Basis.FORCED)
