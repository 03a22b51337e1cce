"""Finding what a killed lrm-exec has started, on a machine without cgroups; with them: test_server.py."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hacluster.clock import SystemClock
from lrm.exec import processes, survivors
from lrm.exec.protocol import Adopt, Finished, FromExec, How, Start, Started
from lrm.exec.runs import Runs

WITHIN_S = 20.0


class Exec:
    """One lrm-exec's runs, without its sockets."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.said: list[FromExec] = []
        self.runs = Runs(
            selector=self.selector,
            clock=SystemClock(),
            cgroups=None,
            host=None,
            tell=self.said.append,
            note=lambda text: None,
        )

    def turn(self) -> Finished | None:
        """Pass events for a moment; what has ended by then."""
        for key, _ in self.selector.select(0.05):
            key.data()
        self.runs.tick()
        return next((message for message in self.said if isinstance(message, Finished)), None)


OTHER = f"j{os.getpid()}.11.0"
TOKEN = f"j{os.getpid()}.1.0"  # of no other test's run, should one have left a process


@pytest.fixture
def pids() -> Iterator[list[int]]:
    started: list[int] = []
    yield started
    for pid in started:
        processes.send_signal_to_group(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    while (left := survivors.leader(None, "web", TOKEN)) is not None:  # what it has put into another session
        processes.send_signal_to_group(left[0], signal.SIGKILL)
        time.sleep(0.01)


def test_a_run_that_nobody_was_told_of_is_found_by_its_mark(tmp_path: Path, pids: list[int]) -> None:
    first, second = Exec(), Exec()
    go_on = tmp_path / "go_on"
    script = f"setsid sleep 60 & while ! [ -e {go_on} ]; do sleep 0.05; done; kill $!; wait"
    start = Start(
        token=TOKEN,
        resource="web",
        action="start",
        argv=("/bin/sh", "-c", script),
        env={"PATH": os.defpath},
        timeout_ms=20_000,
        grace_ms=0,
    )
    first.runs.start(start)
    (started,) = first.said
    assert isinstance(started, Started)
    pids.append(started.pid)
    second.runs.adopt(
        Adopt(
            token=TOKEN,
            resource="web",
            pid=0,
            start_ticks=0,
            deadline_ns=0,
            grace_ms=0,
            timeout_ms=20_000,
        )
    )
    (found,) = second.said
    assert isinstance(found, Started)
    assert (found.pid, found.start_ticks) == (started.pid, started.start_ticks)
    assert abs(found.started_ns - started.started_ns) < 1_000_000_000
    assert second.turn() is None, "it runs"
    go_on.touch()
    deadline_s = time.monotonic() + WITHIN_S
    while (ended := second.turn()) is None:
        assert time.monotonic() < deadline_s
    assert ended.how is How.LOST
    assert not processes.is_alive(started.pid, started.start_ticks)


def test_the_mark_of_another_run_is_none(pids: list[int]) -> None:
    other = subprocess.Popen(
        ["/bin/sleep", "60"], env={survivors.MARK: OTHER}, start_new_session=True, stdin=subprocess.DEVNULL
    )
    try:
        assert survivors.leader(None, "web", TOKEN) is None
        found = survivors.leader(None, "web", OTHER)
        assert found == (other.pid, processes.start_ticks(other.pid))
    finally:
        other.kill()
        other.wait(WITHIN_S)
    assert survivors.leader(None, "web", OTHER) is None


def test_a_worker_is_found_by_its_name() -> None:
    """A forked one: its environment, to others, is still that of lrm-exec."""
    script = (
        "import pathlib, sys; pathlib.Path('/proc/self/comm').write_text(sys.argv[1]); print(flush=True); "
        "sys.stdin.read()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-S", "-c", script, survivors.name_of("j.2.0")],
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        assert survivors.leader(None, "web", "j.2.0") == (worker.pid, processes.start_ticks(worker.pid))
        assert survivors.leader(None, "web", "j.22.0") is None
        worker.kill()
