"""Slots on a shared disk: written by fence_qdisk, obeyed by the sentinel, and what is refused."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.fencing.slots import (
    BLOCK,
    OFF,
    RECORDS_AT,
    SECTOR,
    Disk,
    Message,
    NodeState,
    Record,
    SlotError,
    init,
    unpack_message,
    unpack_node,
)
from hacluster.clock import SystemClock
from hacluster.vocabulary.sentinel import STATE
from lrm.sentinel.core import DiskState, Sentinel
from lrm.sentinel.poison import PoisonWatch
from tests.unit.agents.fencing.test_agents import run
from tests.unit.lrm.sentinel.test_sentinel import Process, run_to_end, until

S = 1_000_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "qdisk"
    init(str(path), ["n", "other"])
    return path


def test_slots(disk: Path) -> None:
    opened = Disk(str(disk))
    assert opened.slots() == {"n": 0, "other": 1}
    message = Message("other", message=OFF, sequence=7, boot="b" * 64)
    node = NodeState("other", boot="b" * 64, acknowledged=6, heartbeat=9, armed_ms=5_000, kind="hardware")
    opened.write_message(1, message)
    opened.write_node(1, node)
    assert vars(opened.message(1)) == vars(message)
    assert vars(opened.node(1)) == vars(node)
    assert opened.message(1).ends("b" * 64)
    assert not opened.message(1).ends("c" * 64)
    assert (opened.message(0).sequence, opened.node(0).armed_ms) == (0, 0), "its neighbour is untouched"
    with pytest.raises(SlotError, match="no slot"):
        opened.number_of("third")
    for data, unpack in ((message.pack(), unpack_message), (node.pack(), unpack_node)):
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


def arm(
    disk: Path, *, kind: str = "hardware", boot: str = "b1", heartbeat: int = 1, armed_ms: int = 300
) -> None:
    node = NodeState("n", boot=boot, heartbeat=heartbeat, armed_ms=armed_ms, kind=kind)
    Disk(str(disk)).write_node(0, node)


def off(disk: Path, msgwait: str = "0.7", **more: str) -> tuple[int, str]:
    code, _, err = run("fence_qdisk", action="off", plug="n", device=str(disk), msgwait=msgwait, **more)
    return code, err


def test_who_is_not_guarded_cannot_be_fenced(disk: Path) -> None:
    code, err = off(disk)
    assert (code, "no sentinel watches" in err) == (1, True)
    arm(disk, armed_ms=5_000)
    code, err = off(disk)
    assert (code, "asks for 10 s" in err) == (1, True)
    for kind in ("software", "softdog", "test", ""):
        arm(disk, kind=kind)
        code, err = off(disk)
        assert (code, "no hardware" in err) == (1, True)
    assert Disk(str(disk)).message(0).message != OFF, "nothing was written"
    assert run("fence_qdisk", action="off", plug="third", device=str(disk), msgwait="60")[0] == 1
    assert run("fence_qdisk", action="off", plug="n", device=str(disk.parent / "none"))[0] == 1
    assert run("fence_qdisk", action="list", device=str(disk))[1] == "n,\nother,\n"


def test_off_is_only_a_boot_that_obeys(disk: Path) -> None:
    def status() -> int:
        return run("fence_qdisk", action="status", plug="n", device=str(disk))[0]

    assert status() == 1, "not guarded: nothing can be said"
    arm(disk)
    assert status() == 0
    assert run("fence_qdisk", action="list-status", device=str(disk))[1] == "n,,on\nother,,unknown\n"
    opened = Disk(str(disk))
    opened.write_message(0, Message("n", message=OFF, sequence=4, boot="b1"))
    assert status() == 0, "written, not obeyed"
    opened.write_node(0, NodeState("n", boot="b1", acknowledged=4, armed_ms=300, kind="hardware"))
    assert status() == 2
    opened.write_node(0, NodeState("n", boot="b2", acknowledged=0, armed_ms=300, kind="hardware"))
    assert status() == 0, "it has booted again"


def test_silence_is_waited_for(disk: Path) -> None:
    """A node that hangs acknowledges nothing: its hardware watchdog ends it within msgwait."""
    arm(disk)
    began = time.monotonic()
    assert off(disk, hacluster_boot="b1")[0] == 0
    assert time.monotonic() - began >= 0.7
    assert Disk(str(disk)).message(0).ends("b1")
    arm(disk, kind="software")
    code, err = off(disk, **{"trust-software-watchdog": "true"})
    assert (code, "no hardware watchdog ends it" in err) == (1, True), (
        "its sentinel may be gone, and it lives"
    )


def test_silence_of_a_boot_without_a_sentinel_is_no_death(disk: Path) -> None:
    """The slot is armed by an earlier boot; the machine has booted since, and only ha-messaging runs."""
    arm(disk)
    opened = Disk(str(disk))
    opened.write_record(0, Record(1, bytes(32), b"x"))
    code, err = off(disk)
    assert (code, "another boot than its sentinel" in err) == (1, True), err
    with disk.open("r+b") as file:
        file.seek(RECORDS_AT)
        file.write(bytes(2 * BLOCK))
    code, err = off(disk)
    assert (code, "damaged or was never made" in err) == (1, True), err


def test_a_machine_booted_without_its_sentinel_is_silent_and_alive(disk: Path) -> None:
    """The slot tells of a boot that is over; nobody reads it in the present one."""
    arm(disk, boot="b1")
    for action in ("off", "status"):
        code, _, err = run(
            "fence_qdisk", action=action, plug="n", device=str(disk), msgwait="0.7", hacluster_boot="b2"
        )
        assert (code, "another boot" in err) == (1, True)
    assert Disk(str(disk)).message(0).message != OFF, "nothing was written"
    code, err = off(disk)
    assert (code, "unknown boot" in err) == (1, True), "whose boot is not said is not dead by silence"
    arm(disk, boot="b1")
    message = Disk(str(disk)).message(0)
    obeyed = NodeState("n", boot="b1", acknowledged=message.sequence, armed_ms=300, kind="hardware")
    Disk(str(disk)).write_node(0, obeyed)
    code, err = off(disk)
    assert (code, "booted since" in err) == (1, True), "an old answer is no answer"
    assert off(disk, hacluster_boot="b1")[0] == 0


def while_off(disk: Path, change: Callable[[int], None], **more: str) -> tuple[int, str, float]:
    """`change` is called every 50 ms with a count once the message is written, until off has ended."""
    ended: list[tuple[int, str]] = []
    began = time.monotonic()
    shooter = threading.Thread(target=lambda: ended.append(off(disk, **more)))
    shooter.start()
    until(lambda: Disk(str(disk)).message(0).message == OFF, "it is written")
    count = 0
    while shooter.is_alive():
        count += 1
        change(count)
        shooter.join(0.05)
    return (*ended[0], time.monotonic() - began)


def test_neither_a_heartbeat_nor_a_second_fencer_is_success(disk: Path) -> None:
    arm(disk)

    def another(count: int) -> None:
        arm(disk, heartbeat=count + 1)
        sequence = Disk(str(disk)).message(0).sequence + 1
        Disk(str(disk)).write_message(0, Message("n", message=OFF, sequence=sequence, boot="b1"))

    code, err, _ = while_off(disk, another)
    assert (code, "its sentinel lives" in err) == (1, True)


def test_another_boot_and_an_answer_are_success(disk: Path) -> None:
    arm(disk)
    code, _, took_s = while_off(disk, lambda count: arm(disk, boot="b2"), msgwait="20")
    assert code == 0
    assert took_s < 15
    init(str(disk), ["n"])
    arm(disk)
    answer = NodeState("n", boot="b1", acknowledged=1, armed_ms=300, kind="hardware")
    assert while_off(disk, lambda count: Disk(str(disk)).write_node(0, answer), msgwait="20")[0] == 0
    init(str(disk), ["n"])
    arm(disk)
    code, err, _ = while_off(disk, lambda count: arm(disk, armed_ms=0), msgwait="20")
    assert (code, "was stopped" in err) == (1, True)
    init(str(disk), ["n"])
    arm(disk)
    code, err, _ = while_off(disk, lambda count: init(str(disk), ["n"]), msgwait="20")
    assert (code, "made anew" in err) == (1, True), "no boot is not another boot"


def watch(disk: Path, boot: str) -> PoisonWatch:
    return PoisonWatch(str(disk), "n", boot, "hardware", 2_000, 0.01, SystemClock())


def test_the_watch_obeys_its_own_boot_and_leaves_the_message_alone(disk: Path) -> None:
    opened = Disk(str(disk))
    opened.write_message(0, Message("n", message=OFF, sequence=5, boot="b1"))
    later = watch(disk, "b2")
    assert not later.state.poisoned, "said to a former life"
    beat = opened.node(0).heartbeat
    until(lambda: opened.node(0).heartbeat > beat, "it shows that it reads")
    assert (opened.message(0).sequence, opened.message(0).ends("b1")) == (5, True)
    assert later.disarm()
    assert opened.node(0).armed_ms == 0
    again = watch(disk, "b1")
    assert again.state.poisoned, "a restart does not take the poison away"
    assert not again.disarm()
    again.acknowledge()
    assert (opened.node(0).acknowledged, opened.node(0).boot) == (5, "b1")


@pytest.mark.slow
def test_a_poisoned_node_dies_at_once(disk: Path, tmp_path: Path) -> None:
    options = ("--watchdog", "software", "--timeout", "2s", "--qdisk", str(disk), "--self-fence", "nothing")
    sentinel = Process(tmp_path, *options)
    node = Disk(str(disk)).node(0)
    assert (node.armed_ms, node.kind) == (2_000, "software")
    try:
        code, _, took_s = while_off(disk, lambda _: None, msgwait="20", **{"trust-software-watchdog": "yes"})
        assert code == 0
        assert sentinel.process.wait(20) == 1
        assert took_s < 15, "acknowledged: msgwait is not waited for"
    finally:
        err = sentinel.end()
    assert "told to die by the shared disk" in err
    code, _, err = run_to_end(tmp_path, *options)
    assert (code, "told to die by the shared disk" in err) == (1, True), "the same boot must not live on"
    (sentinel.paths.run / "boot-seed").unlink()
    (sentinel.paths.run / "sentinel" / STATE).unlink()
    again = Process(tmp_path, *options)
    assert again.process.poll() is None, "another boot"
    again.end(signal.SIGTERM)
    assert Disk(str(disk)).node(0).armed_ms == 0, "stopped in order: nobody watches"
