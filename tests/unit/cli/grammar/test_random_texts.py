"""Random configurations of every kind: text -> CIB -> text -> the same CIB."""

from __future__ import annotations

import sys

import pytest

from cli.grammar.definitions import parse_text
from cli.grammar.document import configuration_of, empty_cib
from cli.grammar.exact import exact
from cli.grammar.load import Mode, load
from cli.grammar.show import show
from crm.cib import codec
from crm.cib.model import Element
from tests.unit.cli.grammar.random_texts import random_text


def loaded(text: str, cib: Element | None = None, mode: Mode = Mode.UPDATE) -> Element:
    return load(cib or empty_cib(), parse_text(text, "text"), source="text", mode=mode).cib


def check(seed: object) -> None:
    """Raises AssertionError, or what the shell raises."""
    text = random_text(seed)
    cib = loaded(text)
    codec.parse(codec.render(cib), source="what is written")
    shown = show(cib)
    again = loaded(shown)
    assert show(again) == shown
    assert _said(again) == _said(cib)
    assert _whole(loaded(exact(cib))) == _whole(cib)
    for mode in (Mode.UPDATE, Mode.PUSH):
        assert _whole(loaded(shown, cib, mode)) == _whole(cib), mode
    ids = [one.id for one in configuration_of(cib).walk() if one.id and one.tag not in _REFERENCES]
    assert len(ids) == len(set(ids))


_REFERENCES = ("resource_ref", "obj_ref", "role", "node")
_NAMED = (
    *("node", "template", "primitive", "group", "clone", "master", "bundle", "tag", "acl_role", "acl_target"),
    *("rsc_location", "rsc_colocation", "rsc_order", "rsc_ticket", "alert", "cluster_property_set"),
)


def _whole(cib: Element) -> list[str]:
    """All of it, in its order; but for the order of attributes."""
    return _lines(configuration_of(cib), 0, ids=True)


def _said(cib: Element) -> str:
    """All that is said, ids of parts aside, objects in the order of their names."""
    out: list[str] = []
    for section in configuration_of(cib).children:
        out += sorted("\n".join(_lines(child, 0, ids=False)) for child in section.children)
    return "\n".join(out)


def _lines(item: Element, depth: int, *, ids: bool) -> list[str]:
    named = ids or item.tag in _NAMED or item.tag in _REFERENCES
    words = [
        f"{name}={value}" for name, value in sorted(item.attributes.items()) if named or name[:2] != "id"
    ]
    lines = [" ".join([" " * depth + item.tag, *item.text.replace("#", "# ").split(), *words])]
    for child in item.children:
        lines += _lines(child, depth + 1, ids=ids)
    return lines


@pytest.mark.parametrize("seed", range(40))
def test_what_is_shown_loads_to_the_same(seed: int) -> None:
    check(seed)


if __name__ == "__main__":
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        try:
            check(number)
        except Exception as error:
            print(f"{number}: {type(error).__name__} {str(error)[:300]}")
            raise
