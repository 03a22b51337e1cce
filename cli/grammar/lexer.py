"""Text of the configuration language -> logical lines -> words (hacli-language, "Lexical rules")."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hacluster.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One logical line. `number` is that of its first physical line, from 1; `comments` stood above it.

    `pieces`: where in `text` each physical line begins, its number, and the blanks in front of it.
    """

    number: int
    text: str
    comments: tuple[str, ...] = ()
    pieces: tuple[tuple[int, int, int], ...] = ()

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column (both from 1) in the file, of a place in the text."""
        found = (0, self.number, 0)
        for piece in self.pieces:
            if piece[0] > offset:
                break
            found = piece
        begin, number, blanks = found
        return number, offset - begin + blanks + 1

    @property
    def is_xml(self) -> bool:
        """The rest of the line is XML and is not split into words."""
        return self.text[:3].lower() == "xml" and self.text[3:4] in (" ", "\t", "<")

    @property
    def xml(self) -> str:
        """The XML text of an `xml` line, runs of white space collapsed."""
        return " ".join(self.text[3:].split())


class Unclosed(InvalidRequest):
    """A quote that is not closed; `at` is its place in the line, from 0."""

    at: int = 0


def logical_lines(text: str) -> tuple[Line, ...]:
    """Join continued lines (comments as well), drop empty ones, hand comments to the line below them."""
    lines: list[Line] = []
    comments: list[str] = []
    parts: list[str] = []
    pieces: list[tuple[int, int, int]] = []
    length = start = 0

    def close() -> None:
        nonlocal length
        joined = "".join(parts).strip()
        if joined.startswith("#"):
            comments.append(joined)
        elif joined:
            lines.append(Line(number=start, text=joined, comments=tuple(comments), pieces=tuple(pieces)))
            comments.clear()
        parts.clear()
        pieces.clear()
        length = 0

    for number, physical in enumerate(text.split("\n"), 1):
        stripped = physical.strip()
        if not parts:
            start = number
        if stripped not in ("", "\\"):  # what is missing at the end is missed behind the last word
            pieces.append((length, number, len(physical) - len(physical.lstrip())))
        goes_on = stripped.endswith("\\")
        parts.append(stripped[:-1] if goes_on else stripped)
        length += len(parts[-1])
        if not goes_on:
            close()
    close()
    return tuple(lines)


_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def unwritable(text: str) -> str:
    """The first character that XML cannot hold, as Python writes it; empty when there is none."""
    found = _UNWRITABLE.search(text)
    return "" if found is None else repr(found[0])


def split_words(text: str) -> tuple[str, ...]:
    """Split as a POSIX shell does, without expansions. Raises InvalidRequest for an open quote."""
    words: list[str] = []
    current: list[str] = []
    started = False
    position = 0
    while position < len(text):
        character = text[position]
        if character.isspace():
            if started:
                words.append("".join(current))
                current, started = [], False
            position += 1
            continue
        started = True
        if character in "'\"":
            position = _quoted(text, position, current)
        elif character == "\\" and position + 1 < len(text):
            current.append(text[position + 1])
            position += 2
        else:
            current.append(character)
            position += 1
    if started:
        words.append("".join(current))
    return tuple(words)


def word_columns(text: str) -> tuple[int, ...]:
    """Where each word of a line begins, from 0; nothing for a line that cannot be split."""
    columns: list[int] = []
    position, inside = 0, False
    while position < len(text):
        character = text[position]
        if character.isspace():
            inside = False
            position += 1
            continue
        if not inside:
            columns.append(position)
        inside = True
        if character in "'\"":
            try:
                position = _quoted(text, position, [])
            except InvalidRequest:
                return ()
        else:
            position += 2 if character == "\\" else 1
    return tuple(columns)


def _quoted(text: str, start: int, into: list[str]) -> int:
    """Read a quoted part that opens at `start`; the position after its closing quote."""
    quote = text[start]
    position = start + 1
    while position < len(text):
        character = text[position]
        if character == quote:
            return position + 1
        if quote == '"' and character == "\\" and text[position + 1 : position + 2] in ('"', "\\"):
            into.append(text[position + 1])
            position += 2
            continue
        into.append(character)
        position += 1
    raise Unclosed(
        what=f"the quote {quote} is not closed: {text[start : start + 40]}",
        remedy=f"add the closing {quote}, or put \\ before it",
        at=start,
    )


def quoted(value: str) -> str:
    """A value as `show` prints it: bare when it is word characters, "." and "-" only, else in quotes."""
    if value and all(character.isalnum() or character in "_.-" for character in value):
        return value
    return in_quotes(value)


def in_quotes(value: str) -> str:
    """Always in quotes. A backslash is doubled only where it would else escape what follows."""
    out: list[str] = []
    for position, character in enumerate(value):
        following = value[position + 1 : position + 2]
        if character == '"' or (character == "\\" and following in ('"', "\\", "")):
            out.append("\\")
        out.append(character)
    return '"' + "".join(out) + '"'
