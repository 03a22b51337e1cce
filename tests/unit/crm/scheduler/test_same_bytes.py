"""Nothing that is computed depends on the order of a set: see tests.same_bytes."""

from __future__ import annotations

import pytest

from tests.same_bytes import TIMES, differing


def test_three_seeds_give_the_same_bytes() -> None:
    assert differing(3) == []


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_a_hundred_seeds_give_the_same_bytes() -> None:
    assert differing(TIMES) == []
