"""An installed crm_simulate as the reference, and our scheduler beside it."""

from __future__ import annotations

import collections
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from crm.cib import codec
from crm.cib.model import Element
from crm.scheduler import pipeline
from crm.transition.graph import from_element
from tests.differential.random_cib import NOW_S

SECONDS_MAX = 60
TOOL = "crm_simulate"
Actions = collections.Counter[tuple[str, str, str, str]]
"""How often each (element, operation, key, node) occurs."""


class OracleFailed(Exception):
    """crm_simulate itself gave up on this input."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the reference makes of a CIB."""

    actions: Actions
    after: bytes
    scores: collections.Counter[str]


class Oracle:
    """Runs crm_simulate in a temporary folder of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="differential-")
        self.path = Path(self._folder.name)

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()

    def ask(self, cib: bytes, *arguments: str) -> Answer:
        """Raises OracleFailed when the reference gives up on the CIB."""
        source, graph, after = (self.path / name for name in ("in.xml", "graph.xml", "out.xml"))
        source.write_bytes(cib)
        graph.unlink(missing_ok=True)
        try:
            done = subprocess.run(
                [TOOL, "-x", str(source), "-S", "-Q", "-s", "-G", str(graph), "-O", str(after), *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS_MAX,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC", "LC_ALL": "C"},
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OracleFailed(f"no answer in {SECONDS_MAX} s") from None
        if done.returncode not in (0, 1) or not graph.exists():
            lines = done.stderr.strip().splitlines()
            raise OracleFailed(lines[0] if lines else f"exit status {done.returncode}")
        lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
        scores = collections.Counter(line for line in lines if " score on " in line or " score (" in line)
        return Answer(_actions(codec.parse(graph.read_bytes())), after.read_bytes(), scores)


def available() -> bool:
    """Whether there is a crm_simulate to compare with."""
    return shutil.which(TOOL, path="/usr/sbin:/usr/bin:/sbin:/bin") is not None


def ours(cib: Element) -> Actions:
    """Our actions."""
    transition = pipeline.schedule(cib, NOW_S, sanitized=True)
    return collections.Counter(
        (action.kind.value, action.operation, action.key, action.node)
        for action in transition.graph.actions()
    )


def _actions(root: Element) -> Actions:
    return collections.Counter(
        (action.kind.value, action.operation, action.key, action.node)
        for action in from_element(root).actions()
    )
