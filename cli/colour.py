"""Colours: on a terminal, unless NO_COLOR, `-D plain` or the user's own option say no."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, TextIO

from cli import user_options

if TYPE_CHECKING:
    from cli.context import Context

RED: Final = "\x1b[31m"
YELLOW: Final = "\x1b[33m"
BOLD: Final = "\x1b[1m"
PLAIN: Final = "\x1b[0m"
_OBJECT: Final = re.compile(r"([a-z_]+) \S")
_BAD: Final = re.compile(
    r"\b(FAILED|UNCLEAN|OFFLINE|RemoteOFFLINE|BLOCKED|blocked|STOPPED|ORPHANED|NONE|DISABLED)\b"
    r"|WITHOUT quorum| returned '"
)
_ODD: Final = re.compile(
    r"\b(standby|maintenance|unmanaged|disabled|pending|Starting|Stopping|Promoting|Demoting|Migrating)\b"
)


def wanted(context: Context, stream: TextIO) -> bool:
    """Whether what goes there is to be coloured."""
    way = context.options.display
    if way == "color-always":
        return True
    if way in ("plain", "uppercase") or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty() and (way == "color" or user_options.value("output") == "color")


def status(text: str) -> str:
    """A status: headings bold, what is wrong red, what somebody switched off or is under way yellow."""
    return "\n".join(_line(line) for line in text.split("\n"))


def definitions(text: str) -> str:
    """What `configure show` prints: each object's first line bold. XML and comments stay as they are."""
    lines = text.split("\n")
    inside = False  # an object goes on in the next line
    for at, line in enumerate(lines):
        found = None if inside else _OBJECT.match(line)
        if found is not None and found[1] != "xml":
            lines[at] = f"{BOLD}{line}{PLAIN}"
        inside = line.endswith("\\")
    return "\n".join(lines)


def _line(line: str) -> str:
    if line.endswith(":") and not line.startswith(" "):
        return f"{BOLD}{line}{PLAIN}"
    mark = RED if _BAD.search(line) else YELLOW if _ODD.search(line) else ""
    return f"{mark}{line}{PLAIN}" if mark else line
