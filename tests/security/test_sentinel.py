"""Another user can neither stop ha-sentinel nor tell it anything (test-plan 5)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from hacluster.clock import SystemClock
from hacluster.sentinel_word import WordFile
from hacluster.vocabulary.sentinel import LEASE, STATE
from tests.unit.lrm.sentinel.test_sentinel import Process

NOBODY = 65_534
ATTACKS = ("printf x >{}", "rm -f {}", "mv {0} {0}.old", "ln -sf /etc/passwd {}", "cp /etc/hostname {}.new")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else"),
    pytest.mark.skipif(
        shutil.which("setpriv") is None, reason="setpriv (package util-linux) is not installed"
    ),
]


@pytest.fixture
def sentinel() -> Iterator[Process]:
    """Below a folder that others may enter, as they may enter /run."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        before = os.umask(0)  # whatever it is: the modes are not left to it
        try:
            process = Process(Path(folder))
            process.say(LEASE, SystemClock().now_ns() + 60_000_000_000)
        finally:
            os.umask(before)
        try:
            yield process
        finally:
            if process.process.poll() is None:
                process.end()


def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    identity = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    return subprocess.run(
        ["setpriv", *identity, *words], capture_output=True, text=True, timeout=20, check=False
    )


def test_its_signals_are_refused(sentinel: Process) -> None:
    for name in ("STOP", "KILL", "TERM"):
        done = as_nobody("sh", "-c", f"kill -{name} {sentinel.process.pid}")
        assert "not permitted" in done.stderr
        assert sentinel.process.poll() is None
        state = Path(f"/proc/{sentinel.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        assert state != "T"


def test_its_words_are_written_by_nobody_else(sentinel: Process) -> None:
    folder = sentinel.paths.run / "sentinel"
    files = sorted(path.name for path in folder.iterdir())
    for name, attack in product((LEASE, STATE), ATTACKS):
        before = WordFile(sentinel.paths.run, name).read()
        assert before is not None
        assert as_nobody("cksum", str(folder / name)).returncode == 0, "they may look"
        done = as_nobody("sh", "-c", attack.format(folder / name))
        assert done.returncode != 0
        assert "ermission denied" in done.stderr
        after = WordFile(sentinel.paths.run, name).read()
        assert after is not None
        assert after.value == before.value
        assert sorted(path.name for path in folder.iterdir()) == files
