"""POSIX's regular expressions, as rsc-pattern and target-pattern have them."""

from __future__ import annotations

import pytest

from crm.scheduler.patterns import compiled


@pytest.mark.parametrize(
    ("text", "fits", "others"),
    [
        ("^node[[:digit:]]$", ["node1"], ["nodex", "node:]", "node12"]),
        ("^[[:alpha:]_]+[^[:digit:]]$", ["a_b"], ["ab1", "1"]),
        ("^[[:xdigit:]]+[[:blank:]]", ["beef "], ["beef\n", "beer "]),
        ("web|db", ["my-db"], ["mail"]),
    ],
)
def test_what_fits(text: str, fits: list[str], others: list[str]) -> None:
    pattern = compiled(text)
    assert pattern is not None
    assert [name for name in (*fits, *others) if pattern.search(name)] == fits


@pytest.mark.parametrize("text", ["(", "[a", "*a", "a{99999999999}", "(" * 5_000 + ")" * 5_000])
def test_what_is_none(text: str) -> None:
    assert compiled(text) is None
