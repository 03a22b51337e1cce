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
