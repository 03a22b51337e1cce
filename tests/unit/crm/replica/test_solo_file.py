from __future__ import annotations

from pathlib import Path

from crm.cib.replication.solo import SoloRight, same_boot
from crm.replica.solo_file import SoloRightFile


def test_it_outlives_the_daemon_and_not_the_boot(tmp_path: Path) -> None:
    path = tmp_path / "run" / "solo-right"
    assert SoloRightFile(path, "boot 1").read() == ""
    SoloRightFile(path, "boot 1").keep("other")
    assert SoloRightFile(path, "boot 1").read() == "other"
    assert SoloRightFile(path, "boot 2").read() == ""
    path.write_text("{ nonsense")
    assert SoloRightFile(path, "boot 1").read() == ""


def test_sixteen_digits_name_a_boot() -> None:
    assert same_boot("a" * 64, "a" * 16)
    assert not same_boot("a" * 64, "a" * 15)
    assert not same_boot("a" * 64, "a" * 15 + "b")


def test_the_right_needs_a_shared_commit_and_the_confirmation_of_that_boot() -> None:
    one, two = "1" * 64, "2" * 64
    solo = SoloRight("")
    solo.confirmed_off(one)
    assert not solo.may_go_alone
    assert solo.committed_with(one)
    assert solo.may_go_alone
    assert not solo.saw(one[:16])  # it lives: the confirmation is void, the right stays
    assert not solo.may_go_alone
    solo.confirmed_off(two)
    assert not solo.may_go_alone
    assert solo.saw(two)
    solo.confirmed_off(two)
    assert not solo.may_go_alone
