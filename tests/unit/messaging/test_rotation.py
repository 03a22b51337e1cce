"""Keys are taken when every member that is heard can follow."""

from __future__ import annotations

from messaging.membership.detector import Peer
from messaging.membership.events import ConfiguredNode
from messaging.rotation import objections
from tests.unit.messaging.lab import a_heartbeat, a_keyring
from tests.unit.messaging.membership.test_deadtime import a_config


def a_peer(name: str, key_ids: int, signs_with: int) -> Peer:
    peer = Peer(a_config(), ConfiguredNode(id=2, name=name), 1)  # type: ignore[arg-type]
    peer.heard, peer.signs_with = True, signs_with
    peer.heartbeat = a_heartbeat(key_ids=key_ids)
    return peer


def test_each_step_waits_for_the_one_before() -> None:
    old, both = a_peer("old", 0b10, 1), a_peer("both", 0b110, 1)
    assert objections(a_keyring("sha256", 1, 2), [old, both]) == []  # key 2 is added, 1 signs
    assert objections(a_keyring("sha256", 2, 1), [both]) == []
    assert "old does not list key 2" in objections(a_keyring("sha256", 2, 1), [old, both])[0]
    assert "both still signs with key 1" in objections(a_keyring("sha256", 2), [both])[0]
    both.signs_with = 2
    assert objections(a_keyring("sha256", 2), [both]) == []


def test_who_is_not_heard_does_not_count() -> None:
    gone = a_peer("gone", 0b10, 1)
    gone.heard = False
    assert objections(a_keyring("sha256", 2), [gone]) == []
