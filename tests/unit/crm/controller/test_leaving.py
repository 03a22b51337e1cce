"""When a node leaves by its own word."""

from __future__ import annotations

from crm.controller.leaving import Leaving


def test_without_a_view_an_empty_node_leaves_at_once() -> None:
    assert Leaving().may_leave(100, has_view=False, has_dc=False, active=())


def test_with_a_view_the_dc_lets_it_go() -> None:
    leaving = Leaving(5_000)
    for _ in range(100):
        assert not leaving.may_leave(100, has_view=True, has_dc=True, active=())


def test_what_runs_or_is_not_known_waits_for_a_view_and_a_dc() -> None:
    for active in (("web",), None):
        leaving = Leaving(500)
        asked = [leaving.may_leave(100, has_view=False, has_dc=False, active=active) for _ in range(5)]
        assert asked == [False, False, False, False, True]
        assert leaving.out_of_patience


def test_a_dc_makes_it_patient_again() -> None:
    leaving = Leaving(200)
    assert not leaving.may_leave(100, has_view=True, has_dc=False, active=())
    assert not leaving.may_leave(100, has_view=True, has_dc=True, active=())
    assert not leaving.may_leave(100, has_view=True, has_dc=False, active=())
    assert leaving.may_leave(100, has_view=True, has_dc=False, active=())


def test_it_may_have_patience_without_end() -> None:
    leaving = Leaving()
    assert not any(leaving.may_leave(100, has_view=True, has_dc=False, active=()) for _ in range(1_000))
