"""Files of ha-messaging."""

from __future__ import annotations

from pathlib import Path

from hacluster.paths import Paths
from hacluster.vocabulary.ids import BootToken
from messaging.membership.events import Durable
from messaging.store import Store

BOOT = BootToken("01" * 32)


def a_store(root: Path, boot: BootToken = BOOT) -> Store:
    paths = Paths(root)
    paths.run.mkdir(parents=True, exist_ok=True)
    return Store(paths, boot)


def test_incarnations_only_grow(tmp_path: Path) -> None:
    assert [a_store(tmp_path).next_incarnation() for _ in range(3)] == [1, 2, 3]
    a_store(tmp_path).raise_incarnation(40)
    assert a_store(tmp_path).next_incarnation() == 41


def test_promises_come_back(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    assert store.durable() == Durable()
    for promised in (3, 4, 5):
        store.keep(Durable(promised=promised, boot_token=BOOT))
    assert a_store(tmp_path).durable() == Durable(promised=5, boot_token=BOOT)


def test_one_damaged_slot_is_survived_and_two_are_known(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    store.keep(Durable(promised=3))
    store.keep(Durable(promised=4))
    slots = sorted((tmp_path / "var/lib/hacluster/messaging").glob("view.*"))
    slots[0].write_bytes(b"torn")  # the one written last
    assert a_store(tmp_path).durable() == Durable(promised=3)
    slots[1].write_bytes(b"")
    assert a_store(tmp_path).durable() == Durable(trusted=False)


def test_the_wait_for_all_flag_is_this_boots(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    assert not store.all_seen
    store.mark_all_seen()
    assert a_store(tmp_path).all_seen
    assert not a_store(tmp_path, BootToken("02" * 32)).all_seen


def test_highest_incarnations_seen_are_a_hint(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    assert store.seen() == {}
    store.keep_seen({1: 5, 2: 9})
    assert a_store(tmp_path).seen() == {1: 5, 2: 9}
    (tmp_path / "var/lib/hacluster/messaging/peers").write_text("not json")
    assert a_store(tmp_path).seen() == {}
