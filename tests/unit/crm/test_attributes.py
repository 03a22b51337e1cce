"""The keeper of a node's attributes: over a restart, not over a reboot; dampening."""

from __future__ import annotations

import asyncio
from pathlib import Path

from crm.attributes import AttributeKeeper, DampeningTimers
from hacluster.vocabulary.ids import BootToken


class Kept:
    """A keeper, and what it asked of its surroundings."""

    def __init__(self, path: Path, boot: str = "a" * 64) -> None:
        self.changes = 0
        self.delays: list[tuple[int, str]] = []
        self.keeper = AttributeKeeper(
            path,
            BootToken(boot),
            7,
            later=lambda ms, name: self.delays.append((ms, name)),
            changed=self._changed,
        )

    def _changed(self) -> None:
        self.changes += 1


def test_kept_over_a_restart_and_not_over_a_reboot(tmp_path: Path) -> None:
    path = tmp_path / "run" / "attributes.json"
    first = Kept(path)
    first.keeper.change({"master-db": "10", "gone": "1"})
    first.keeper.change({"gone": ""})
    assert (first.changes, first.keeper.sequence) == (2, 3)
    assert Kept(path).keeper.published == {"master-db": "10"}
    assert Kept(path, boot="b" * 64).keeper.current == {}


def test_a_shutdown_that_was_under_way_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "attributes.json"
    Kept(path).keeper.change({"shutdown": "1000"})
    assert Kept(path).keeper.current == {}


def test_a_damaged_file_is_no_reason_not_to_start(tmp_path: Path) -> None:
    path = tmp_path / "attributes.json"
    for text in ("{", "[]", '{"boot_token": "' + "a" * 64 + '", "values": 5}'):
        path.write_text(text)
        assert Kept(path).keeper.current == {}


def test_dampening_holds_back_only_what_it_was_asked_for(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "attributes.json")
    kept.keeper.change({"pingd": "2"}, 5_000)
    assert kept.keeper.current == {"pingd": "2"}
    assert kept.keeper.published == {}
    assert kept.delays == [(5_000, "pingd")]
    kept.keeper.change({"other": "1"})
    assert kept.keeper.published == {"other": "1"}
    kept.keeper.change({"pingd": "1"}, None)
    assert kept.delays == [(5_000, "pingd")] * 2, "as asked for before"
    kept.keeper.settle("pingd")
    assert kept.keeper.published == {"other": "1", "pingd": "1"}
    changes = kept.changes
    kept.keeper.settle("pingd")
    assert kept.changes == changes, "nothing new"


def test_dampening_begins_anew_with_each_change_and_with_nothing_else(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "attributes.json")
    for value in ("2", "2", "1", "1"):
        kept.keeper.change({"pingd": value}, 5_000)
    assert kept.delays == [(5_000, "pingd")] * 2


async def test_an_attribute_has_one_timer() -> None:
    """Else the first change's would tell the cluster what is about to change again."""
    settled: list[str] = []
    fired = asyncio.Event()

    def settle(name: str) -> None:
        settled.append(name)
        if name == "last":
            fired.set()

    timers = DampeningTimers(settle)
    timers.later(1, "pingd")
    timers.later(3_600_000, "pingd")
    timers.later(1, "once")
    timers.later(2, "last")
    async with asyncio.timeout(10):
        await fired.wait()
    assert settled == ["once", "last"], "pingd's first delay is over, and does not count"
    fired.clear()
    timers.later(0, "pingd")
    timers.later(1, "once")
    timers.later(2, "last")
    async with asyncio.timeout(10):
        await fired.wait()
    assert settled == ["once", "last", "pingd", "once", "last"]
