"""An installed crm_simulate as the reference, and our scheduler beside it."""

from __future__ import annotations

import collections
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crm.cib import codec
from crm.cib.model import Element
from crm.scheduler import pipeline
from crm.transition.graph import TransitionGraph, from_element
from tests.differential.random_cib import NOW_S

SECONDS_MAX = 60
TOOL = "crm_simulate"
Actions = collections.Counter[tuple[str, str, str, str]]
"""How often each (element, operation, key, node) occurs."""
_OLD_FUNCTIONS = {
    "pcmk__native_allocate": "pcmk__primitive_assign",
    "pcmk__group_allocate": "pcmk__group_assign",
    "pcmk__clone_allocate": "pcmk__clone_assign",
    "pcmk__bundle_allocate": "pcmk__bundle_assign",
}
_UNASSIGNED = re.compile(r"promotion score (on none|\(inactive\)):")
"""Lines whose score was 0 and is -INFINITY now."""


class OracleFailed(Exception):
    """crm_simulate itself gave up on this input."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the reference makes of a CIB."""

    actions: Actions
    scores: frozenset[str]
    after: bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """What ours makes of a CIB."""

    actions: Actions
    scores: frozenset[str]


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
        arguments = ("-x", str(source), "-S", "-Q", "-s", "-G", str(graph), "-O", str(after), *arguments)
        done = run_tool(arguments)
        if done.returncode not in (0, 1) or not graph.exists():
            lines = done.stderr.strip().splitlines()
            raise OracleFailed(lines[0] if lines else f"exit status {done.returncode}")
        actions = actions_of(from_element(codec.parse(graph.read_bytes())))
        return Answer(actions, comparable_scores(done.stdout.splitlines()), after.read_bytes())


def run_tool(arguments: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Run crm_simulate. Raises OracleFailed when it does not end in time."""
    try:
        return subprocess.run(
            [TOOL, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS_MAX,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC", "LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OracleFailed(f"no answer in {SECONDS_MAX} s") from None


def comparable_scores(lines: Iterable[str]) -> frozenset[str]:
    """The scores among the lines, in today's words. How often one is printed has changed."""
    found = set()
    for line in lines:
        if " score on " in line or " score (" in line:
            head, colon, tail = " ".join(line.split()).removeprefix("* ").partition(":")
            found.add(_OLD_FUNCTIONS.get(head, head) + colon + tail)
    return frozenset(line for line in found if not _UNASSIGNED.search(line))


def available() -> bool:
    """Whether there is a crm_simulate to compare with."""
    return shutil.which(TOOL, path="/usr/sbin:/usr/bin:/sbin:/bin") is not None


def decide(cib: Element) -> Decision:
    """Our actions and scores."""
    transition = pipeline.schedule(cib, NOW_S, sanitized=True)
    return Decision(actions_of(transition.graph), comparable_scores(transition.score_lines))


def ours(cib: Element) -> Actions:
    """Our actions."""
    return decide(cib).actions


def actions_of(graph: TransitionGraph) -> Actions:
    """The actions of a graph, whatever their order."""
    return collections.Counter(
        (action.kind.value, action.operation, action.key, action.node) for action in graph.actions()
    )
