"""A CIB is spelled once for each set of rights, and never shown to others or after it has changed."""

from __future__ import annotations

import pytest

from crm.acl import Kind, Permission
from crm.api import spelling
from crm.api.spelling import VIEWS_MAX, Spelling
from crm.cib.codec import parse
from crm.cib.model import Element, element
from hacluster.errors import PermissionDenied

CIB = element("cib", {"epoch": "1"}, element("configuration"), element("status"))


def may(tag: str) -> tuple[Permission, ...]:
    return (Permission(kind=Kind.READ, tag=tag),)


class Readable:
    """Shows only the part that the first permission names. `asked` counts."""

    asked = 0

    def __call__(self, cib: Element, rules: tuple[Permission, ...]) -> Element:
        self.asked += 1
        part = cib.child(rules[0].tag)
        if part is None:
            raise PermissionDenied(what="nothing to see")
        return part


def test_once_for_each_set_of_rights_and_each_cib() -> None:
    readable = Readable()
    made = Spelling(readable)
    for _ in range(3):
        assert parse(made.text(CIB, None)) == CIB
        assert parse(made.text(CIB, may("status"))).tag == "status"
        assert parse(made.text(CIB, may("configuration"))).tag == "configuration"
    assert readable.asked == 2
    later = CIB.with_attributes(epoch="2")
    assert parse(made.text(later, None)) == later
    assert parse(made.text(later, may("status"))).tag == "status"
    assert readable.asked == 3


def test_an_equal_cib_is_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Spelling(Readable())
    text = made.text(CIB, None)
    monkeypatch.delattr(spelling, "render")
    assert made.text(parse(text), None) is text


def test_a_refusal_is_nothing_to_keep() -> None:
    readable = Readable()
    made = Spelling(readable)
    for asked in (1, 2):
        with pytest.raises(PermissionDenied):
            made.text(CIB, may("secrets"))
        assert readable.asked == asked


def test_so_many_views_are_kept_and_the_rest_are_spelled_anew() -> None:
    readable = Readable()
    made = Spelling(readable)
    many = [(*may("status"), *may(f"x{number}")) for number in range(VIEWS_MAX + 5)]
    for rules in (None, *many, *many):
        assert made.text(CIB, rules)
    assert readable.asked == VIEWS_MAX + 5 + 5
