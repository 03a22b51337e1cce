"""What a constraint means when a part of what it names is not there."""

from __future__ import annotations

import pytest

from tests.unit.crm.scheduler.cibs import clone, document, doing, inputs, plan, primitive, score

TAGS = '<tags><tag id="some"><obj_ref id="b"/><obj_ref id="{member}"/></tag></tags>'
CLONED = clone("c-clone", primitive("c"))  # no history: nobody knows an instance by the name "c"


def set_of(*names: str, sequential: bool = True) -> str:
    inner = "".join(f'<resource_ref id="{name}"/>' for name in names)
    word = "" if sequential else ' sequential="false"'
    return f'<resource_set id="s-{names[0]}"{word}>{inner}</resource_set>'


@pytest.mark.parametrize(("member", "waits"), [("d", True), ("c", False)])
def test_a_tag_with_an_unknown_member_is_not_replaced_in_sets(member: str, waits: bool) -> None:
    order = f'<rsc_order id="o">{set_of("some", sequential=False)}{set_of("a")}</rsc_order>'
    text = document(
        [primitive("a"), primitive("b"), primitive("d"), CLONED],
        nodes=("n1",),
        constraints=order,
        tags=TAGS.format(member=member),
    )
    assert ("b_start_0@n1" in inputs(plan(text), "a_start_0@n1")) is waits


def test_orderings_before_an_unknown_member_stay_in_force() -> None:
    order = f'<rsc_order id="o">{set_of("a")}{set_of("b")}{set_of("d", "c")}</rsc_order>'
    text = document(
        [primitive("a"), primitive("b"), primitive("d"), CLONED], nodes=("n1",), constraints=order
    )
    transition = plan(text)
    assert "a_start_0@n1" in inputs(transition, "b_start_0@n1")
    assert "b_start_0@n1" not in inputs(transition, "d_start_0@n1")


def test_colocations_of_a_set_end_at_an_unknown_member() -> None:
    together = f'<rsc_colocation id="o" score="INFINITY">{set_of("a", "b", "c", "d")}</rsc_colocation>'
    away = '<rsc_location id="l" rsc="a" node="n2" score="5"/>'
    text = document([primitive("a"), primitive("b"), primitive("d"), CLONED], constraints=together + away)
    transition = plan(text)
    assert score(transition, "b", "n1") == "-INFINITY"
    assert score(transition, "d", "n1") == "0"


@pytest.mark.parametrize(("template", "stays"), [("unused", True), ("used", False)])
def test_a_template_nobody_uses_voids_a_colocation(template: str, stays: bool) -> None:
    templates = "".join(
        f'<template id="{name}" class="ocf" provider="test" type="Dummy"/>' for name in ("used", "unused")
    )
    text = document(
        [templates, primitive("a"), '<primitive id="b" template="used"/>'],
        constraints=f'<rsc_colocation id="o" rsc="a" with-rsc="{template}" score="-INFINITY"/>'
        '<rsc_location id="l" rsc="a" node="n1" score="5"/>'
        '<rsc_location id="m" rsc="b" node="n1" score="9"/>',
    )
    assert ("a_start_0@n1" in doing(plan(text))) is stays
