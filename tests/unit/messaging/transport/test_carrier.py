"""Connectivity: devices that run and targets that answer, told when it changes, and as heartbeats say it."""

from __future__ import annotations

import pytest

from messaging.packet import CONNECTIVITY_MAX, connectivity_of, load_of
from messaging.transport import carrier
from messaging.transport.carrier import Connectivity, running


def test_loopback_runs_and_what_is_not_known_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert running(["127.0.0.1"]) == 1
    assert running(["fd00::1"]) == 1
    monkeypatch.setattr(carrier, "_devices", lambda: {"10.0.0.1": True, "10.1.0.1": False})
    assert running(["10.0.0.1", "10.1.0.1", "10.2.0.1"]) == 2


def test_only_changes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = {"10.0.0.1": True}
    monkeypatch.setattr(carrier, "_devices", lambda: dict(devices))
    pings, told = [2], list[int]()
    looks = Connectivity(["10.0.0.1"], lambda: pings[0], told.append)
    looks.look()
    looks.look()
    devices["10.0.0.1"] = False
    looks.look()
    pings[0] = 0
    looks.look()
    assert told == [3, 2, 0]


@pytest.mark.parametrize("health", [0, 3, 8])
@pytest.mark.parametrize("connectivity", [None, 0, 5, CONNECTIVITY_MAX, CONNECTIVITY_MAX + 9])
def test_health_and_connectivity_share_a_byte(health: int, connectivity: int | None) -> None:
    load = load_of(health, connectivity)
    assert 0 <= load <= 255
    assert load & 0xF == health
    said = None if connectivity is None else min(connectivity, CONNECTIVITY_MAX)
    assert connectivity_of(load) == said
