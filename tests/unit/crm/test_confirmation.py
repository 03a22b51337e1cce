"""A commit that waits for its confirmation."""

from __future__ import annotations

from crm.cib.model import Element, element
from crm.cib.objects import encode, undo_of
from crm.cib.schema import refusal
from crm.confirmation import GRACE_NS, Pending, Watch, pending_in, rolled_back, with_pending, without

S = 1_000_000_000


def configuration(kind: str) -> Element:
    return element(
        "configuration",
        None,
        element("crm_config"),
        element("nodes"),
        element(
            "resources",
            None,
            element("primitive", {"id": "a", "class": "ocf", "provider": "x", "type": kind}),
        ),
        element("constraints"),
    )


def a_pending(**changes: object) -> Pending:
    undo = encode(undo_of(configuration("old"), configuration("new")))
    values = {"id": "1", "until_s": 1_300, "within_ms": 300_000, "by": "eve", "undo": undo, "guards": ("a",)}
    return Pending(**(values | changes))  # type: ignore[arg-type]


def test_it_travels_in_the_configuration_and_can_be_taken_out_again() -> None:
    written = with_pending(configuration("new"), a_pending())
    assert refusal(written) == ""
    assert pending_in(written) == a_pending()
    assert without(written) == configuration("new")
    assert pending_in(configuration("new")) is None


def test_it_is_rolled_back_object_by_object() -> None:
    written = with_pending(configuration("new"), a_pending())
    assert rolled_back(written) == configuration("old")
    assert rolled_back(with_pending(configuration("new"), a_pending(undo="?"))) == configuration("new")


def verdict(watch: Watch, pending: Pending, now_s: float, wall_s: int = 1_000, **more: object) -> str:
    values = {"idle": True, "missing": ()} | more
    return watch.verdict(pending, now_ns=int(now_s * S), wall_s=wall_s, **values)  # type: ignore[arg-type]


def test_time_is_over_by_the_dcs_own_clock_or_by_the_wall() -> None:
    watch = Watch()
    assert verdict(watch, a_pending(), 50) == ""
    assert verdict(watch, a_pending(), 349) == ""
    assert verdict(watch, a_pending(), 350) == "it was not confirmed in time"
    # A new DC has not seen the beginning: the wall clock decides.
    assert verdict(Watch(), a_pending(), 10, 1_299) == ""
    assert verdict(Watch(), a_pending(), 10, 1_300) == "it was not confirmed in time"
    # Another commit is another count.
    assert verdict(watch, a_pending(id="2"), 351) == ""


def test_a_guard_counts_once_it_ran_or_the_cluster_rests_without_it() -> None:
    watch = Watch()
    assert verdict(watch, a_pending(), 0, missing=("a",)) == ""  # not planned yet
    assert verdict(watch, a_pending(), 10, missing=("a",), idle=False) == ""  # on its way
    assert verdict(watch, a_pending(), 11, missing=("a",)) == "a does not run"
    watch = Watch()
    assert verdict(watch, a_pending(), 0) == ""
    assert verdict(watch, a_pending(), 1, missing=("a",), idle=False) == "a does not run"
    assert GRACE_NS < 10 * S
