"""`crm_simulate` as a process, driven as Pacemaker's regression harness drives it: exit codes, files, output.

A slice of the corpus HACLUSTER_SCHEDULER_CORPUS names; the levels of the whole are `test_scheduler_corpus`'s.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crm.cib.codec import parse
from crm.transition.graph import TransitionGraph, from_element
from tests.conformance import graph_levels

FOLDER = os.environ.get("HACLUSTER_SCHEDULER_CORPUS", "")
PROGRAM = Path(__file__).parents[2] / "cli" / "sbin" / "crm_simulate"
EVERY = 17
"""One case of so many, and all cases with arguments of their own."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not FOLDER, reason="HACLUSTER_SCHEDULER_CORPUS names no corpus"),
]


def cases() -> list[dict[str, Any]]:
    if not FOLDER:
        return []
    found: list[dict[str, Any]] = json.loads((Path(FOLDER) / "index.json").read_text())
    return [case for number, case in enumerate(found) if number % EVERY == 0 or case.get("args")]


def crm_simulate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HA_PYTHON": sys.executable,
        "LC_ALL": "C",
        "TZ": "UTC",
        "CIB_shadow_dir": str(folder),
        "PCMK_schema_directory": str(folder),
        "PCMK_trace_functions": "",
        "PCMK_stderr": "1",
    }
    return subprocess.run(
        [PROGRAM, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def dot_actions(text: str) -> set[str]:
    return set(re.findall(r'^"(.*)" \[ style=bold', text, re.MULTILINE))


def drawn(graph: TransitionGraph) -> int:
    return len(list(graph.actions()))


@pytest.mark.parametrize("case", cases(), ids=lambda case: str(case["name"]))
def test_a_case_as_the_harness_runs_it(case: dict[str, Any], tmp_path: Path) -> None:
    corpus, name = Path(FOLDER), case["name"]
    source = str(corpus / "xml" / f"{name}.xml")
    words = [str(one) for one in case.get("args") or []]

    shown = crm_simulate(tmp_path, "-x", source, "-S", *words)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == (corpus / "summary" / f"{name}.summary").read_text()

    files = ("-D", f"{name}.dot", "-G", f"{name}.exp")
    scored = crm_simulate(tmp_path, "-x", source, *files, "-sSQ", *words)
    assert (scored.returncode, scored.stderr) == (0, "")
    wanted = (corpus / "scores" / f"{name}.scores").read_text()
    assert sorted(lines(scored.stdout)) == sorted(lines(wanted))
    ours = from_element(parse((tmp_path / f"{name}.exp").read_bytes(), source=name))
    reference = from_element(parse((corpus / "exp" / f"{name}.exp").read_bytes(), source=name))
    for level in (graph_levels.actions, graph_levels.edges, graph_levels.contents):
        assert level(ours) == level(reference), level.__name__
    assert len(dot_actions((tmp_path / f"{name}.dot").read_text())) <= drawn(ours)
    assert bool(drawn(ours)) == bool(dot_actions((tmp_path / f"{name}.dot").read_text()))


def test_exit_codes_and_files(tmp_path: Path) -> None:
    source = str(Path(FOLDER) / "xml" / f"{cases()[0]['name']}.xml")
    (tmp_path / "broken.xml").write_text("<cib")
    (tmp_path / "other.xml").write_text("<configuration/>")
    for words, code, said in (
        (("-x", "missing.xml"), 66, "missing.xml"),
        (("-x", "broken.xml"), 65, "broken.xml"),
        (("-x", "other.xml"), 64, "<configuration>"),
        (("-x", source, "--no-such-option"), 64, "no-such-option"),
        (("-x", source, "--output-as=html"), 64, "html"),
        (("-x", source, "-t", "yesterday"), 64, "yesterday"),
        (("-x", source, "-d", "no-such-node"), 64, "no-such-node"),
        (("-x", source, "-i", "nonsense"), 64, "RESOURCE_TASK"),
        (("-x", source, "-R", "-G", "/no/such/folder/graph"), 66, "/no/such/folder"),
    ):
        ended = crm_simulate(tmp_path, *words)
        assert ended.returncode == code, (words, ended.stderr)
        assert said in ended.stderr
        assert "Traceback" not in ended.stderr
    ended = crm_simulate(
        tmp_path, "-x", source, "-S", "-Q", "-I", "in.xml", "-O", "out.xml", "-a", "-D", "all.dot"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    for name in ("in.xml", "out.xml"):
        assert parse((tmp_path / name).read_bytes(), source=name).tag == "cib"
    assert (tmp_path / "all.dot").read_text().startswith(' digraph "g" {')


def test_the_cib_of_the_environment(tmp_path: Path) -> None:
    source = Path(FOLDER) / "xml" / f"{cases()[0]['name']}.xml"
    wanted = crm_simulate(tmp_path, "-x", str(source), "-R")
    (tmp_path / "shadow.trial").write_bytes(source.read_bytes())
    for environment in ({"CIB_file": str(source)}, {"CIB_shadow": "trial"}):
        ended = subprocess.run(
            [PROGRAM, "-R"],
            env={**os.environ, "HA_PYTHON": sys.executable, "CIB_shadow_dir": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, ended.stdout) == (0, wanted.stdout)
