"""Text of the configuration language -> logical lines -> words (hacli-language, "Lexical rules")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hacluster.errors import InvalidRequest

# Room for a group of 10,000 members with names of 100 characters; to take more apart could last seconds.
LINE_CHARACTERS_MAX: Final = 1024 * 1024
# What separates words; a no-break space and the like are characters as any other.
BLANKS: Final = " \t\r\n"
BLANK_RUN: Final = re.compile(f"[{BLANKS}]+")
_BLANKS: Final = re.compile(f"[{BLANKS}]*")
_PLAIN: Final = re.compile(f"""[^{BLANKS}'"\\\\]*""")
_UNTIL: Final = {"'": re.compile("[^']*"), '"': re.compile(r'[^"\\]*')}


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
        return self.text[:3].lower() == "xml" and self.text[3:4] in ("", " ", "\t", "<")

    @property
    def xml(self) -> str:
        """The XML text of an `xml` line, runs of white space collapsed."""
        return BLANK_RUN.sub(" ", self.text[3:].strip(BLANKS))


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
        joined = "".join(parts).strip(BLANKS)
        if joined.startswith("#"):
            comments.append(joined)
        elif joined:
            lines.append(Line(number=start, text=joined, comments=tuple(comments), pieces=tuple(pieces)))
            comments.clear()
        parts.clear()
        pieces.clear()
        length = 0

    for number, physical in enumerate(text.split("\n"), 1):
        stripped = physical.strip(BLANKS)
        if not parts:
            start = number
        if stripped not in ("", "\\"):  # what is missing at the end is missed behind the last word
            pieces.append((length, number, len(physical) - len(physical.lstrip(BLANKS))))
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
    if len(text) > LINE_CHARACTERS_MAX:
        raise InvalidRequest(
            what=f"a line of {len(text)} characters: more than {LINE_CHARACTERS_MAX} are not read",
            remedy="define less in one line",
        )
    return tuple("".join(parts) for _, parts in _words(text))


def word_columns(text: str) -> tuple[int, ...]:
    """Where each word of a line begins, from 0; nothing for a line that cannot be split."""
    if len(text) > LINE_CHARACTERS_MAX:
        return ()
    try:
        return tuple(column for column, _ in _words(text))
    except InvalidRequest:
        return ()


def _words(text: str) -> Iterator[tuple[int, list[str]]]:
    """Where each word begins, and what it is made of."""
    position, length = _end(_BLANKS, text, 0), len(text)
    while position < length:
        begin, parts = position, list[str]()
        while position < length and text[position] not in BLANKS:
            character = text[position]
            if character in "'\"":
                position = _quoted(text, position, parts)
            elif character == "\\":  # at the end it stands for itself
                parts.append(text[position + 1 : position + 2] or character)
                position += 2
            else:
                end = _end(_PLAIN, text, position)
                parts.append(text[position:end])
                position = end
        yield begin, parts
        position = _end(_BLANKS, text, position)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Where what `pattern` takes ends; it takes nothing where it does not fit."""
    found = pattern.match(text, position)
    return position if found is None else found.end()


def _quoted(text: str, start: int, into: list[str]) -> int:
    """Read a quoted part that opens at `start`; the position after its closing quote."""
    quote = text[start]
    position = start + 1
    while True:
        end = _end(_UNTIL[quote], text, position)
        into.append(text[position:end])
        position = end
        if position >= len(text):
            break
        if text[position] == quote:
            return position + 1
        escaped = text[position + 1 : position + 2]
        into.append(escaped if escaped in ('"', "\\") else "\\")
        position += 2 if escaped in ('"', "\\") else 1
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
