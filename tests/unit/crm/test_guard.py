"""What ha-crm tells its node's sentinel, and when the node leaves by itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from crm.attributes import AttributeKeeper
from crm.cib.codec import parse
from crm.fencing.history import FencingRecord, FencingState
from crm.guard import Guard
from hacluster.clock import SystemClock
from hacluster.sentinel_word import WordFile
from hacluster.vocabulary.ids import BootToken
from hacluster.vocabulary.sentinel import ACTIVITY, STATE, VERDICT, Word

BOOT = "b" * 64


def options(**values: str) -> str:
    pairs = "".join(f'<nvpair id="{n}" name="{n}" value="{v}"/>' for n, v in values.items())
    return (
        f'<configuration><crm_config><cluster_property_set id="c">{pairs}</cluster_property_set></crm_config>'
        '<resources><primitive id="a" class="ocf" type="Dummy"/></resources></configuration>'
    )


@dataclass
class Ground:
    run: Path
    configuration: str = field(default_factory=options)
    alone: bool = False
    failed: tuple[str, ...] = ()
    left: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        keeper = AttributeKeeper(
            self.run / "attributes", BootToken(BOOT), 1, later=lambda _ms, _name: None, changed=lambda: None
        )
        self.guard = Guard(
            self.run,
            "n1",
            BOOT,
            keeper,
            self.clock,
            lambda: parse(self.configuration),
            alone=lambda: self.alone,
            failed_stops=lambda: self.failed,
            stay_out=self.left.append,
        )

    def guarded(self) -> None:
        WordFile(self.run, STATE).write(Word(self.clock.now_ns(), 10_000, "hardware"))

    def active(self, count: int) -> None:
        WordFile(self.run, ACTIVITY).write(Word(self.clock.now_ns(), count))

    @property
    def verdict(self) -> str:
        word = WordFile(self.run, VERDICT).read()
        return word.note if word is not None else ""


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def fenced(**changes: str) -> FencingRecord:
    record = FencingRecord(
        id="1",
        target="n1",
        action="off",
        dc="n2",
        client="",
        state=FencingState.DONE,
        version=2,
        began_s=1,
        changed_s=2,
        boot=BOOT[:16],
    )
    return replace(record, **changes)  # type: ignore[arg-type]  # only texts are changed


def test_a_guarded_node_that_was_fenced_dies_while_something_is_active(ground: Ground) -> None:
    ground.guarded()
    ground.active(2)
    ground.guard.fenced(fenced())
    assert (ground.verdict, ground.left) == ("told that it was fenced", [])


@pytest.mark.parametrize(
    ("guarded", "active", "reaction"), [(1, 2, "stop"), (0, 2, "panic"), (1, 0, "panic")]
)
def test_else_it_stops_and_stays_out(ground: Ground, guarded: int, active: int, reaction: str) -> None:
    ground.configuration = options(**{"fence-reaction": reaction})
    if guarded:
        ground.guarded()
    ground.active(active)
    ground.guard.fenced(fenced())
    assert (ground.verdict, len(ground.left)) == ("", 1)


@pytest.mark.parametrize("changes", [{"target": "n2"}, {"boot": "c" * 16}, {"boot": ""}, {"action": "on"}])
def test_another_node_or_boot_is_no_news(ground: Ground, changes: dict[str, str]) -> None:
    ground.guarded()
    ground.active(2)
    ground.guard.fenced(fenced(**changes))
    assert (ground.verdict, ground.left) == ("", [])


def test_a_failed_stop_ends_the_node_when_nobody_may_fence_it(ground: Ground) -> None:
    ground.guarded()
    ground.failed = ("a",)
    ground.guard.consider()
    assert ground.verdict == "", "with quorum the DC fences it"
    ground.alone = True
    ground.guard.consider()
    assert ground.verdict == "a stop failed without quorum"


def test_without_a_sentinel_it_is_only_said(ground: Ground) -> None:
    ground.alone, ground.failed = True, ("a",)
    ground.guard.consider()
    assert ground.verdict == ""
