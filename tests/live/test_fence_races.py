"""Two nodes lose each other, with a power switch at hand: one survives (more: tests.soak.fence_races)."""

from __future__ import annotations

import pytest

from tests.soak.fence_races import run

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.alone]


@pytest.mark.timeout(240)
def test_exactly_one_survives_a_split() -> None:
    assert len(run(rounds=2, seed=7)) == 2
