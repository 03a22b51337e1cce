"""`hacli demo` as people and machines start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cli.demo.ground import until
from cli.demo.lab import running_labs

pytestmark = [pytest.mark.netns, pytest.mark.alone]

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 180
# Names of labs: others may run these tests on the same machine.
JSON, KEPT, CUT_SHORT = (f"{what}{os.getpid()}" for what in ("json", "kept", "cutshort"))
EVENTS = [
    "both nodes start",
    "power cut of node1",
    "node1 returns",
    "node standby node1",
    "node online node1",
    "web server killed",
]


def demo(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", "demo", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=WITHIN_S)


def remains(name: str) -> list[str]:
    folders = [path.name for path in Path(tempfile.gettempdir()).glob(f"hacluster-{name}-*")]
    return folders + [str(lab) for lab in running_labs(name)]


@pytest.mark.timeout(WITHIN_S + 10)
def test_fast_story_for_machines() -> None:
    done = demo("--fast", "--json", "--name", JSON)
    data = json.loads(done.stdout)
    assert data["ok"], done.stdout + done.stderr
    assert done.returncode == 0
    assert [event["name"] for event in data["events"]] == EVENTS
    cut = data["events"][1]
    assert 500 <= cut["outage_ms"] <= cut["bound_ms"] == 900
    assert {"detection", "decision"} <= {span["what"] for span in cut["spans"]}
    assert data["took_s"] <= WITHIN_S
    assert remains(JSON) == []


@pytest.mark.timeout(WITHIN_S + 10)
def test_kept_entered_and_stopped() -> None:
    done = demo("--fast", "--keep", "--name", KEPT)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "without service" in done.stdout
        entered = demo("--name", KEPT, "--enter", "node2", "hostname")
        assert entered.stdout == "node2.nyist.com\n"
        status = demo("--name", KEPT, "--enter", "node2", "hacli", "status")
        assert "node1.nyist.com" in status.stdout
        status = demo("--name", KEPT, "--enter", "node2", "hacli", "status", "--json")
        assert json.loads(status.stdout)["quorate"] is True
        again = demo("--fast", "--name", KEPT)
        assert again.returncode == 1
        assert "--stop" in again.stderr
    finally:
        assert demo("--stop", "--name", KEPT).returncode == 0
    assert remains(KEPT) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(number: signal.Signals) -> None:
    # What a shell starts in the background ignores SIGINT, and so does what comes of it: these tests, too.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "cli", "demo", "--name", CUT_SHORT]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    until(lambda: running_labs(CUT_SHORT), 20)
    time.sleep(1.5)  # somewhere in the middle of the start
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert remains(CUT_SHORT) == []


def test_wrong_use() -> None:
    assert demo("--runs", "0").returncode == 2
    assert demo("--nonsense").returncode == 2
    assert demo("--enter", "node1", "--name", "nobody").returncode == 1
