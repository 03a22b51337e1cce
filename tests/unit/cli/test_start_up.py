"""What hacli loads for what is asked most: times are measured by `python -m benchmarks.cli`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cli.__main__ import a_cib, a_daemon
from hacluster.paths import Paths

HEAVY = {
    "grpc",
    "urllib.request",
    "google.protobuf",
    "asyncio",
    "lxml",
    "crm.scheduler.pipeline",
    "prompt_toolkit",
}
PROGRAM = """
import sys
from cli.__main__ import main
status = main()
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(status)
"""


def loaded_by(*words: str) -> tuple[str, set[str]]:
    """What a command prints, and the modules it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    return done.stdout, set(done.stderr.split())


def test_the_version_loads_nothing() -> None:
    text, modules = loaded_by("--version")
    assert text.startswith("hacli ")
    assert not modules & (HEAVY | {"typing", "dataclasses", "cli.context", "hacluster.errors"})


def test_status_does_not_load_grpc(tmp_path: Path) -> None:
    with a_daemon(Paths(tmp_path)):
        text, modules = loaded_by("--root", str(tmp_path), "status")
    assert "Current DC: node1 (term 1.1) - partition with quorum" in text
    assert "p19" in text
    assert not modules & HEAVY


@pytest.mark.parametrize("line", ["hacli conf", "hacli resource stop "])
def test_completion_loads_no_daemon_code(line: str, tmp_path: Path) -> None:
    (tmp_path / "cib.xml").write_text(a_cib())
    text, modules = loaded_by("--cib-file", str(tmp_path / "cib.xml"), "--compgen", str(len(line)), line)
    assert text.splitlines()[0] in ("configure", "p0")
    assert not modules & (HEAVY - {"lxml"})
