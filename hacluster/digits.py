"""Whether a text that people or peers wrote is a plain number, so that reading it cannot fail."""

from __future__ import annotations

from typing import Final

DIGITS_MAX: Final = 18
"""What always fits 64 bits; `int` itself refuses texts of more than 4300 digits."""


def is_count(text: str) -> bool:
    """ASCII digits only (`str.isdigit` takes "²" too, which `int` refuses), at most `DIGITS_MAX` of them."""
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
