"""What histories say by themselves, read once: elements never change, and most are there again next time."""

from __future__ import annotations

from typing import Final

from crm.cib.model import Element
from crm.scheduler import history
from hacluster.records import record

_NOT_RUNNING: Final = 7
_DONE: Final = 0


@record(frozen=True)
class Facts:
    """An <lrm_rsc_op> as numbers; `rc` and `status` are None where they are none."""

    item: Element
    task: str
    interval_ms: int
    rc: int | None
    status: int | None
    expected: int


@record(frozen=True)
class Reading:
    """An <lrm_resource>: its entries, oldest first, and where the present active period begins and ended.

    `start` is the index of what started it, `stop` that of the last successful stop; -1 for none.
    """

    item: Element
    agent: tuple[str, str, str]  # class, provider, type
    entries: tuple[Facts, ...]
    start: int
    stop: int
    is_stopped_probe: bool  # nothing but a probe that found the resource stopped


def read(item: Element) -> Reading:
    """Read an <lrm_resource>."""
    entries = tuple(_facts(entry) for entry in history.by_age(item.all("lrm_rsc_op")))
    start, stop = active_period(entries)
    agent = (item.get("class"), item.get("provider"), item.get("type"))
    return Reading(item, agent, entries, start, stop, _is_stopped_probe(entries))


def _facts(item: Element) -> Facts:
    return Facts(
        item,
        history.task_of(item),
        history.interval_ms(item),
        history.rc_of(item),
        history.status_of(item),
        history.expected_rc(item),
    )


def _is_stopped_probe(entries: tuple[Facts, ...]) -> bool:
    if len(entries) != 1:
        return False
    one = entries[0]
    return (
        (one.task, one.interval_ms, one.rc, one.status) == ("monitor", 0, _NOT_RUNNING, _DONE)
        # A failure may have to be forgotten.
        and not one.item.id.endswith("_last_failure_0")
    )


def active_period(entries: tuple[Facts, ...]) -> tuple[int, int]:
    """(index of what started the present active period, index of the last successful stop); -1 for none."""
    start = stop = -1
    implied_monitor = implied_clone = -1
    for index, entry in enumerate(entries):
        task = entry.task
        if task == "stop" and entry.item.get("op-status") == "0":
            stop = index
        elif task in {"start", "migrate_from"}:
            start = index
        elif task == "monitor" and implied_monitor <= stop:
            if entry.item.get("rc-code") in {"0", "8"}:
                implied_monitor = index
        elif task in {"promote", "demote"}:
            implied_clone = index
    if start == -1:
        start = implied_clone if implied_clone != -1 else implied_monitor
    return start, stop


class Readings:
    """Readings by element; those that a run did not need are forgotten at the next but one."""

    def __init__(self) -> None:
        self._before: dict[int, Reading] = {}
        self._now: dict[int, Reading] = {}

    def begin(self) -> None:
        """A run begins."""
        self._before, self._now = self._now, {}

    def of(self, item: Element) -> Reading:
        """What this very element says."""
        key = id(item)  # of an element that is kept, so that no other can have it
        found = self._now.get(key)
        if found is None:
            found = self._before.get(key)
            if found is None:
                found = read(item)
            self._now[key] = found
        return found
