"""One commit's changes out again, and nobody else's."""

from __future__ import annotations

import pytest

from crm.cib.codec import parse, render
from crm.cib.model import Element
from crm.cib.objects import undo_of
from crm.cib.schema import refusal
from crm.cib.taking_back import taken_back


def prim(name: str, value: str = "1") -> str:
    return (
        f'<primitive id="{name}" class="ocf" provider="x" type="Y"><instance_attributes id="{name}-i">'
        f'<nvpair id="{name}-p" name="p" value="{value}"/></instance_attributes></primitive>'
    )


def holder(tag: str, name: str, *members: str, meta: str = "") -> str:
    pair = f'<nvpair id="{name}-n" name="priority" value="{meta}"/>'
    sets = f'<meta_attributes id="{name}-m">{pair}</meta_attributes>'
    return f'<{tag} id="{name}">{sets if meta else ""}{"".join(members)}</{tag}>'


def cib(*resources: str, constraints: str = "", more: str = "") -> Element:
    return parse(
        f"<configuration><crm_config/><nodes/><resources>{''.join(resources)}</resources>"
        f"<constraints>{constraints}</constraints>{more}</configuration>"
    )


def defaults(*names: str) -> str:
    pairs = "".join(f'<nvpair id="d-{name}" name="{name}" value="1"/>' for name in names)
    return f'<rsc_defaults><meta_attributes id="d">{pairs}</meta_attributes></rsc_defaults>'


A, B, C, X = prim("a"), prim("b"), prim("c"), prim("x")
ABOUT_G = '<rsc_order id="o" first="g" then="x"/>'
ABOUT_X = '<rsc_location id="l" rsc="x" node="n" score="1"/>'
SET = (
    '<rsc_colocation id="s" score="1"><resource_set id="s-0"><resource_ref id="a"/><resource_ref id="b"/>'
    '<resource_ref id="x"/></resource_set></rsc_colocation>'
)

CASES = {
    "nobody else": (cib(X, A, B), cib(X, holder("group", "g", A, B)), None, cib(X, A, B)),
    "c went into the new group": (
        cib(A, B, C),
        cib(holder("group", "g", A, B), C),
        cib(holder("group", "g", A, B, C)),
        cib(A, B, holder("group", "g", C)),
    ),
    "members and group are all new, c is not": (
        cib(C),
        cib(holder("group", "g", A, B), C),
        cib(holder("group", "g", A, C, B)),
        cib(holder("group", "g", C)),
    ),
    "a member's parameter changed since": (
        cib(A, B),
        cib(holder("group", "g", A, B)),
        cib(holder("group", "g", prim("a", "7"), B)),
        cib(prim("a", "7"), B),
    ),
    "the changed primitive was grouped since": (
        cib(A, X),
        cib(prim("a", "2"), X),
        cib(holder("group", "h", prim("a", "2"), X)),
        cib(holder("group", "h", A, X)),
    ),
    "a new primitive was grouped since": (
        cib(X),
        cib(A, X),
        cib(holder("group", "h", A, X)),
        cib(holder("group", "h", X)),
    ),
    "a new primitive was grouped alone since": (
        cib(X),
        cib(A, X),
        cib(holder("group", "g", A), X, constraints=ABOUT_G + ABOUT_X),
        cib(X, constraints=ABOUT_X),
    ),
    "a clone, and a member more in the group in it": (
        cib(holder("group", "g", A), C),
        cib(holder("clone", "k", holder("group", "g", A)), C),
        cib(holder("clone", "k", holder("group", "g", A, C), meta="3")),
        cib(holder("group", "g", A, C)),
    ),
    "a member was taken out; another came": (
        cib(holder("group", "g", A, B), C),
        cib(holder("group", "g", B), C),
        cib(holder("group", "g", B, C)),
        cib(holder("group", "g", A, B, C)),
    ),
    "the order of a group": (
        cib(holder("group", "g", A, B)),
        cib(holder("group", "g", B, A)),
        None,
        cib(holder("group", "g", A, B)),
    ),
    "constraints about what goes": (
        cib(X),
        cib(A, B, X),
        cib(A, B, X, constraints='<rsc_order id="o" first="a" then="x"/>' + ABOUT_X + SET),
        cib(X, constraints=ABOUT_X + SET.replace('<resource_ref id="a"/><resource_ref id="b"/>', "")),
    ),
    "a constraint that comes back is about what was deleted since": (
        cib(A, X, constraints=ABOUT_X),
        cib(A, X),
        cib(A),
        cib(A),
    ),
    "a group that comes back finds its member elsewhere": (
        cib(holder("group", "g", A), X),
        cib(A, X),
        cib(holder("group", "h", A, X)),
        cib(holder("group", "h", A, X)),
    ),
    "deleted since": (cib(A, X), cib(prim("a", "2"), X), cib(X), cib(X)),
    "deleted by the commit, made anew since": (
        cib(A),
        cib(),
        cib(holder("group", "h", A)),
        cib(holder("group", "h", A)),
    ),
    "the group's own options changed since": (
        cib(holder("group", "g", A, B, meta="1")),
        cib(holder("group", "g", A, prim("b", "2"), meta="1")),
        cib(holder("group", "g", A, prim("b", "2"), meta="5")),
        cib(holder("group", "g", A, B, meta="5")),
    ),
    "options": (
        cib(A),
        cib(A, more=defaults("x")),
        cib(A, more=defaults("x", "y")),
        cib(A, more=defaults("y")),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_others_did_stays(name: str) -> None:
    before, after, present, wanted = CASES[name]
    result = taken_back(undo_of(before, after), after if present is None else present)
    assert render(result) == render(wanted)
    assert refusal(result) == ""


@pytest.mark.parametrize("name", CASES)
def test_without_others_it_is_as_before(name: str) -> None:
    before, after, _present, _wanted = CASES[name]
    assert render(taken_back(undo_of(before, after), after)) == render(before)
