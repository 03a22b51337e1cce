from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.cib import codec
from crm.cib.model import COMMENT, Element
from hacluster.errors import InvalidDocument

NAMES = st.from_regex(r"[a-z][a-z_-]{0,6}", fullmatch=True)
VALUES = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
LEAVES = st.builds(Element, NAMES, st.dictionaries(NAMES, VALUES, max_size=3))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        Element, NAMES, st.dictionaries(NAMES, VALUES, max_size=3), st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=12,
)


@given(TREES)
def test_what_is_written_reads_back(tree: Element) -> None:
    again = codec.parse(codec.render(tree))
    assert again == tree
    assert codec.digest(again) == codec.digest(tree)
    assert codec.parse(codec.canonical(tree)) == tree


def test_unknown_parts_and_comments_are_kept() -> None:
    tree = codec.parse('<cib x="1"><!-- why --><future a="b">text</future></cib>')
    assert tree.children[0] == Element(COMMENT, {}, (), " why ")
    assert tree.children[1] == Element("future", {"a": "b"}, (), "text")


def test_the_digest_ignores_the_order_of_attributes_and_white_space() -> None:
    assert codec.digest(codec.parse('<a x="1" y="2"><b/></a>')) == codec.digest(
        codec.parse('<a y="2"\n  x="1">\n <b></b>\n</a>')
    )


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("<cib>\n<a>\n</cib>", 3, "mismatch"),
        ('<!DOCTYPE cib [<!ENTITY e "x">]>\n<cib>&e;</cib>', 1, "DOCTYPE"),
        ('<!DOCTYPE cib SYSTEM "file:///etc/passwd"><cib/>', 1, "DOCTYPE"),
        ("", 0, "empty"),
        ("<a>" * 400 + "</a>" * 400, 0, ""),
    ],
)
def test_bad_documents_are_named(text: str, line: int, what: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        codec.parse(text, source="cib.xml")
    assert caught.value.source == "cib.xml"
    assert what in caught.value.what
    assert line in (0, caught.value.line)


def test_a_billion_laughs_are_not_told() -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    with pytest.raises(InvalidDocument):
        codec.parse(f'<!DOCTYPE cib [<!ENTITY l0 "ha">{levels}]><cib>&l9;</cib>')


def test_text_is_what_stands_before_the_first_child() -> None:
    tree = codec.parse("<a> x &amp;\n\n<![CDATA[ <y> ]]>z <b> in </b> after <!-- c --> more</a>")
    assert tree.text == "x &\n\n <y> z"
    assert [child.text for child in tree.children] == ["in", " c "]


@pytest.mark.parametrize("text", ["<p:a/>", '<a p:b="1"/>', '<a><b xmlns:p="u"/><p:c/></a>', "<a>&e;</a>"])
def test_what_has_no_meaning_without_a_declaration_is_refused(text: str) -> None:
    with pytest.raises(InvalidDocument):
        codec.parse(text)


def test_declared_prefixes_are_kept_as_written() -> None:
    tree = codec.parse('<a xmlns:p="u" xml:lang="en"><p:b p:c="1"/></a>')
    assert tree == Element("a", {"xmlns:p": "u", "xml:lang": "en"}, (Element("p:b", {"p:c": "1"}),))
    assert codec.parse(codec.render(tree)) == tree


def test_values_that_occur_again_are_kept_once() -> None:
    tree = codec.parse('<a><b c="some value"/><b c="some value"/></a>')
    first, second = tree.children
    assert first.attributes["c"] is second.attributes["c"]


def test_a_document_in_another_encoding_is_read_and_an_unknown_one_refused() -> None:
    assert (
        codec.parse("<?xml version='1.0' encoding='iso-8859-1'?><a b='ä'/>".encode("latin-1")).get("b") == "ä"
    )
    with pytest.raises(InvalidDocument):
        codec.parse(b"<?xml version='1.0' encoding='no-such-code'?><a/>")
    with pytest.raises(InvalidDocument):
        codec.parse(b'<a b="\xff"/>')
