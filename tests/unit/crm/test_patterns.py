"""POSIX's regular expressions, as rsc-pattern and target-pattern have them."""

from __future__ import annotations

import ctypes
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.patterns import compiled, problem


@pytest.mark.parametrize(
    ("text", "fits", "others"),
    [
        ("^node[[:digit:]]$", ["node1"], ["nodex", "node:]", "node12"]),
        ("^[[:alpha:]_]+[^[:digit:]]$", ["a_b"], ["ab1", "1"]),
        ("^[[:xdigit:]]+[[:blank:]]", ["beef "], ["beef\n", "beer "]),
        ("web|db", ["my-db"], ["mail"]),
        (r"^[\w.]+$", [r"\w."], ["a"]),
        (r"^\w+-\d$", ["a1-d"], ["a-1"]),
        ("^a{,2}$", ["aa"], ["aaa"]),
        ("^a)$", ["a)"], ["a"]),
        ("^[]x]$", ["]"], ["^"]),
    ],
)
def test_what_fits(text: str, fits: list[str], others: list[str]) -> None:
    pattern = compiled(text)
    assert pattern is not None
    assert [name for name in (*fits, *others) if pattern.search(name)] == fits


def test_the_longest_fits_and_brackets_say_what() -> None:
    pattern = compiled("(a|ab)(c|bcd)?")
    match = pattern.search("xabcd") if pattern is not None else None
    assert match is not None
    assert (match[0], match.groups()) == ("abcd", ("a", "bcd"))


def test_brackets_in_each_other() -> None:
    pattern = compiled("(" * 200 + "a" + ")" * 200)
    assert pattern is not None
    assert pattern.search("ba")
    assert not pattern.search("b")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(", "missing"),
        ("[a", "not closed"),
        ("[[:digit", "not closed"),
        ("*a", "repetition"),
        ("^*", "nothing is repeated at 2"),
        ("a{", "the repetition at 2"),
        ("a{99999999999}", "too often"),
        ("(" * 5_000 + ")" * 5_000, "200 brackets"),
        ("a{1001}", "repetition"),
        (r"(a)\1", "bounded time"),
        ("(?=a)", "repetition"),
        ("[[=a=]]", "name the characters"),
        (r"\<a", "not known"),
        ("a\\", "backslash"),
        ("((a{1,30}){1,30}){1,30}", "repetition"),
        ("((a?b?){30}){30}", "1000 are allowed"),
        ("a" * 16_385, "16384 are allowed"),
        ("\ud800", "Unicode"),
    ],
)
def test_what_is_none(text: str, why: str) -> None:
    assert compiled(text) is None
    assert why in problem(text)


class _Place(ctypes.Structure):
    _fields_ = (("start", ctypes.c_int), ("end", ctypes.c_int))


class _Room(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_byte * 256),)  # more than any regex_t


_LIBRARY: Final = ctypes.CDLL(None)
_EXTENDED: Final = 1


def by_the_library(text: str, name: str) -> tuple[int, int] | str | None:
    """Where the C library's regcomp() and regexec() find it, which is what Pacemaker calls."""
    room, place = _Room(), _Place()
    if _LIBRARY.regcomp(ctypes.byref(room), text.encode(), _EXTENDED):
        return "none"
    try:
        missed = _LIBRARY.regexec(ctypes.byref(room), name.encode(), 1, ctypes.byref(place), 0)
        return None if missed else (place.start, place.end)
    finally:
        _LIBRARY.regfree(ctypes.byref(room))


_PIECES: Final = (
    *(
        "a",
        "b",
        "ab",
        "1",
        "-",
        "_",
        ".",
        "*",
        "+",
        "?",
        "|",
        "(",
        ")",
        "^",
        "$",
        "{2}",
        "{1,2}",
        "{,2}",
        "{0}",
    ),
    *(
        "[ab]",
        "[^a]",
        "[[:digit:]]",
        "[]a]",
        r"[\w]",
        r"\w",
        r"\S",
        r"\b",
        r"\.",
        r"\d",
        r"\-",
        "{",
        "}",
        "]",
    ),
)


@settings(max_examples=400, deadline=None)
@given(
    text=st.lists(st.sampled_from(_PIECES), min_size=1, max_size=7).map("".join),
    name=st.text("ab1-_.)}]wd", max_size=8),
)
def test_it_fits_where_the_c_library_says(text: str, name: str) -> None:
    pattern = compiled(text)
    match = pattern.search(name) if pattern is not None else None
    found = None if match is None else match.span()
    assert ("none" if pattern is None else found) == by_the_library(text, name)
