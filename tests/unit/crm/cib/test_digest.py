from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crm.cib import codec, diff
from crm.cib.digest import Digester
from crm.cib.model import COMMENT, Element
from tests.unit.crm.cib.test_diff import TREES


@given(st.lists(TREES, min_size=1, max_size=5))
def test_it_is_the_codecs_digest_for_any_series_of_trees(trees: list[Element]) -> None:
    digester = Digester()
    shared = trees[0]
    for tree in trees:
        shared = diff.apply(shared, diff.diff(shared, tree))
        assert digester.digest(shared) == codec.digest(tree)


def test_a_comment_is_part_of_it() -> None:
    tree = Element("a", {}, (Element(COMMENT, {}, (), "x"), Element("b", {"v": '"<&>"'}, (), "t")))
    assert codec.canonical(tree) == b'<a><!--x--><b v="&quot;&lt;&amp;&gt;&quot;">t</b></a>'
    assert Digester().digest(tree) == codec.digest(tree)


def test_what_is_long_is_remembered_in_parts() -> None:
    digester = Digester()
    children = tuple(Element("c", {"id": f"c{n}", "x": "y" * 100}) for n in range(200))
    section = Element("s", {}, (*children, Element("g", {}, children[:2])))
    tree = Element("root", {}, (section, Element("leaf", {"id": "a"})))
    for value in ("1", "2", "1"):
        changed = section.with_children(
            (*section.children[:7], Element("c", {"v": value}), *section.children[8:])
        )
        for one in (tree, tree.with_children((changed,)), changed, section.children[200]):
            assert digester.digest(one) == codec.digest(one)
