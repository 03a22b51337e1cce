"""What a user prefers, in a file of his own: read at every start, so cheap, and never an error.

What crmsh's files say holds where that file is silent: /etc/crm/crm.conf, and the user's, which wins.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from hacluster.paths import ROOT_VARIABLE

KNOWN: Final[Mapping[str, tuple[str, str]]] = {
    "editor": ("", "the program that `edit` starts; empty: $VISUAL, $EDITOR, vi"),
    "output": ("color", "plain or color: colours on a terminal, unless NO_COLOR is set"),
    "sort-elements": ("yes", "whether `show` sorts objects, or has them in the order of the CIB"),
    "wait": ("no", "as -w for every command"),
    "wait-time": ("120s", "how long -w waits"),
    "safe": ("no", "as --safe for every command"),
}
# Of crmsh's options those that mean the same here. Not core.force: -F is for the one command it is given to.
_CRMSH: Final = {
    ("core", "editor"): "editor",
    ("core", "sort_elements"): "sort-elements",
    ("core", "wait"): "wait",
    ("color", "style"): "output",
}
_CRMSH_STYLES: Final = {"uppercase": "plain", "color-always": "color"}
_BOOLEAN: Final = ("sort-elements", "wait", "safe")


def path() -> Path:
    """The file; NAME=VALUE lines."""
    return _config() / "hacluster/hacli.conf"


def _config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def read() -> dict[str, str]:
    """What holds: what was set here, else what crmsh's files say."""
    system = Path(os.environ.get(ROOT_VARIABLE) or "/") / "etc/crm/crm.conf"
    return _of_crmsh(lambda: system) | _of_crmsh(lambda: _config() / "crm/crm.conf") | own()


def _lines(place: Callable[[], Path]) -> list[str]:
    try:
        return place().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, RuntimeError):  # RuntimeError: there is no home
        return []


def _of_crmsh(place: Callable[[], Path]) -> dict[str, str]:
    """The options of an ini file of crmsh that hacli has as well, under its names."""
    found: dict[str, str] = {}
    section = ""
    for line in _lines(place):
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
            continue
        at = min((at for mark in "=:" if (at := line.find(mark)) > 0), default=0)
        name = _CRMSH.get((section, line[:at].strip().lower()))
        text = line[at + 1 :].strip()
        if name == "output":
            text = _CRMSH_STYLES.get(text, text)
        if name is None or text.startswith("$") or problem(name, text):  # $EDITOR: what holds anyhow
            continue
        found[name] = text
    return found


def own() -> dict[str, str]:
    """What was set here; what is not known or cannot be read is left out."""
    pairs = (line.partition("=") for line in _lines(path))
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
