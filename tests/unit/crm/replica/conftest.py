"""Fixtures of the tests of replicas."""

from __future__ import annotations

import pytest

from tests.unit.crm.replica.net import Net


@pytest.fixture
def three() -> Net:
    net = Net(3)
    net.view(1, 2, 3)
    assert net.nodes[1].dc.established
    return net
