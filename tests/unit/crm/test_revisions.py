"""Configurations of the past, on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm import revisions
from crm.cib.codec import parse
from crm.cib.model import Element, element
from crm.revisions import Head, heads, keep, read


def a_head(epoch: int, author: str = "root@node1") -> Head:
    return Head(admin_epoch=0, epoch=epoch, changed_s=100 + epoch, author=author)


def a_configuration(name: str) -> Element:
    return element("configuration", None, element("resources", None, element("primitive", {"id": name})))


def test_they_are_kept_in_order_and_come_back(tmp_path: Path) -> None:
    for epoch in (9, 10, 11):
        keep(tmp_path / "r", a_head(epoch), a_configuration(f"p{epoch}"))
    assert [one.epoch for one in heads(tmp_path / "r")] == [9, 10, 11]
    head, xml = read(tmp_path / "r", 0, 10)
    assert (head, parse(xml)) == (a_head(10), a_configuration("p10"))
    assert (tmp_path / "r" / "0.10.gz").stat().st_mode & 0o777 == 0o640
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "r", 0, 12)


def test_the_oldest_go_and_what_is_damaged_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revisions, "KEPT_MAX", 2)
    for epoch in (9, 10, 11):
        keep(tmp_path, a_head(epoch), a_configuration("p"))
    (tmp_path / "0.10.gz").write_bytes(b"damaged")
    assert [one.epoch for one in heads(tmp_path)] == [11]


def test_one_that_is_only_found_does_not_replace_the_commit(tmp_path: Path) -> None:
    keep(tmp_path, a_head(9), a_configuration("p"))
    keep(tmp_path, a_head(9, ""), a_configuration("p"))
    assert heads(tmp_path) == [a_head(9)]
