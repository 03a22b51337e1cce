"""Each user's share, and that of all."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from crm.api.shares import Shares
from hacluster.errors import ResourceExhausted


def test_each_has_a_share_and_so_have_all() -> None:
    shares = Shares("pens", 2, 3)
    with ExitStack() as held:
        held.enter_context(shares.one_for("a"))
        held.enter_context(shares.one_for("a"))
        with pytest.raises(ResourceExhausted, match="a has 2 pens open already"), shares.one_for("a"):
            pass
        held.enter_context(shares.one_for("b"))
        with pytest.raises(ResourceExhausted, match="3 pens are open already"), shares.one_for("c"):
            pass
    for user in "abc":
        with shares.one_for(user):
            pass


def test_what_ends_badly_is_given_back() -> None:
    shares = Shares("pens", 1, 1)
    for _ in range(3):
        with pytest.raises(KeyError), shares.one_for("a"):
            raise KeyError
