from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.cib import codec, diff
from crm.cib.model import Element
from hacluster.errors import Conflict, InvalidDocument

NAMES = st.sampled_from(["a", "b", "group", "nvpair"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=5)
ATTRIBUTES = st.dictionaries(st.sampled_from(["id", "name", "value", "x"]), TEXTS, max_size=3)
TREES = st.recursive(
    st.builds(Element, NAMES, ATTRIBUTES, st.just(()), TEXTS),
    lambda inner: st.builds(Element, NAMES, ATTRIBUTES, st.lists(inner, max_size=5).map(tuple), TEXTS),
    max_leaves=25,
)


@settings(max_examples=100)
@given(TREES, TREES)
def test_apply_is_the_inverse_of_diff(before: Element, after: Element) -> None:
    patch = diff.diff(before, after)
    again = diff.decode(diff.encode(patch), base=patch.base, result=patch.result)
    result = diff.apply(before, again)
    assert result == after
    assert codec.digest(result) == patch.result


@settings(max_examples=60)
@given(TREES, TREES, TREES)
def test_another_base_is_refused(before: Element, after: Element, other: Element) -> None:
    patch = diff.diff(before, after)
    if codec.digest(other) != patch.base:
        with pytest.raises(Conflict):
            diff.apply(other, patch)


def a_tree(*ids: str) -> Element:
    return Element("g", {}, tuple(Element("p", {"id": one}) for one in ids))


def test_a_moved_child_is_not_sent_again() -> None:
    before = a_tree("a", "b", "c", "d")
    patch = diff.diff(before, a_tree("d", "a", "b", "c"))
    assert diff.encode(patch) == b'{"c":[[0,3,4],[0,0,3]]}'


def test_a_small_change_in_a_large_tree_is_small() -> None:
    before = a_tree(*(f"r{n}" for n in range(2_000)))
    child = before.children[1_000].with_attributes(value="1")
    after = before.with_children((*before.children[:1_000], child, *before.children[1_001:]))
    assert len(diff.encode(diff.diff(before, after))) < 100


@settings(max_examples=100)
@given(st.lists(TREES, max_size=6), st.data())
def test_trees_that_share_parts(children: list[Element], data: st.DataObject) -> None:
    """What is the same object at both ends is not looked at."""
    before = Element("r", {}, tuple(children))
    start = data.draw(st.integers(0, len(children)))
    stop = data.draw(st.integers(start, len(children)))
    fresh = data.draw(st.lists(TREES, max_size=3))
    after = before.with_children((*children[:start], *fresh, *children[stop:]))
    patch = diff.diff(before, after)
    assert diff.apply(before, diff.decode(diff.encode(patch), base=patch.base, result=patch.result)) == after


def test_no_change_is_an_empty_patch() -> None:
    patch = diff.diff(a_tree("a"), a_tree("a"))
    assert diff.encode(patch) == b"null"
    assert diff.apply(a_tree("a"), patch) == a_tree("a")


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b'{"c":[[9]]}', b'{"a":{"x":1}}', b'{"w":["t"]}', b"\xff"]
)
def test_nonsense_is_no_patch(payload: bytes) -> None:
    with pytest.raises(InvalidDocument):
        diff.decode(payload, base="", result="")


def test_children_that_are_not_there_are_noticed() -> None:
    patch = diff.decode(b'{"c":[[0,0,5]]}', base="", result="")
    with pytest.raises(Conflict):
        diff.apply(a_tree("a"), patch, base_known=True)
