"""hacli against what crmsh makes of the same texts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.crmsh import VARIABLE, Corpus, comparer_of, load_comparer

# What passed when this was written; a change that passes less is a step back. Share of the checks that ran,
# in 1/1000, at the strict and at the loose level.
FLOORS = dict.fromkeys(("load", "script", "show", "xmlshow", "reload", "query", "error"), (1000, 1000))


@pytest.mark.slow
def test_crmsh_corpus(tmp_path: Path) -> None:
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no corpus")
    corpus = Corpus(Path(folder), tmp_path)
    tallies = corpus.run()
    report = "\n".join(
        f"{name:8} ran {one.ran:4}  strict {one.strict:4}  loose {one.loose:4}  {' '.join(one.failed)}"
        for name, one in tallies.items()
    )
    print(report)
    for name, (strict, loose) in FLOORS.items():
        tally = tallies[name]
        assert tally.loose * 1000 >= loose * tally.ran, report
        assert tally.strict * 1000 >= strict * tally.ran, report


@pytest.mark.slow
@pytest.mark.timeout(570)
def test_the_program_itself(tmp_path: Path) -> None:
    """The comparer runs hacli as a process: a part of the cases, all of them with HACLUSTER_CRMSH_ALL=1."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no corpus")
    load_comparer(Path(folder))
    program = tmp_path / "hacli"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli "$@"\n')
    program.chmod(0o755)
    root = str(Path(__file__).parents[2])
    result = tmp_path / "result.json"
    part = [] if os.environ.get("HACLUSTER_CRMSH_ALL") else ["--only", "^(prim-q|scr-res-|err-r|qry-show-g)"]
    done = subprocess.run(
        [
            sys.executable,
            str(comparer_of(Path(folder))),
            folder,
            "--preset",
            "hacli",
            "--json",
            str(result),
            *part,
        ],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": root},
        check=False,
        capture_output=True,
        text=True,
        timeout=560,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for check, (ran, strict, loose) in json.loads(result.read_text())["totals"].items():
        assert loose == ran, done.stdout
        assert strict * 100 >= ran * 98, (check, done.stdout)
