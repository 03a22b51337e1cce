"""Expected failures: their fields are those that they declare, given by name."""

from __future__ import annotations

import pytest

from hacluster.errors import ErrorCode, HaError, InvalidDocument, InvalidRequest, NoQuorum


class Narrower(InvalidRequest):
    """One with a field more than its base."""

    left: int = 0


def test_the_fields_are_those_declared_with_their_defaults() -> None:
    error = InvalidDocument(source="cib.xml", line=7, what="no end")
    assert (error.source, error.line, error.what, error.remedy) == ("cib.xml", 7, "no end", "")
    assert str(error) == "cib.xml:7: no end"
    placed = InvalidDocument(source="cib.xml", line=7, column=3, what="no end")
    assert str(placed) == "cib.xml:7:3: no end"
    assert error.code is ErrorCode.INVALID_DOCUMENT
    assert repr(error) == "InvalidDocument(source='cib.xml', line=7, what='no end', remedy='', column=0)"


def test_a_subclass_has_the_fields_of_its_base_too() -> None:
    assert Narrower(what="this", left=2).left == 2
    assert str(Narrower(what="this", remedy="that")) == "this (that)"


@pytest.mark.parametrize("fields", [{}, {"what": "this", "left": 1}, {"remedy": "that"}])
def test_fields_missing_or_unknown_are_a_bug_of_the_caller(fields: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="InvalidRequest"):
        HaError.__init__(InvalidRequest.__new__(InvalidRequest), **fields)


def test_one_without_fields_needs_none_and_differs_from_its_like() -> None:
    assert NoQuorum() != NoQuorum()
    assert len({NoQuorum(), NoQuorum()}) == 2
