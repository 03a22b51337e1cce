"""Slots on a shared disk: written by fence_qdisk, obeyed by the sentinel, and what is refused."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from agents.fencing.slots import OFF, SECTOR, Disk, Slot, SlotError, init, unpack
from lrm.sentinel.core import DiskState, Sentinel
from tests.unit.agents.fencing.test_agents import run
from tests.unit.lrm.sentinel.test_sentinel import Process, until

S = 1_000_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "qdisk"
    init(str(path), ["n", "other"])
    return path


def test_slots(disk: Path) -> None:
    opened = Disk(str(disk))
    assert opened.slots() == {"n": 0, "other": 1}
    opened.write(1, Slot("other", message=OFF, sequence=7, acknowledged=6, armed_ms=5_000))
    slot = opened.read(1)
    assert (slot.name, slot.message, slot.sequence, slot.acknowledged, slot.armed_ms) == (
        "other",
        OFF,
        7,
        6,
        5_000,
    )
    assert opened.read(0).sequence == 0, "its neighbour is untouched"
    with pytest.raises(SlotError, match="no slot"):
        opened.number_of("third")
    data = bytearray(slot.pack())
    assert len(data) == SECTOR
    for at in (0, 9, 20, 80, 100):
        damaged = bytearray(data)
        damaged[at] ^= 1
        with pytest.raises(SlotError):
            unpack(bytes(damaged))
    init(str(disk), ["only"])
    assert Disk(str(disk)).slots() == {"only": 0}, "a shorter list has an end"
    with pytest.raises(SlotError):
        init(str(disk), ["a", "a"])


def test_the_sentinel_obeys_the_disk_and_depends_on_it() -> None:
    core = Sentinel(timeout_ms=4_000, software=True, now_ns=0)
    fresh = DiskState(1 * S, poisoned=False)
    assert core.decide(1 * S, lease=None, activity=None, disk=fresh).feed
    verdict = core.decide(2 * S, lease=None, activity=None, disk=DiskState(2 * S, poisoned=True))
    assert (verdict.feed, verdict.die) == (False, True)
    core = Sentinel(timeout_ms=4_000, software=True, now_ns=0)
    assert core.decide(2 * S, lease=None, activity=None, disk=fresh).feed
    starving = core.decide(3 * S, lease=None, activity=None, disk=fresh)
    assert (starving.feed, starving.die) == (False, False)
    assert "cannot be read for 2000 ms" in starving.why
    assert core.decide(6 * S, lease=None, activity=None, disk=fresh).die


def test_who_is_not_guarded_cannot_be_fenced(disk: Path) -> None:
    code, _, err = run("fence_qdisk", action="off", plug="n", device=str(disk), msgwait="1")
    assert code == 1
    assert "no sentinel watches" in err
    opened = Disk(str(disk))
    opened.write(0, Slot("n", armed_ms=5_000))
    code, _, err = run("fence_qdisk", action="off", plug="n", device=str(disk), msgwait="1")
    assert code == 1
    assert "asks for 10 s" in err
    assert opened.read(0).message != OFF, "nothing was written"
    assert run("fence_qdisk", action="off", plug="third", device=str(disk), msgwait="60")[0] == 1
    assert run("fence_qdisk", action="off", plug="n", device=str(disk.parent / "none"))[0] == 1
    assert run("fence_qdisk", action="list", device=str(disk))[1] == "n,\nother,\n"
    assert run("fence_qdisk", action="status", plug="n", device=str(disk))[0] == 0
    assert run("fence_qdisk", action="status", plug="other", device=str(disk))[0] == 2


def test_silence_is_waited_for(disk: Path) -> None:
    """A node that hangs acknowledges nothing: its watchdog ends it within msgwait."""
    opened = Disk(str(disk))
    opened.write(0, Slot("n", armed_ms=300))
    began = time.monotonic()
    assert run("fence_qdisk", action="off", plug="n", device=str(disk), msgwait="0.7")[0] == 0
    assert time.monotonic() - began >= 0.7
    assert opened.read(0).message == OFF


@pytest.mark.slow
def test_a_poisoned_node_dies_at_once(disk: Path, tmp_path: Path) -> None:
    options = ("--watchdog", "software", "--timeout", "2s", "--qdisk", str(disk), "--self-fence", "nothing")
    sentinel = Process(tmp_path, *options)
    try:
        assert Disk(str(disk)).read(0).armed_ms == 2_000
        began = time.monotonic()
        ended: list[int] = []
        shooter = threading.Thread(
            target=lambda: ended.append(run("fence_qdisk", action="reboot", plug="n", device=str(disk))[0])
        )
        shooter.start()
        assert sentinel.process.wait(20) == 1
        shooter.join(20)
        assert ended == [0]
        assert time.monotonic() - began < 15, "acknowledged: msgwait is not waited for"
    finally:
        err = sentinel.end()
    assert "told to die by the shared disk" in err
    again = Process(tmp_path, *options)
    until(lambda: Disk(str(disk)).read(0).message != OFF, "a new life begins with a clear slot")
    assert again.process.poll() is None
    again.end(signal.SIGTERM)
    assert Disk(str(disk)).read(0).armed_ms == 0, "stopped in order: nobody watches"
