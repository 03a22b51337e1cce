"""The scheduler against a corpus of reference cases (HACLUSTER_SCHEDULER_CORPUS names its folder)."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from crm.cib.codec import parse
from crm.scheduler.pipeline import effective_now_s, schedule
from crm.transition.graph import from_element
from tests.conformance import graph_levels
from tests.conformance.scheduler_batch import NOW_S, case_now_s

FOLDER = os.environ.get("HACLUSTER_SCHEDULER_CORPUS", "")

# Cases that must pass, in per mille; raised whenever more pass, never lowered.
FLOORS = {"actions": 1000, "edges": 1000, "contents": 1000, "scores": 1000}


@dataclass
class Tally:
    """How many cases passed each level, and which did not."""

    total: int = 0
    passed: Counter[str] = field(default_factory=Counter)
    failed: dict[str, list[str]] = field(default_factory=dict)

    def count(self, level: str, name: str, *, ok: bool) -> None:
        if ok:
            self.passed[level] += 1
        else:
            self.failed.setdefault(level, []).append(name)


def _lines(text: str) -> Counter[str]:
    return Counter(" ".join(line.split()) for line in text.splitlines() if line.strip())


def _judge(corpus: Path, case: dict[str, Any], tally: Tally) -> None:
    name = case["name"]
    cib = parse((corpus / "xml" / f"{name}.xml").read_bytes(), source=name)
    transition = schedule(
        cib, case_now_s(case.get("args") or [], effective_now_s(cib, NOW_S)), sanitized=True
    )
    wanted = from_element(parse((corpus / "exp" / f"{name}.exp").read_bytes(), source=name))
    for level, of in (
        ("actions", graph_levels.actions),
        ("edges", graph_levels.edges),
        ("contents", graph_levels.contents),
    ):
        tally.count(level, name, ok=of(transition.graph) == of(wanted))
    expected = (corpus / "scores" / f"{name}.scores").read_text()
    tally.count("scores", name, ok=_lines("\n".join(transition.score_lines)) == _lines(expected))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not FOLDER, reason="HACLUSTER_SCHEDULER_CORPUS names no corpus")
def test_agreement_with_the_reference() -> None:
    corpus = Path(FOLDER)
    tally = Tally()
    for case in json.loads((corpus / "index.json").read_text()):
        tally.total += 1
        _judge(corpus, case, tally)
    for level, floor in FLOORS.items():
        share = 1000 * tally.passed[level] // max(1, tally.total)
        assert share >= floor, f"{level}: {share} of 1000 pass; failing: {tally.failed.get(level)}"
