"""corosync.conf as text: values by dotted path, changed in place; comments and order stay. Pure.

A path names sections and a key, `totem.cluster_name`. Where several sections have one name a number says
which, from 0: `nodelist.node.1.ring0_addr`; without it all are meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hacluster.digits import is_count
from hacluster.errors import InvalidDocument, InvalidRequest, NotFound

_OPENS: Final = re.compile(r"\s*([\w.-]+)\s*\{\s*")
_PAIR: Final = re.compile(r"(\s*)([\w.-]+)(\s*:\s*)(.*?)\s*")
_NAME: Final = re.compile(r"[A-Za-z_][\w-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One key's line: the sections it stands in with their numbers, and its value."""

    line: int
    sections: tuple[tuple[str, int], ...]
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    sections: tuple[tuple[str, int], ...]
    start: int  # the line that opens it
    end: int  # the line of its closing brace


def get(text: str, path: str, *, source: str = "corosync.conf") -> tuple[str, ...]:
    """The values of a path, in order. Raises InvalidDocument, InvalidRequest."""
    wanted = _wanted(path)
    return tuple(
        one.value for one in _read(text, source)[0] if _fits(one.sections, wanted[:-1], one.key, wanted)
    )


def check(text: str, *, source: str = "corosync.conf") -> None:
    """Raises InvalidDocument for what corosync would not read."""
    _read(text, source)


def put(text: str, path: str, value: str, *, source: str = "corosync.conf") -> str:
    """The text with another value: changed where it stands, else added to its section.

    Raises InvalidDocument, InvalidRequest (several are meant), NotFound (no such section).
    """
    wanted = _wanted(path)
    if not value or not value.isprintable() or value != value.strip() or value[-1] in "{}":
        raise InvalidRequest(what=f"{value[:80]!r} cannot be a value of {source}")
    places, known = _read(text, source)
    found = [one for one in places if _fits(one.sections, wanted[:-1], one.key, wanted)]
    lines = text.splitlines()
    if len(found) > 1:
        raise InvalidRequest(what=f"{path} stands {len(found)} times", remedy=_which(wanted))
    if found:
        match = _PAIR.fullmatch(lines[found[0].line])
        assert match is not None
        lines[found[0].line] = f"{match[1]}{match[2]}{match[3]}{value}"
        return "\n".join(lines) + "\n"
    homes = [one for one in known if _matches(one.sections, wanted[:-1])]
    if len(homes) > 1:
        raise InvalidRequest(what=f"{path}: {len(homes)} sections could have it", remedy=_which(wanted))
    if homes:
        indent = "\t" * len(homes[0].sections)
        lines.insert(homes[0].end, f"{indent}{wanted[-1][0]}: {value}")
    elif len(wanted) == 2:
        lines += ["", f"{wanted[0][0]} {{", f"\t{wanted[1][0]}: {value}", "}"]
    else:
        raise NotFound(kind="section", name=path.rpartition(".")[0])
    return "\n".join(lines) + "\n"


def sections(text: str, path: tuple[str, ...], *, source: str = "corosync.conf") -> list[dict[str, str]]:
    """Keys and values of each section of that path, in order; the last value of a key counts."""
    places, found = _read(text, source)
    numbers = sorted(
        (one for one in found if tuple(name for name, _ in one.sections) == path), key=lambda one: one.start
    )
    return [{place.key: place.value for place in places if place.sections == one.sections} for one in numbers]


def has_section(text: str, path: tuple[str, ...], *, source: str = "corosync.conf") -> bool:
    """Whether there is one."""
    return bool(sections(text, path, source=source))


def insert_section(
    text: str, path: tuple[str, ...], name: str, lines: list[str], *, source: str = "corosync.conf"
) -> str:
    """With a new section at the end of the first one of that path. Raises NotFound, InvalidDocument."""
    home = _nth(text, path, 0, source)
    indent = "\t" * len(path)
    written = text.splitlines()
    written[home.end : home.end] = [
        f"{indent}{name} {{",
        *(f"{indent}\t{line}" for line in lines),
        f"{indent}}}",
    ]
    return "\n".join(written) + "\n"


def remove_section(text: str, path: tuple[str, ...], index: int, *, source: str = "corosync.conf") -> str:
    """Without the section of that path and number. Raises NotFound, InvalidDocument."""
    gone = _nth(text, path, index, source)
    lines = text.splitlines()
    del lines[gone.start : gone.end + 1]
    return "\n".join(lines) + "\n"


def remove_key(
    text: str, path: tuple[str, ...], index: int, key: str, *, source: str = "corosync.conf"
) -> str:
    """Without a key of that section; unchanged where it has none. Raises NotFound, InvalidDocument."""
    home = _nth(text, path, index, source)
    gone = {one.line for one in _read(text, source)[0] if one.sections == home.sections and one.key == key}
    return "\n".join(line for number, line in enumerate(text.splitlines()) if number not in gone) + "\n"


def _nth(text: str, path: tuple[str, ...], index: int, source: str) -> _Section:
    found = sorted(
        (one for one in _read(text, source)[1] if tuple(name for name, _ in one.sections) == path),
        key=lambda one: one.start,
    )
    if index >= len(found):
        raise NotFound(kind="section", name=".".join(path))
    return found[index]


def _which(wanted: tuple[tuple[str, int | None], ...]) -> str:
    names = [name for name, _ in wanted]
    return f"say which, from 0: {'.'.join([*names[:-1], '0', names[-1]])}"


def _wanted(path: str) -> tuple[tuple[str, int | None], ...]:
    """Names with the number that follows them, the key last."""
    parts: list[tuple[str, int | None]] = []
    for word in path.split("."):
        if is_count(word) and parts and parts[-1][1] is None:
            parts[-1] = (parts[-1][0], int(word))
        elif _NAME.fullmatch(word):
            parts.append((word, None))
        else:
            raise InvalidRequest(what=f"{path!r} is no path", remedy="as totem.cluster_name")
    if len(parts) < 2 or parts[-1][1] is not None:
        raise InvalidRequest(what=f"{path!r} names no key of a section", remedy="as totem.cluster_name")
    return tuple(parts)


def _matches(sections: tuple[tuple[str, int], ...], wanted: tuple[tuple[str, int | None], ...]) -> bool:
    return len(sections) == len(wanted) and all(
        name == word and number in (None, which)
        for (name, which), (word, number) in zip(sections, wanted, strict=True)
    )


def _fits(
    sections: tuple[tuple[str, int], ...],
    wanted_sections: tuple[tuple[str, int | None], ...],
    key: str,
    wanted: tuple[tuple[str, int | None], ...],
) -> bool:
    return key == wanted[-1][0] and _matches(sections, wanted_sections)


def _read(text: str, source: str) -> tuple[list[Place], list[_Section]]:
    places: list[Place] = []
    closed: list[_Section] = []
    stack: list[tuple[str, int]] = []
    starts: list[int] = []
    counts: dict[tuple[tuple[tuple[str, int], ...], str], int] = {}
    for number, line in _meaningful(text):
        opened = _OPENS.fullmatch(line)
        pair = _PAIR.fullmatch(line)
        if opened is not None:
            key = (tuple(stack), opened[1])
            counts[key] = counts.get(key, -1) + 1
            stack.append((opened[1], counts[key]))
            starts.append(number)
        elif line.strip() == "}" and stack:
            closed.append(_Section(sections=tuple(stack), start=starts.pop(), end=number))
            stack.pop()
        elif pair is not None and stack:
            places.append(Place(line=number, sections=tuple(stack), key=pair[2], value=pair[4]))
        else:
            raise InvalidDocument(
                source=source,
                line=number + 1,
                what=f"{line.strip()[:80]!r} is not understood",
                remedy="mend it",
            )
    if stack:
        raise InvalidDocument(
            source=source, line=len(text.splitlines()), what=f"{stack[-1][0]} is not closed", remedy="add }"
        )
    return places, closed


def _meaningful(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines()):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line
