"""Which changes are in each other's way, and what one that is not looks like on top of the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.cib.codec import parse
from crm.cib.disjoint import made_again, touched
from crm.cib.model import Element, element


def cib(resources: str = "", *, options: str = "", constraints: str = "", more: str = "") -> Element:
    return parse(
        f'<configuration><crm_config><cluster_property_set id="o">{options}</cluster_property_set>'
        f"</crm_config><nodes/><resources>{resources}</resources><constraints>{constraints}</constraints>"
        f"{more}</configuration>"
    )


def primitive(name: str, inside: str = "", **attributes: str) -> str:
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<primitive id="{name}" class="ocf" provider="x" type="D"{more}>{inside}</primitive>'


def options_set(owner: str, *pairs: tuple[str, str]) -> str:
    inside = "".join(f'<nvpair id="{owner}-{name}" name="{name}" value="{value}"/>' for name, value in pairs)
    return f'<meta_attributes id="{owner}-meta">{inside}</meta_attributes>'


def group(*members: str, name: str = "g") -> str:
    return f'<group id="{name}">{"".join(map(primitive, members))}</group>'


def located(name: str, rsc: str) -> str:
    return f'<rsc_location id="{name}" rsc="{rsc}" node="n1" score="1"/>'


def level(name: str) -> str:
    return f'<fencing-level id="{name}" index="1" target="n1" devices="f"/>'


SET = '<resource_set id="s"><resource_ref id="a"/></resource_set>'


def nvpair(name: str, value: str, identifier: str = "") -> str:
    return f'<nvpair id="{identifier or name}" name="{name}" value="{value}"/>'


A, B = primitive("a"), primitive("b")
DISJOINT = [
    ("two resources", cib(A), cib(A + B), cib(A + primitive("c")), cib(A + primitive("c") + B)),
    (
        "two options of one set",
        cib(options=nvpair("x", "1")),
        cib(options=nvpair("x", "2")),
        cib(options=nvpair("x", "1") + nvpair("y", "1")),
        cib(options=nvpair("x", "2") + nvpair("y", "1")),
    ),
    (
        "an option of a resource, and its type",
        cib(primitive("a", options_set("a", ("p", "1")))),
        cib(primitive("a", options_set("a", ("p", "2")))),
        cib(primitive("a", options_set("a", ("p", "1")), description="d")),
        cib(primitive("a", options_set("a", ("p", "2")), description="d")),
    ),
    (
        "a member of a group, first, and an option of another member",
        cib(f'<group id="g">{A}{primitive("b", options_set("b", ("p", "1")))}</group>'),
        cib(f'<group id="g">{primitive("c")}{A}{primitive("b", options_set("b", ("p", "1")))}</group>'),
        cib(f'<group id="g">{A}{primitive("b", options_set("b", ("p", "2")))}</group>'),
        cib(f'<group id="g">{primitive("c")}{A}{primitive("b", options_set("b", ("p", "2")))}</group>'),
    ),
    ("a resource goes, another comes", cib(A), cib(), cib(A + B), cib(B)),
    (
        "a constraint comes, another resource goes",
        cib(A + B),
        cib(A + B, constraints=located("l", "a")),
        cib(A),
        cib(A, constraints=located("l", "a")),
    ),
    ("another order, an option there", cib(A + B), cib(B + A), cib(A + primitive("b", description="d")),
     cib(primitive("b", description="d") + A)),
]  # fmt: skip


@pytest.mark.parametrize(("base", "mine", "theirs", "both"), [case[1:] for case in DISJOINT],
                         ids=[case[0] for case in DISJOINT])  # fmt: skip
def test_what_is_not_in_each_others_way(base: Element, mine: Element, theirs: Element, both: Element) -> None:
    assert not touched(base, mine) & touched(base, theirs)
    assert made_again(base, mine, theirs) == both


TOUCHING = [
    (
        "one option",
        cib(options=nvpair("x", "1")),
        cib(options=nvpair("x", "2")),
        cib(options=nvpair("x", "3")),
    ),
    (
        "one option under two ids",
        cib(options=nvpair("y", "1")),
        cib(options=nvpair("y", "1") + nvpair("x", "2", "here")),
        cib(options=nvpair("y", "1") + nvpair("x", "3", "there")),
    ),
    ("two members of one group", cib(group("a")), cib(group("a", "b")), cib(group("a", "c"))),
    ("a member, and the group's own", cib(group("a")), cib(group("a", "b")),
     cib('<group id="g" description="d">' + A + "</group>")),
    ("one that moves into a group, and its options", cib(A + group("c")), cib(group("c", "a")),
     cib(primitive("a", description="d") + group("c"))),
    ("one that goes, and its type", cib(A), cib(), cib(primitive("a", description="d"))),
    ("made under one id twice", cib(), cib(A), cib(primitive("a", description="d"))),
    ("operations of one resource", cib(primitive("a", "<operations/>")),
     cib(primitive("a", '<operations><op id="i" name="monitor" interval="1"/></operations>')),
     cib(primitive("a", '<operations><op id="j" name="monitor" interval="1"/></operations>'))),
    ("two levels", cib(more="<fencing-topology/>"),
     cib(more=f"<fencing-topology>{level('i')}</fencing-topology>"),
     cib(more=f"<fencing-topology>{level('j')}</fencing-topology>")),
    ("two orders", cib(A + B + primitive("c")), cib(B + A + primitive("c")), cib(primitive("c") + A + B)),
]  # fmt: skip


@pytest.mark.parametrize(("base", "mine", "theirs"), [case[1:] for case in TOUCHING],
                         ids=[case[0] for case in TOUCHING])  # fmt: skip
def test_what_is_in_each_others_way(base: Element, mine: Element, theirs: Element) -> None:
    assert touched(base, mine) & touched(base, theirs)


DOES_NOT_FIT = [
    ("a constraint on what went there", cib(A), cib(A, constraints=located("l", "a")), cib()),
    ("what goes here is named there", cib(A), cib(), cib(A, constraints=located("l", "a"))),
    ("a set that names what went there", cib(A + B),
     cib(A + B, constraints=f'<rsc_order id="r">{SET}</rsc_order>'),
     cib(B)),
    ("an option in what went there", cib(primitive("a", options_set("a", ("p", "1")))),
     cib(primitive("a", options_set("a", ("p", "1"), ("q", "1")))), cib()),
    ("another order, and one more there", cib(A + B), cib(B + A), cib(A + B + primitive("c"))),
]  # fmt: skip


@pytest.mark.parametrize(("base", "mine", "theirs"), [case[1:] for case in DOES_NOT_FIT],
                         ids=[case[0] for case in DOES_NOT_FIT])  # fmt: skip
def test_what_touches_something_else_and_yet_does_not_fit(
    base: Element, mine: Element, theirs: Element
) -> None:
    assert made_again(base, mine, theirs) is None


def test_words_that_name_nothing_are_no_names() -> None:
    """A value that happens to be the id of what goes."""
    with_value = primitive("b", options_set("b", ("p", "a")))
    there = cib(A + with_value + primitive("c"))
    assert made_again(cib(A + with_value), cib(with_value), there) == cib(with_value + primitive("c"))


def test_the_same_change_on_both_sides_is_there_already() -> None:
    assert made_again(cib(A), cib(A + B), cib(A + B)) == cib(A + B)


PAIRS = st.lists(
    st.tuples(st.sampled_from("pq"), st.sampled_from("12")), unique_by=lambda pair: pair[0], max_size=2
)
RESOURCES = st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", "1", "2"]), PAIRS)
CONTENTS = st.lists(RESOURCES, unique_by=lambda item: item[0], max_size=5)


Content = list[tuple[str, str, list[tuple[str, str]]]]


def _of(content: Content) -> Element:
    resources = []
    for name, text, pairs in content:
        inside = [
            element("nvpair", {"id": f"{name}-{key}", "name": key, "value": value}) for key, value in pairs
        ]
        meta = element("meta_attributes", {"id": f"{name}-m"}, *inside)
        resources.append(element("primitive", {"id": name, "description": text}, meta))
    return element("configuration", {}, element("resources", {}, *resources))


@given(CONTENTS, CONTENTS, CONTENTS)
def test_disjoint_changes_commute(one: Content, two: Content, three: Content) -> None:
    """Whichever is made first, the same is there; and each touches on top what it touched at first."""
    base, mine, theirs = _of(one), _of(two), _of(three)
    if touched(base, mine) & touched(base, theirs):
        return
    on_theirs, on_mine = made_again(base, mine, theirs), made_again(base, theirs, mine)
    if on_theirs is None or on_mine is None:
        return
    assert sorted(item.id for item in on_theirs.walk()) == sorted(item.id for item in on_mine.walk())
    assert touched(theirs, on_theirs) == touched(base, mine)
    assert touched(mine, on_theirs) == touched(base, theirs)
