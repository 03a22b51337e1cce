from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hacluster.durations import MS_MAX, parse_ms, render_ms


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


@pytest.mark.parametrize("text", ["9" * 400 + "h", "9" * 25 + "s", "P" + "9" * 30 + "Y"])
def test_what_no_timer_and_no_message_can_hold_is_as_much_as_they_can(text: str) -> None:
    assert parse_ms(text) == MS_MAX


@given(st.integers(min_value=0, max_value=10**12))
def test_render_and_parse_are_inverse(value_ms: int) -> None:
    assert parse_ms(render_ms(value_ms)) == value_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("PT1M", 60_000),
        ("PT1M30S", 90_000),
        ("P1DT2H", 93_600_000),
        ("P2W", 1_209_600_000),
        ("P1M", 2_592_000_000),
    ],
)
def test_iso_8601(text: str, ms: int) -> None:
    assert parse_ms(text) == ms


@pytest.mark.parametrize("text", ["P", "PT", "PT1.5S", "P1H", "PT1D", "P1D2H", "Px"])
def test_what_iso_8601_does_not_know(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        parse_ms(text)
