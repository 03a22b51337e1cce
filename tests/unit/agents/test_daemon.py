from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from agents.daemon import Daemon, bounded_wait


def end(daemon: Daemon, patience_ms: int = 2_000) -> bool:
    return daemon.end(bounded_wait, patience_ms=patience_ms, first=signal.SIGTERM)


def test_launch_find_end(tmp_path: Path) -> None:
    daemon = Daemon(str(tmp_path / "run/d.pid"))
    assert daemon.leader() == 0
    assert end(daemon)
    daemon.launch(["/bin/sh", "-c", "echo hello; exec sleep 60"], {})
    leader = daemon.leader()
    assert leader > 0
    assert os.getsid(leader) == leader
    assert daemon.processes() == [leader]
    assert bounded_wait(lambda: daemon.said() == "hello", 2_000)
    assert end(daemon)
    assert daemon.leader() == 0
    assert list((tmp_path / "run").iterdir()) == []


def test_workers_of_a_dead_leader_are_found_and_ended(tmp_path: Path) -> None:
    daemon = Daemon(str(tmp_path / "d.pid"))
    daemon.launch(["/bin/sh", "-c", "sleep 60 & echo up; wait"], {"PATH": "/bin:/usr/bin"})
    assert bounded_wait(lambda: daemon.said() == "up", 2_000)
    leader = daemon.leader()
    os.kill(leader, signal.SIGKILL)
    assert bounded_wait(lambda: daemon.leader() == 0, 2_000)
    (worker,) = daemon.processes()
    assert worker != leader
    assert end(daemon)
    assert daemon.processes() == []


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    daemon = Daemon(str(tmp_path / "d.pid"))
    daemon.launch(
        ["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 60; done"], {"PATH": "/bin:/usr/bin"}
    )
    assert bounded_wait(lambda: daemon.said() == "up", 2_000)
    assert end(daemon, patience_ms=100)
    assert daemon.processes() == []


def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="/no/such/program"):
        Daemon(str(tmp_path / "d.pid")).launch(["/no/such/program"], {})


def test_a_record_that_is_no_record(tmp_path: Path) -> None:
    record = tmp_path / "d.pid"
    for text in ("", "x y", "1", f"{os.getpid()} 1"):
        record.write_text(text)
        daemon = Daemon(str(record))
        assert (daemon.leader(), daemon.processes()) == (0, [])
