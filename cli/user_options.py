"""What a user prefers, in a file of his own: read at every start, so cheap, and never an error."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

KNOWN: Final[Mapping[str, tuple[str, str]]] = {
    "editor": ("", "the program that `edit` starts; empty: $VISUAL, $EDITOR, vi"),
    "output": ("color", "plain or color: colours on a terminal, unless NO_COLOR is set"),
    "sort-elements": ("yes", "whether `show` sorts objects, or has them in the order of the CIB"),
    "wait": ("no", "as -w for every command"),
    "wait-time": ("120s", "how long -w waits"),
    "safe": ("no", "as --safe for every command"),
}
_BOOLEAN: Final = ("sort-elements", "wait", "safe")


def path() -> Path:
    """The file; NAME=VALUE lines."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return config / "hacluster/hacli.conf"


def read() -> dict[str, str]:
    """What was set; what is not known or cannot be read is left out."""
    try:
        lines = path().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return {}
    pairs = (line.partition("=") for line in lines)
    return {name.strip(): value.strip() for name, _equals, value in pairs if name.strip() in KNOWN}


def value(name: str) -> str:
    """What holds for one of them."""
    return read().get(name, KNOWN[name][0])


def is_on(name: str) -> bool:
    """One of the booleans."""
    return is_on_in(read(), name)


def is_on_in(given: Mapping[str, str], name: str) -> bool:
    """The same, of values that have been read."""
    return given.get(name, KNOWN[name][0]).lower() in ("yes", "true", "on", "1")


def problem(name: str, text: str) -> str:
    """Why that cannot be its value; empty when it can."""
    if name in _BOOLEAN and text.lower() not in ("yes", "no", "true", "false", "on", "off", "1", "0"):
        return "yes or no"
    if name == "output" and text not in ("plain", "color"):
        return "plain or color"
    if name == "wait-time":
        from hacluster.durations import parse_ms

        try:
            parse_ms(text)
        except ValueError as error:
            return str(error)
    return "" if text.isprintable() else "printable text"
