"""hacli against what crmsh makes of the same texts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance.crmsh import VARIABLE, Corpus, comparer_of

# What passed when this was written; a change that passes less is a step back. Share of the checks that ran,
# in 1/1000, at the strict and at the loose level.
FLOORS = {
    "load": (990, 990),
    "script": (990, 990),
    "show": (980, 990),
    "xmlshow": (1000, 1000),
    "reload": (990, 990),
    "query": (1000, 1000),
    "error": (1000, 1000),
}


@pytest.mark.slow
def test_crmsh_corpus(tmp_path: Path) -> None:
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no corpus")
    if not comparer_of(Path(folder)).exists():
        pytest.skip(f"there is no comparer at {comparer_of(Path(folder))}")
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
