"""Files of ha-messaging."""

from __future__ import annotations

from pathlib import Path

from hacluster.paths import Paths
from hacluster.vocabulary.ids import BootToken
from messaging.membership.events import Durable
from messaging.store import DISKLESS_SHIFT, Store

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


def test_a_damaged_slot_is_not_passed_over(tmp_path: Path) -> None:
    """To fall back to the other would be to forget the newer promise."""
    store = a_store(tmp_path)
    store.keep(Durable(promised=3))
    store.keep(Durable(promised=4))
    folder = tmp_path / "var/lib/hacluster/messaging"
    slots = sorted(folder.glob("view.*"))
    assert [path.name for path in sorted(folder.iterdir())] == ["view.0", "view.1"], "nothing is left over"
    newer = slots[0].read_bytes()
    slots[0].write_bytes(newer.replace(b'"promised": 4', b'"promised": 0'))
    assert a_store(tmp_path).durable() == Durable(promised=3, trusted=False, forgetful=True)
    slots[1].write_bytes(b"")
    assert a_store(tmp_path).durable() == Durable(trusted=False, forgetful=True)


def test_the_next_promise_replaces_the_damaged_one(tmp_path: Path) -> None:
    for damaged in (0, 1):
        root = tmp_path / str(damaged)
        a_store(root).keep(Durable(promised=3))
        a_store(root).keep(Durable(promised=4))
        (root / f"var/lib/hacluster/messaging/view.{damaged}").write_bytes(b"x")
        a_store(root).keep(Durable(promised=7))
        if not a_store(root).durable().trusted:
            a_store(root).keep(Durable(promised=8))
        assert a_store(root).durable().trusted
        assert a_store(root).durable().promised >= 7


def test_the_wait_for_all_flag_is_this_boots(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    assert not store.all_seen
    store.mark_all_seen()
    assert a_store(tmp_path).all_seen
    assert not a_store(tmp_path, BootToken("02" * 32)).all_seen


def test_whom_it_has_met_is_this_boots(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    assert store.met == frozenset()
    store.keep_met(frozenset({1, 12}))
    assert a_store(tmp_path).met == {1, 12}
    assert a_store(tmp_path, BootToken("02" * 32)).met == frozenset()
    (tmp_path / "run/hacluster/nodes-met").write_text("")
    assert a_store(tmp_path).met == frozenset()


def test_highest_incarnations_seen_are_a_hint(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    assert store.seen() == {}
    store.keep_seen({1: 5, 2: 9})
    assert a_store(tmp_path).seen() == {1: 5, 2: 9}
    (tmp_path / "var/lib/hacluster/messaging/peers").write_text("not json")
    assert a_store(tmp_path).seen() == {}


def test_a_diskless_node_counts_by_the_clock_and_remembers_until_its_next_boot(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.run.mkdir(parents=True)
    store = Store(paths, BootToken("aa" * 32), diskless=True)
    first = store.next_incarnation()
    assert first >> DISKLESS_SHIFT > 1_600_000_000
    store.keep(Durable(promised=7))
    again = Store(paths, BootToken("aa" * 32), diskless=True)
    assert again.next_incarnation() > first
    assert again.durable().promised == 7
    assert not paths.var.exists()


def test_node_lists_of_former_runs_are_remembered(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    two, three = ((1, "a"), (2, "b")), ((1, "a"), (2, "b"), (3, "c"))
    assert store.node_lists(two) == ()
    assert store.node_lists(two) == ()
    assert store.node_lists(three) == (two,)
    assert a_store(tmp_path).node_lists(three) == (two,)
    assert store.node_lists(two) == (three,)
    (tmp_path / "var/lib/hacluster/messaging/nodes").write_text("[[1, 2], 7]")
    assert store.node_lists(two) == ()
