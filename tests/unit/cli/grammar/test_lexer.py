"""Words of a line, against the obvious way to split one; and lines that are too long to be split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.grammar.definitions import parse_text
from cli.grammar.lexer import LINE_CHARACTERS_MAX, Unclosed, split_words, word_columns
from hacluster.errors import InvalidDocuments


def plainly(text: str) -> list[tuple[int, str]] | None:
    """Where each word begins, and the word: one character after the other. None for an open quote."""
    words: list[tuple[int, str]] = []
    quote, inside, position = "", False, 0
    while position < len(text):
        character = text[position]
        if not quote and character in " \t\r\n":
            inside = False
            position += 1
            continue
        if not inside:
            words.append((position, ""))
            inside = True
        follows = text[position + 1 : position + 2]
        added = character
        if quote and character == quote:
            quote, added = "", ""
        elif not quote and character in "'\"":
            quote, added = character, ""
        elif character == "\\" and ((not quote and follows) or (quote == '"' and follows in ('"', "\\"))):
            added = follows
            position += len(follows)
        words[-1] = (words[-1][0], words[-1][1] + added)
        position += 1
    return None if quote else words


@given(st.text(alphabet="ab =\t\n'\"\\\u2028\u00a0\x1cé", max_size=30))
def test_words_and_columns(text: str) -> None:
    expected = plainly(text)
    if expected is None:
        with pytest.raises(Unclosed):
            split_words(text)
        assert word_columns(text) == ()
    else:
        assert split_words(text) == tuple(word for _, word in expected)
        assert word_columns(text) == tuple(column for column, _ in expected)


def test_a_line_too_long_to_be_split_is_refused() -> None:
    longest = "primitive x Dummy params y=" + "z" * LINE_CHARACTERS_MAX
    split_words(longest[:LINE_CHARACTERS_MAX])
    with pytest.raises(InvalidDocuments, match="more than 1048576 are not read"):
        parse_text(longest, "a.crm")
    assert word_columns(longest) == ()
