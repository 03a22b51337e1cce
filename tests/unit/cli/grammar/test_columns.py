"""Which word of a line is wrong, and where it begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.grammar.definitions import parse_text, parse_words
from cli.grammar.lexer import split_words, word_columns
from cli.grammar.words import Misplaced
from hacluster.errors import InvalidDocuments, InvalidRequest


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("location l web rule #uname is node1", "is"),
        ("primitive web Dummy nonsense", "nonsense"),
        ("primitive web a:b:c:d", "a:b:c:d"),
        ("group g a b a", "a"),
        ("colocation c inf: ( a ( b ) )", "("),
        ("order o Sometimes: a b", "Sometimes:"),
        ("primitive web", ""),
    ],
)
def test_the_word_that_is_wrong(line: str, word: str) -> None:
    words = split_words(line)
    with pytest.raises(Misplaced) as caught:
        parse_words(words)
    assert ([*words, ""][len(words) - caught.value.left]) == word


@given(st.text("ab '\"\\=\t", max_size=30))
def test_columns_are_where_words_begin(line: str) -> None:
    try:
        words = split_words(line)
    except InvalidRequest:
        return
    columns = word_columns(line)
    assert len(columns) == len(words)
    for column, end, word in zip(columns, [*columns[1:], len(line)], words, strict=False):
        assert split_words(line[column:end]) == (word,)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("primitive a Dummy\n  primitive b Dummy nonsense\n", (2, 21)),
        ("primitive a \\\n\t Dummy \\\n  params x=1 \\\n   op monitor OCF_CHECK_LEVEL=1 interval=3", (4, 33)),
        ('primitive a Dummy \\\n   params x="open \\\n y=1', (2, 13)),
        ("# note\n\norder o Sometimes: a \\\n b", (3, 9)),
        ("primitive a \\\n\\\n", (1, 13)),
    ],
)
def test_the_place_in_a_text_with_continued_lines(text: str, place: tuple[int, int]) -> None:
    with pytest.raises(InvalidDocuments) as caught:
        parse_text(text, "text")
    (error,) = caught.value.errors
    assert (error.line, error.column) == place
