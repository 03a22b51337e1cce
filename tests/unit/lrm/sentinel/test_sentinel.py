"""When a node may live: the sentinel's rules, its words, and the process with a watchdog that is a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hacluster.clock import SystemClock
from hacluster.errors import InvalidRequest
from hacluster.paths import Paths
from hacluster.sentinel_word import SIZE, WordFile, decode, encode
from hacluster.vocabulary.sentinel import ACTIVITY, CLEAN, LEASE, STATE, VERDICT, Word
from lrm.sentinel.core import Sentinel
from lrm.sentinel.death import SelfFence, check

S = 1_000_000_000


@pytest.mark.parametrize(
    ("lease", "activity", "feed", "why"),
    [
        (None, None, True, ""),
        (None, Word(100 * S, 0), True, ""),
        (None, Word(0, 0), True, ""),
        (None, Word(0, 3, CLEAN), True, ""),
        (Word(100 * S, 101 * S), Word(100 * S, 3), True, ""),
        (Word(90 * S, 101 * S), Word(71 * S, 3), True, ""),  # ha-lrm may be restarting
        (Word(100 * S, 0), Word(100 * S, 3), False, "no lease, with 3 active"),
        (Word(90 * S, 99 * S), Word(100 * S, 1), False, "no lease, with 1 active"),
        (None, Word(100 * S, 1), False, "no lease, with 1 active"),
        (Word(100 * S, 101 * S), Word(60 * S, 3), False, "ha-lrm is silent for 40 s, with 3 active"),
    ],
)
def test_who_is_fed(lease: Word | None, activity: Word | None, feed: bool, why: str) -> None:
    core = Sentinel(timeout_ms=5_000, software=False, now_ns=95 * S)
    verdict = core.decide(100 * S, lease=lease, activity=activity)
    assert (verdict.feed, verdict.die, verdict.why) == (feed, False, why)


def test_without_a_device_the_sentinel_is_the_timer() -> None:
    core = Sentinel(timeout_ms=5_000, software=True, now_ns=0)
    active = Word(0, 1)

    def at(second: int, *, until: int) -> tuple[bool, bool]:
        verdict = core.decide(second * S, lease=Word(0, until * S), activity=Word(second * S, active.value))
        return verdict.feed, verdict.die

    assert at(1, until=2) == (True, False)
    assert at(2, until=2) == (False, False)
    assert at(5, until=2) == (False, False)
    assert at(6, until=2) == (False, True), "5 s after it was fed last"
    core = Sentinel(timeout_ms=5_000, software=True, now_ns=0)
    assert at(1, until=2) == (True, False)
    assert at(3, until=2) == (False, False)
    assert at(4, until=9) == (True, False), "quorum is back in time"
    assert at(8, until=9) == (True, False)


def test_what_was_stopped_in_time_saves_the_node() -> None:
    core = Sentinel(timeout_ms=5_000, software=True, now_ns=0)
    assert core.decide(4 * S, lease=None, activity=Word(4 * S, 0)).feed
    assert not core.decide(6 * S, lease=None, activity=Word(6 * S, 2)).feed
    assert core.decide(8 * S, lease=None, activity=Word(8 * S, 0)).feed


def test_a_verdict_is_carried_out_at_once_but_not_one_of_a_former_life() -> None:
    core = Sentinel(timeout_ms=5_000, software=False, now_ns=100 * S)
    old, new = Word(99 * S, 0, "old"), Word(101 * S, 0, "told that it was fenced")
    assert core.decide(101 * S, lease=None, activity=None, verdict=old).feed
    verdict = core.decide(102 * S, lease=None, activity=None, verdict=new)
    assert (verdict.feed, verdict.die, verdict.why) == (False, True, "told that it was fenced")


def test_who_is_started_again_remembers_its_boot() -> None:
    core = Sentinel(timeout_ms=5_000, software=True, now_ns=100 * S)
    assert core.decide(102 * S, lease=None, activity=None).feed
    life = core.life("b" * 64)
    assert life == Word(102 * S, 100 * S, "b" * 32)
    again = Sentinel(timeout_ms=5_000, software=True, now_ns=106 * S, life=life)
    lost = again.decide(107 * S, lease=None, activity=Word(106 * S, 1))
    assert (lost.feed, lost.die) == (False, True), "5 s after it was fed last, whoever fed it"
    again = Sentinel(timeout_ms=5_000, software=True, now_ns=106 * S, life=life)
    told = again.decide(106 * S, lease=None, activity=None, verdict=Word(105 * S, 0, "told"))
    assert told.die, "written while no sentinel ran"
    stopped = Word(0, life.value, life.note)
    again = Sentinel(timeout_ms=5_000, software=True, now_ns=200 * S, life=stopped)
    assert not again.decide(201 * S, lease=None, activity=Word(200 * S, 1)).die, "it was stopped in order"


def test_words(tmp_path: Path) -> None:
    file = WordFile(tmp_path, LEASE)
    assert file.read() is None
    for word in (Word(1, 2), Word(2**63, 0, "ä" * 40)):
        file.write(word)
        read = file.read()
        assert read is not None
        assert (read.written_ns, read.value) == (word.written_ns, word.value)
    data = encode(Word(5, 7, CLEAN))
    assert decode(data) == Word(5, 7, CLEAN)
    for at in range(SIZE):
        assert decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) is None
    assert decode(data[:-1]) is None
    (tmp_path / "sentinel" / LEASE).unlink()
    (tmp_path / "sentinel" / LEASE).symlink_to("/etc/hostname")
    assert WordFile(tmp_path, LEASE).read() is None


def test_a_lab_may_not_end_the_machine(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="other nodes"):
        check(SelfFence.MACHINE, Paths(tmp_path))
    check(SelfFence.NODE, Paths(tmp_path))
    code, _, err = run_to_end(tmp_path, "--self-fence", "machine")
    assert code == 6
    assert "other nodes" in err


def run_to_end(root: Path, *options: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "lrm.sentinel", "--root", str(root), "--node", "n", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr


def until(what: Callable[[], object], why: str, within_s: float = 20) -> None:
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < within_s, why
        time.sleep(0.01)


class Process:
    """ha-sentinel below a root, with a watchdog that is a file."""

    def __init__(self, root: Path, *options: str) -> None:
        self.paths, self.fed = Paths(root), root / "watchdog"
        command = [sys.executable, "-m", "lrm.sentinel", "--root", str(root), "--node", "n"]
        self.process = subprocess.Popen(
            [*command, *(options or ("--watchdog", f"test:{self.fed}", "--timeout", "500ms"))],
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: WordFile(self.paths.run, STATE).read() is not None, "it has begun")

    def say(self, name: str, value: int, note: str = "") -> None:
        WordFile(self.paths.run, name).write(Word(SystemClock().now_ns(), value, note))

    def feedings(self) -> int:
        return len(self.fed.read_bytes())

    def end(self, number: signal.Signals = signal.SIGKILL) -> str:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=20)
        return err


@pytest.mark.slow
def test_the_watchdog_starves_when_the_lease_ends(tmp_path: Path) -> None:
    sentinel = Process(tmp_path)
    try:
        state = WordFile(sentinel.paths.run, STATE).read()
        assert state is not None
        assert (state.value, state.note) == (500, "test")
        sentinel.say(LEASE, SystemClock().now_ns() + 600_000_000)
        sentinel.say(ACTIVITY, 1)
        until(lambda: sentinel.feedings() >= 3, "it is fed while the lease holds")
        time.sleep(0.8)
        starved = sentinel.feedings()
        time.sleep(0.3)
        assert sentinel.feedings() == starved, "no lease: not fed"
        sentinel.say(ACTIVITY, 0)
        until(lambda: sentinel.feedings() > starved, "nothing active: fed again")
    finally:
        err = sentinel.end()
    assert "event=sentinel.not_fed" in err
    assert "sentinel.feeding_again" in err


@pytest.mark.slow
def test_it_gives_the_watchdog_back_only_when_nothing_is_active(tmp_path: Path) -> None:
    sentinel = Process(tmp_path)
    sentinel.say(LEASE, SystemClock().now_ns() + 60 * S)
    sentinel.say(ACTIVITY, 2)
    sentinel.process.send_signal(signal.SIGTERM)
    before = sentinel.feedings()
    until(lambda: sentinel.feedings() > before + 2, "it goes on")
    assert sentinel.process.poll() is None
    sentinel.say(ACTIVITY, 0, CLEAN)
    assert sentinel.process.wait(20) == 0
    assert sentinel.fed.read_bytes().endswith(b"V")
    sentinel.end()


@pytest.mark.slow
def test_in_software_a_node_kills_its_own_and_nothing_else(tmp_path: Path) -> None:
    """The lab's way: all below the supervisor; a bystander lives on."""
    bystander = subprocess.Popen(["/bin/sleep", "60"])
    tree = subprocess.Popen(
        ["/bin/sh", "-c", f"sleep {NAPS[0]} & sleep {NAPS[1]} & wait"], start_new_session=True
    )
    sentinel = Process(
        tmp_path, "--watchdog", "software", "--timeout", "300ms", "--supervisor", str(tree.pid)
    )
    try:
        sentinel.say(ACTIVITY, 1)
        assert sentinel.process.wait(20) == 1
        assert tree.wait(20) == -signal.SIGKILL
        until(lambda: not sleepers(), "its descendants are gone, too")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        err = sentinel.end()
    assert "sentinel.node_dies" in err
    assert "no lease, with 1 active" in err


NAPS = (f"61.{os.getpid()}", f"62.{os.getpid()}")  # as nobody else sleeps


def sleepers() -> list[str]:
    found = []
    for number in (entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        try:
            command = Path(f"/proc/{number}/cmdline").read_bytes()  # empty of a zombie
        except OSError:
            continue
        if command in [f"sleep\0{nap}\0".encode() for nap in NAPS]:
            found.append(number)
    return found


@pytest.mark.slow
def test_a_node_that_is_told_to_die_does(tmp_path: Path) -> None:
    sentinel = Process(tmp_path, "--watchdog", "software", "--timeout", "10s", "--self-fence", "nothing")
    sentinel.say(VERDICT, 0, "fenced, says node2")
    assert sentinel.process.wait(20) == 1
    assert "fenced, says node2" in sentinel.end()
    assert os.getpid()
    command = ("--watchdog", "software", "--timeout", "10s", "--self-fence", "nothing")
    code, _, err = run_to_end(tmp_path, *command)
    assert (code, "fenced, says node2" in err) == (1, True), "a restart does not take the verdict away"
    (sentinel.paths.run / "boot-seed").unlink()
    other = Process(tmp_path, *command)
    time.sleep(0.3)
    assert other.process.poll() is None, "another boot"
    other.end()
