"""Plain numbers, and what only looks like one, where a configuration or a peer may write them."""

from __future__ import annotations

import pytest

from crm.cib.model import element
from crm.confirmation import SET_ID, pending_in
from crm.scheduler.values import natural_key
from crm.transition.throttle import limits_from
from hacluster.digits import is_count

NO_NUMBERS = ("²", "٣²", "1²", "", "-1", "--5", "+1", " 1", "1.5", "1" * 5_000)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_int_may_refuse_is_no_count(text: str) -> None:
    assert not is_count(text)


def test_digits_are_a_count() -> None:
    assert is_count("0")
    assert is_count("007")
    assert is_count("9" * 18)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_limits_that_cannot_be_read_are_the_defaults(text: str) -> None:
    found = limits_from({"node-action-limit": text, "load-threshold": f"{text}%"}, {})
    assert (found.node_actions, found.load_threshold) == (0, 0.8)


def test_limits_are_read() -> None:
    found = limits_from({"node-action-limit": "3", "load-threshold": "50%"}, {})
    assert (found.node_actions, found.load_threshold) == (3, 0.5)


@pytest.mark.parametrize("text", ["²", "1" * 5_000])
def test_a_commit_to_confirm_with_no_instant_is_none(text: str) -> None:
    wanted = {"confirm-id": "a", "confirm-until": text, "confirm-within-ms": "1"}
    pairs = (element("nvpair", {"id": name, "name": name, "value": at}) for name, at in wanted.items())
    options = element("cluster_property_set", {"id": SET_ID}, *pairs)
    assert pending_in(element("configuration", {}, element("crm_config", {}, options))) is None


def test_names_with_endless_numbers_have_an_order() -> None:
    assert natural_key("a" + "1" * 5_000) != natural_key("a1")
