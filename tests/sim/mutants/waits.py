"""Broken rules of wait_for_all."""

from __future__ import annotations

import pytest

from crm.cib.replication.basis import Basis
from tests.sim import waits
from tests.sim.cib_mutants import CibMutant


def _by_votes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(waits, "ends_waiting", lambda dc: dc.established and dc.basis is not None and dc.basis.safe)


def _by_decree_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(waits, "ends_waiting", lambda dc: dc.established and dc.basis is Basis.FORCED)


MUTANTS = (
    CibMutant(
        what="a DC that waits for all ends its members' waiting", scenario="full3-wait", break_it=_by_votes
    ),
    CibMutant(
        what="who joins a DC that acts waits for all", scenario="full3-wait", break_it=_by_decree_alone
    ),
)
