"""What other executors of this machine do to our folders, and what is said when there is no cgroup."""

from __future__ import annotations

import errno
import selectors
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hacluster.clock import SystemClock
from lrm.exec.cgroups import Cgroups, join
from lrm.exec.protocol import Finished, FromExec, How, Start
from lrm.exec.runs import Runs


def test_a_folder_that_goes_while_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An executor that begins removes empty groups, also the one above the one that is just being made."""
    group = tmp_path / "rsc/web/ops/1"
    swept = 0
    make = Path.mkdir

    def mkdir(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        nonlocal swept
        if path == group and swept < 3:
            swept += 1
            raise FileNotFoundError(errno.ENOENT, "swept", str(path))
        make(path, mode, parents, exist_ok)
        if path == group:
            (path / "cgroup.procs").touch()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    join(group, 17)
    assert ((group / "cgroup.procs").read_text(), swept) == ("17", 3)


def test_joining_while_others_sweep(tmp_path: Path) -> None:
    cgroups = Cgroups.find("join-test")
    if cgroups is None:
        pytest.skip("no writable cgroup v2 here")
    cgroups = replace(cgroups, base=cgroups.base / tmp_path.name)
    over = threading.Event()

    def sweep() -> None:
        while not over.is_set():
            cgroups.remove_empty()

    sweeper = threading.Thread(target=sweep)
    child = subprocess.Popen(["sleep", "60"])
    sweeper.start()
    try:
        for number in range(200):
            group = cgroups.operation("web", str(number))
            join(group, child.pid)
            assert cgroups.members(group) == (child.pid,)
    finally:
        over.set()
        sweeper.join()
        child.kill()
        child.wait()
        cgroups.remove_empty()
        cgroups.base.parent.rmdir()


def test_without_its_cgroup_an_agent_is_not_said_to_be_missing(tmp_path: Path) -> None:
    """That would ban the resource from the node."""
    told: list[FromExec] = []
    runs = Runs(
        selector=selectors.DefaultSelector(),
        clock=SystemClock(),
        cgroups=Cgroups(Path("/proc/none"), tmp_path),
        host=None,
        tell=told.append,
        note=lambda _text: None,
    )
    runs.start(
        Start(
            token="1",
            resource="web",
            action="start",
            argv=("/bin/true",),
            env={},
            timeout_ms=1_000,
            grace_ms=0,
        )
    )
    (finished,) = told
    assert isinstance(finished, Finished)
    assert (finished.how, finished.errno) == (How.NOT_STARTED, errno.EAGAIN)
    assert "cgroup /proc/none" in finished.stderr
