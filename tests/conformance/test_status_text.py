"""The status text of every CIB of the corpus equals the reference's, word for word."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli.render.cluster_status import disabled_and_blocked, status_text
from crm.cib import codec
from crm.scheduler import pipeline
from crm.scheduler.dates import instant_s

CORPUS = os.environ.get("HACLUSTER_SCHEDULER_CORPUS", "")
AFTER_ALL_OF_THEM_S = 1_900_000_000
pytestmark = pytest.mark.skipif(not CORPUS, reason="HACLUSTER_SCHEDULER_CORPUS is not set")


def cases() -> list[tuple[str, list[str]]]:
    index = json.loads((Path(CORPUS) / "index.json").read_text()) if CORPUS else []
    return [(case["name"], case["args"]) for case in index]


@pytest.mark.parametrize(("name", "args"), cases(), ids=[name for name, _ in cases()])
def test_current_status(name: str, args: list[str]) -> None:
    cib = codec.parse((Path(CORPUS) / f"xml/{name}.xml").read_bytes())
    now_s = int(cib.get("execution-date") or AFTER_ALL_OF_THEM_S)
    if args[:1] == ["-t"]:
        now_s = instant_s(args[1]) or 0
    work = pipeline.unpack(cib, now_s)
    text = (Path(CORPUS) / f"summary/{name}.summary").read_text()
    before, _, rest = text.partition("Current cluster status:\n")
    wanted = rest.partition("\nTransition Summary:")[0]
    assert words(status_text(work, pending=True)) == words(wanted)
    assert disabled_and_blocked(work) in before


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]
