from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hacluster.durations import parse_ms, render_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [("6", 6_000), ("1500ms", 1_500), ("2min", 120_000), ("1.5s", 1_500), ("0", 0), ("1h", 3_600_000)],
)
def test_units(text: str, ms: int) -> None:
    assert parse_ms(text) == ms


@pytest.mark.parametrize("text", ["", "ms", "-1", "5 parsecs", "1,5s"])
def test_bad_text_names_the_units(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_ms(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_render_and_parse_are_inverse(value_ms: int) -> None:
    assert parse_ms(render_ms(value_ms)) == value_ms
