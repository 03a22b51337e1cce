"""Run the scheduler over a corpus: `python -m tests.conformance.scheduler_batch CORPUS OUT [NAME ...]`.

CORPUS has xml/NAME.xml and index.json (args per case); OUT gets exp/NAME.exp and scores/NAME.scores.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from crm.cib.codec import parse, render
from crm.scheduler.dates import instant_s
from crm.scheduler.pipeline import effective_now_s, schedule
from crm.transition.graph import to_element

NOW_S = 1_790_000_000


def case_now_s(words: Sequence[str], default_s: int = NOW_S) -> int:
    """The time given by "-t", else the default."""
    at_s = instant_s(words[words.index("-t") + 1]) if "-t" in words else None
    return default_s if at_s is None else at_s


def run_case(corpus: Path, name: str, args: Sequence[str]) -> tuple[str, str]:
    """(graph as XML, score lines) of one case."""
    cib = parse((corpus / "xml" / f"{name}.xml").read_bytes(), source=name)
    now_s = case_now_s(args, effective_now_s(cib, NOW_S))
    transition = schedule(cib, now_s, sanitized=True)
    return render(to_element(transition.graph)), "".join(
        f"{line}\n" for line in sorted(transition.score_lines)
    )


def main(corpus: Path, out: Path, names: list[str]) -> int:
    """Write all files; the number of cases that raised is the exit status."""
    cases = json.loads((corpus / "index.json").read_text())
    (out / "exp").mkdir(parents=True, exist_ok=True)
    (out / "scores").mkdir(parents=True, exist_ok=True)
    failed = 0
    for case in cases:
        name = case["name"]
        if names and name not in names:
            continue
        try:
            graph, lines = run_case(corpus, name, case.get("args") or [])
        except Exception as error:  # one bad case must not hide the others
            failed += 1
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            if names:
                raise
            continue
        (out / "exp" / f"{name}.exp").write_text(graph)
        (out / "scores" / f"{name}.scores").write_text(lines)
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
