"""Rules of the language at their edges: what is a blank, what is refused and where, what is not lost."""

from __future__ import annotations

import pytest

from cli.grammar.definitions import parse_text
from cli.grammar.document import empty_cib
from cli.grammar.exact import exact
from cli.grammar.load import load
from cli.grammar.show import show
from crm.cib.model import Element
from hacluster.errors import InvalidDocuments
from tests.cib_contents import contents


def loaded(text: str) -> Element:
    return load(empty_cib(), parse_text(text, "text"), source="text").cib


def values(cib: Element) -> dict[str, str]:
    return {one.get("name"): one.get("value") for one in cib.walk() if one.tag == "nvpair"}


@pytest.mark.parametrize("blank", ["\u00a0", "\u2028", "\u0085", "\u3000"])
def test_only_ascii_blanks_separate_words(blank: str) -> None:
    text = f"primitive a Dummy params x=a{blank}b y={blank} z={blank}"
    cib = loaded(text)
    assert values(cib) == {"x": f"a{blank}b", "y": blank, "z": blank}
    assert contents(loaded(show(cib))) == contents(cib)


@pytest.mark.parametrize("blank", ["\u00a0", "\u2028"])
def test_xml_keeps_other_blanks(blank: str) -> None:
    pair = f'<nvpair id="p" name="x" value="{blank}a{blank}{blank}b{blank}"/>'
    text = (
        f'xml <primitive id="a" class="lsb" type="x" foo="1"><meta_attributes id="m">{pair}</meta_attributes>'
    )
    cib = loaded(f"{text} \t </primitive>")
    assert values(cib) == {"x": f"{blank}a{blank}{blank}b{blank}"}
    for shown in (show(cib), exact(cib)):
        assert shown.startswith("xml ")
        assert values(loaded(shown)) == values(cib)


@pytest.mark.parametrize(
    ("text", "error", "column"),
    [
        ("property x=1 foo:", "'foo:' is not understood here", 14),
        ("rsc_defaults x=1 foo: y=2", "'foo:' is not understood here", 18),
        ("primitive a Dummy params x=1 5:", "'5:' is not understood here", 30),
        ("fencing_topology n1: n2: a", "no device for n1", 22),
        ("fencing_topology n1: a attr:rack=1", "no device for rack=1", 24),
        ("fencing_topology pattern:n.* n1: a", "no device for n.*", 30),
        ("location l // 5: n1", "the pattern is empty", 12),
        ("monitor a 10s:20s:30s", "'10s:20s:30s' is not understood here", 11),
        ("monitor a :20s", "':20s' is not understood here", 11),
        ("rsc_template t @u", "'@u': a template has a type", 16),
        ("xml", "the XML is missing", 0),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(text: str, error: str, column: int) -> None:
    with pytest.raises(InvalidDocuments) as refused:
        loaded(text)
    assert error in refused.value.errors[0].what
    assert refused.value.errors[0].column == column


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("primitiv", "did you mean primitive?"),
        ("ordr", "did you mean order?"),
        ("frobnicate", "see `hacli configure help`"),
    ],
)
def test_a_slip_of_a_keyword_is_told_what_was_meant(word: str, remedy: str) -> None:
    with pytest.raises(InvalidDocuments) as refused:
        loaded(f"{word} a Dummy")
    (error,) = refused.value.errors
    assert (error.line, error.column, remedy in str(error)) == (1, 1, True)


def test_a_node_is_named_to_mean_its_set() -> None:
    cib = loaded("node 1: n1 attributes x=1\nnode 2: n2 attributes $id-ref=n1")
    assert "node 2: n2 \\\n\tattributes $id-ref=n1-instance_attributes" in show(cib)
    assert contents(loaded(show(cib))) == contents(cib)


def test_a_member_of_a_clone_is_freed_by_deleting_that() -> None:
    cib = loaded("primitive a Dummy\nclone c a\nprimitive b Dummy\ngroup g b")
    with pytest.raises(InvalidDocuments) as refused:
        load(cib, parse_text("group h a\ngroup i b", "text"), source="text")
    assert [one.remedy for one in refused.value.errors] == [
        "take it out first: `delete c`",
        "take it out first: `modgroup g remove b`",
    ]


@pytest.mark.parametrize("words", ["rule a eq 'param{x y}'", "rule 'a b' eq c", "5: 'n 1'"])
def test_blanks_in_a_location_are_said_in_quotes(words: str) -> None:
    cib = loaded(f"primitive p Dummy\nlocation l p {words}")
    assert "xml" not in show(cib)
    assert contents(loaded(show(cib))) == contents(cib)


@pytest.mark.parametrize("attributes", ['index="1" note="x"', 'index="x"', 'index=""', 'index="2"', ""])
def test_what_the_language_cannot_say_of_a_level_is_not_lost(attributes: str) -> None:
    level = f'<fencing-level id="f" target="n1" devices="a" {attributes}/>'
    cib = loaded(f"xml <fencing-topology>{level}</fencing-topology>")
    assert show(cib).startswith("xml <fencing-topology")
    assert contents(loaded(show(cib))) == contents(cib)
