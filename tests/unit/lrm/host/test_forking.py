"""The warm host: workers that are used again, and those that must not be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WITHIN_S = 30.0


@dataclass
class Done:
    pid: int
    code: int
    answered: bool
    said: str


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@dataclass
class Run:
    folder: Path

    def __call__(self, *actions: str) -> list[Done]:
        """What became of each action."""
        return [Done(*each) for each in self._lines(*actions)]

    def told(self, action: str) -> list[int]:
        """What the one line says."""
        (line,) = self._lines(action)
        return line

    def _lines(self, *actions: str) -> list[list[Any]]:
        """In a process of its own: nobody forks beside the threads of others."""
        command = [sys.executable, "-m", "tests.unit.lrm.host.host_script", str(self.folder), *actions]
        environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_worker_is_used_again(run: Run) -> None:
    first, second, third = run("see", "fail", "see")
    assert first.pid == second.pid == third.pid
    assert (first.code, second.code) == (0, 7)
    assert first.answered
    assert third.answered


def test_an_action_finds_nothing_of_the_one_before(run: Run) -> None:
    """Environment, folder, umask, descriptors."""
    before, left, after = run("see", "leave", "see")
    assert before.pid == left.pid == after.pid
    assert before.said == after.said == "/ 0o22 4 ACTION"


@pytest.mark.parametrize(("action", "code"), [("thread", 0), ("child", 0), ("raise", 1), ("exit", 5)])
def test_who_leaves_something_that_cannot_be_taken_away_ends(run: Run, action: str, code: int) -> None:
    dirty, after = run(action, "see")
    assert not dirty.answered
    assert dirty.code == code
    assert dirty.pid != after.pid
    assert after.code == 0


def test_a_worker_that_died_while_it_waited_is_not_missed(run: Run) -> None:
    first, second = run("see", "kill", "see")
    assert first.pid != second.pid
    assert second.code == 0


def test_as_many_wait_as_were_needed_at_once_of_late(run: Run) -> None:
    assert run.told("crowd") == [5, 5, 2, 2]


def test_what_is_left_to_do_holds_up_nobody(run: Run) -> None:
    """Neither the result, nor another action; and the end of the host does not end it."""
    first, second = run("later", "see")
    assert first.answered
    assert first.pid == second.pid
    assert (first.code, second.code) == (0, 0)
    _until_exists(run.folder / "step2")


def test_what_is_left_to_do_is_done_though_the_worker_ends(run: Run) -> None:
    (done,) = run("later-and-child")
    assert not done.answered
    _until_exists(run.folder / "step2")


def _until_exists(path: Path) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not path.exists():
        assert time.monotonic() < deadline_s, path
        time.sleep(0.01)
