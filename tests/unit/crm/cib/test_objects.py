"""Commits object by object: on top of another state, and undone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.cib.model import Element, element
from crm.cib.objects import ConflictingChanges, changes, decode, encode, on_top, undo_of
from hacluster.errors import InvalidDocument

NAMES = ("a", "b", "c", "d")


def configuration(resources: dict[str, str], options: dict[str, str] | None = None) -> Element:
    rows = (element("primitive", {"id": name, "type": kind}) for name, kind in resources.items())
    sets = (element("cluster_property_set", {"id": name, "x": x}) for name, x in (options or {}).items())
    return element(
        "configuration", None, element("crm_config", None, *sets), element("resources", None, *rows)
    )


@st.composite
def configurations(draw: st.DrawFn) -> Element:
    kinds = st.sampled_from("xyz")
    return configuration(
        {name: draw(kinds) for name in draw(st.lists(st.sampled_from(NAMES), unique=True))},
        draw(st.dictionaries(st.sampled_from(NAMES), kinds)),
    )


def as_sets(root: Element) -> dict[str, set[Element]]:
    return {part.tag: set(part.children) for part in root.children}


@given(configurations(), configurations())
def test_changes_turn_the_one_into_the_other(one: Element, other: Element) -> None:
    assert as_sets(on_top(changes(one, other), one)) == as_sets(other)
    assert as_sets(on_top(undo_of(one, other), other)) == as_sets(one)
    assert decode(encode(changes(one, other))) == changes(one, other)


def test_two_commits_to_different_objects_can_both_be_had() -> None:
    base = configuration({"a": "x", "b": "x"})
    mine, theirs = configuration({"a": "y", "b": "x"}), configuration({"a": "x", "b": "z", "c": "x"})
    assert on_top(changes(base, mine), theirs) == configuration({"a": "y", "b": "z", "c": "x"})


def test_two_commits_to_the_same_object_conflict_and_it_is_named() -> None:
    base = configuration({"a": "x", "b": "x"})
    mine, theirs = configuration({"a": "y", "b": "x"}), configuration({"a": "z", "b": "x"})
    with pytest.raises(ConflictingChanges, match="somebody else meanwhile: a;"):
        on_top(changes(base, mine), theirs)
    assert on_top(changes(base, mine), mine) == mine  # the same change made by two is no conflict


def test_a_new_object_stands_where_it_stood() -> None:
    base = configuration({"a": "x", "c": "x"})
    mine = configuration({"a": "x", "b": "x", "c": "x"})
    assert on_top(changes(base, mine), base) == mine


def test_what_was_no_change_is_refused() -> None:
    for text in ("", "!", "AAAA", encode(())[:-6]):
        with pytest.raises(InvalidDocument):
            decode(text)
