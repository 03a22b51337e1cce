"""Nodes lose each other, and there is a power switch: nothing runs twice (more: tests.soak.fence_races)."""

from __future__ import annotations

import pytest

from tests.soak.fence_races import isolated, outvoted, run

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.alone]


@pytest.mark.timeout(240)
def test_exactly_one_survives_a_split() -> None:
    assert len(run(rounds=2, seed=7)) == 2


@pytest.mark.timeout(120)
def test_the_worse_connected_one_waits_though_it_is_dc() -> None:
    """isolated-delay: without it who was DC shoots first."""
    dc, shot = isolated(seed=11)
    assert shot == [dc]


@pytest.mark.timeout(120)
def test_one_of_three_is_shot_before_the_others_start_anything() -> None:
    assert outvoted(seed=13) == ["n1"]
