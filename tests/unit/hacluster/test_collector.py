"""The cycle collector: paused, and kept from what stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from hacluster.collector import collector_paused, keep_out_of_collections


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_paused_and_as_before() -> None:
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled(), "the outer one is not over"
    assert gc.isenabled()


def test_what_is_there_is_not_looked_at_again() -> None:
    before = [[]]  # type: list[list[object]]
    keep_out_of_collections()
    after: list[list[object]] = [[]]
    seen = {id(each) for each in gc.get_objects()}
    assert id(before) not in seen
    assert id(after) in seen
