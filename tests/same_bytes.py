"""The same CIB gives the same bytes, whatever Python's hashes are: `python -m tests.same_bytes [--times N]`.

Each round runs in a process with another PYTHONHASHSEED and computes digests of the graph, the scores and the
text, the XML, the JSON, the dot file and the picture of every document: small clusters of our own, and with
--corpus those of HACLUSTER_SCHEDULER_CORPUS.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scheduler.built_in import STATES, cluster
from cli.commands import simulate
from crm.cib import codec
from tests.fuzz.scheduler import SIZE_BYTES_MAX, bases, own_bases

TIMES = 100
ROUND_S_MAX = 600
# Results of a simulation are stamped with the time of the computer where that is later.
AT = "2090-01-31T12:30:00Z"
_FILES = ("graph.xml", "actions.dot", "picture.svg", "after.xml")
_FORMS = {
    "text": ["-sUSc", "-G", _FILES[0], "-a", "-D", _FILES[1], "--svg", _FILES[2], "-O", _FILES[3]],
    "json": ["-Rs", "--json"],
    "xml": ["-Ss", "--output-as=xml"],
}


def digests(documents: Sequence[tuple[str, str]]) -> list[str]:
    """A line for every document and form."""
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name, text in documents:
            Path("cib.xml").write_text(text, encoding="utf-8")
            for form, options in _FORMS.items():
                out = io.StringIO()
                code = simulate.main(["-x", "cib.xml", "-t", AT, *options], out)
                found.append(f"{name} {form} {code} {_digest(out.getvalue().encode())}")
            found += [f"{name} {path} {_digest(Path(path).read_bytes())}" for path in _FILES]
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def documents(*, corpus: bool) -> list[tuple[str, str]]:
    """(name, XML) of what is computed."""
    chosen = bases(SIZE_BYTES_MAX) if corpus else own_bases()
    made = [(f"built-in-{state}", cluster(5, 60, state)) for state in STATES]
    return [(name, codec.render(cib)) for name, cib in chosen] + made


def round_of(seed: int, *, corpus: bool) -> str:
    """The digests with that seed, computed in a process of its own."""
    command = [sys.executable, "-m", "tests.same_bytes", "--once", *(["--corpus"] if corpus else [])]
    ran = subprocess.run(
        command,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        timeout=ROUND_S_MAX,
        check=True,
        text=True,
    )
    return ran.stdout


def differing(times: int, *, corpus: bool = False) -> list[str]:
    """The lines that were not the same in all of `times` rounds."""
    first = round_of(0, corpus=corpus)
    assert first.strip(), "nothing was computed"
    found: list[str] = []
    for seed in range(1, times):
        lines = round_of(seed, corpus=corpus)
        if lines != first:
            changed = set(lines.splitlines()) ^ set(first.splitlines())
            found += [f"seed {seed}: {line}" for line in sorted(changed)]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when all rounds gave the same."""
    parser = argparse.ArgumentParser(prog="python -m tests.same_bytes")
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--corpus", action="store_true", help="the corpus's documents, too")
    parser.add_argument("--once", action="store_true", help="print this process's digests")
    options = parser.parse_args(arguments)
    if options.once:
        print("\n".join(digests(documents(corpus=options.corpus))))
        return 0
    found = differing(options.times, corpus=options.corpus)
    print("\n".join([*found, f"{options.times} rounds, {len(found)} differences"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
