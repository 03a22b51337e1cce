"""Regular expressions of the configuration, which are POSIX's: what they mean here. Pure."""

from __future__ import annotations

import re
from typing import Final

_CLASSES: Final = {
    "[:alnum:]": "A-Za-z0-9",
    "[:alpha:]": "A-Za-z",
    "[:blank:]": r" \t",
    "[:digit:]": "0-9",
    "[:lower:]": "a-z",
    "[:punct:]": r"!-/:-@\[-`{-~",
    "[:space:]": r"\s",
    "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9A-Fa-f",
}


def compiled(text: str) -> re.Pattern[str] | None:
    """To be searched for; None where it is no expression, which then fits nothing."""
    for name, characters in _CLASSES.items():
        text = text.replace(name, characters)
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError):  # a{99999999999}, and 5,000 brackets in each other
        return None
