"""A commit that waits for its confirmation."""

from __future__ import annotations

import pytest

from crm.cib.codec import render
from crm.cib.model import Element, element
from crm.cib.objects import encode, undo_of
from crm.cib.schema import refusal
from crm.confirmation import (
    GRACE_NS,
    Pending,
    Watch,
    by_a_limited_user,
    given_up,
    obstacle,
    pending_in,
    rolled_back,
    secret_free,
    with_pending,
    without,
)
from hacluster.errors import PermissionDenied

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


def test_a_way_back_that_cannot_be_gone_is_marked_and_not_tried_again() -> None:
    broken = with_pending(configuration("new"), a_pending(undo="?"))
    why = obstacle(broken)
    assert "not readable" in why
    assert obstacle(with_pending(configuration("new"), a_pending())) == ""
    marked = given_up(broken, why)
    found = pending_in(marked)
    assert found == a_pending(undo="?", failed=why)
    assert refusal(marked) == ""
    assert verdict(Watch(), a_pending(), 10, 2_000) != ""
    assert verdict(Watch(), found, 10, 2_000) == ""
    assert given_up(configuration("new"), "x") == configuration("new")


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


def test_a_limited_user_neither_sees_nor_says_the_way_back() -> None:
    standing = with_pending(configuration("new"), a_pending())
    shown = secret_free(standing)
    assert a_pending().undo not in render(shown)
    assert pending_in(shown) == a_pending(undo="")
    assert secret_free(configuration("new")) == configuration("new")
    # What was shown, sent back: it stands as it did. Without it: confirmed.
    assert by_a_limited_user(standing, shown) == standing
    assert by_a_limited_user(standing, configuration("other")) == configuration("other")
    with pytest.raises(PermissionDenied):
        by_a_limited_user(standing, with_pending(configuration("new"), a_pending(until_s=1)))
    # A forged way back is replaced by that of the change itself.
    forged = encode(undo_of(configuration("root's"), configuration("old")))
    written = by_a_limited_user(
        configuration("old"), with_pending(configuration("new"), a_pending(undo=forged))
    )
    assert rolled_back(written) == configuration("old")


@pytest.mark.parametrize("nested", [False, True])
def test_a_set_that_only_looks_like_the_clusters_own_is_refused_or_not_read(nested: bool) -> None:
    own = a_pending().as_element()
    odd = element("cluster_property_set", {"id": "x"}, own) if nested else own.with_children(())
    written = configuration("new").mapped(
        lambda part: part.with_children((odd,)) if part.tag == "crm_config" else part
    )
    assert pending_in(written) is None
    if not nested:
        with pytest.raises(PermissionDenied):
            by_a_limited_user(configuration("new"), written)
