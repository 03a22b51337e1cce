"""Our scheduler beside an installed crm_simulate on mutated cases of a corpus.

`python -m tests.differential.corpus`; the corpus is the folder that HACLUSTER_SCHEDULER_CORPUS names. Every
case is looked at unchanged first: a level on which the installed release differs from ours there is not
compared, since it is an older release that does not know what the case is about. On the others a difference
after one change is ours to explain.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crm.cib import codec
from crm.cib.model import Element
from tests.conformance.scheduler_batch import case_now_s
from tests.differential import mutations, mutations_history, mutations_resources
from tests.differential.mutations import Mutation
from tests.differential.oracle import OracleFailed
from tests.differential.reference import (
    LEVELS,
    differences,
    ours,
    reference,
)
from tests.differential.shrink import shrunk

KINDS: dict[str, tuple[int, Mutation]] = {
    "node state": (4, mutations.node_state),
    "node off": (1, mutations.node_off),
    "node configured": (2, mutations.node_configured),
    "node transient": (2, mutations.node_transient),
    "attribute value": (2, mutations.attribute_value),
    "node forgotten": (1, mutations.node_forgotten),
    "root": (1, mutations.root_attribute),
    "option": (5, mutations.option),
    "ticket": (2, mutations.ticket),
    "defaults": (2, mutations.defaults),
    "meta": (5, mutations_resources.meta),
    "clone meta": (4, mutations_resources.clone_meta),
    "removed": (2, mutations_resources.removed),
    "bundle": (2, mutations_resources.bundle),
    "shape": (3, mutations_resources.shape),
    "into group": (2, mutations_resources.into_group),
    "operation": (4, mutations_resources.operation),
    "parameter": (1, mutations_resources.parameter),
    "constraint gone": (2, mutations_resources.constraint_gone),
    "constraint": (5, mutations_resources.constraint),
    "constraint added": (5, mutations_resources.constraint_added),
    "result": (4, mutations_history.result),
    "pending": (1, mutations_history.pending),
    "forgotten": (2, mutations_history.forgotten),
    "entry": (2, mutations_history.entry_attribute),
    "failure": (3, mutations_history.failure),
    "fail count": (2, mutations_history.fail_count),
    "promotion score": (2, mutations_history.promotion_score),
    "migration": (2, mutations_history.migration),
}
DEFAULT_LEVELS = ("actions", "ordering", "current", "summary", "revised")
GRAPH_LEVELS = ("actions", "ordering")


@dataclass(slots=True)
class Tally:
    """What was seen so far."""

    compared: int = 0
    agreed: collections.Counter[str] = field(default_factory=collections.Counter)
    looked_at: collections.Counter[str] = field(default_factory=collections.Counter)
    classes: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    refused: int = 0
    failures: int = 0


def cases(folder: Path) -> Iterator[tuple[str, Element]]:
    """Name and CIB; the time by which it goes stands in it."""
    for case in json.loads((folder / "index.json").read_text()):
        cib = codec.parse((folder / "xml" / f"{case['name']}.xml").read_bytes(), source=case["name"])
        args = case.get("args") or []
        if args or not cib.get("execution-date"):
            cib = cib.with_attribute_map({"execution-date": str(case_now_s(args))})
        yield case["name"], cib


def mutated(cib: Element, seed: str, kinds: Sequence[str], count: int) -> tuple[str, str, Element] | None:
    """Kind, description and the CIB after `count` changes; None when nothing could be changed."""
    rng = random.Random(seed)
    said: list[tuple[str, str]] = []
    for _ in range(20 * count):
        kind = rng.choices(kinds, [KINDS[name][0] for name in kinds])[0]
        changed = KINDS[kind][1](cib, rng)
        if changed is not None:
            said.append((kind, changed[0]))
            cib = changed[1]
        if len(said) == count:
            return " + ".join(kind for kind, _ in said), "; ".join(text for _, text in said), cib
    return None


def signature(text: str) -> str:
    """The kinds of what is missing (-) and surplus (+), without names and numbers."""
    tasks: set[str] = set()
    for sign, inside in re.findall(r"([-+])\[([^]]*)", text):
        for task in re.findall(
            r"(?:(?:confirmed-)?(?:pre|post)_notify_)?(?:[a-z]+_(?:to|from|failcount|delete|shutdown)|[a-z-]+)"
            r"(?=_\d+(?:@|->|$))|stonith(?=-)|load_stopped|one-or-more|assign|promotion score",
            inside,
        ):
            tasks.add(f"{sign}{task}")
    return " ".join(sorted(tasks)) or "text"


class Search:
    """One walk through the corpus."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._scores = "scores" in options.levels
        self.tally = Tally()

    def case(self, name: str, cib: Element) -> None:
        """All mutations of one case."""
        try:
            usable = self._usable(cib)
        except OracleFailed as error:
            print(f"{name}: the reference gave up on the case itself: {str(error)[:120]}", flush=True)
            return
        if not set(usable) & set(GRAPH_LEVELS):
            return
        for number in range(self._options.first, self._options.first + self._options.mutations):
            made = mutated(
                cib, f"{self._options.seed}/{name}/{number}", self._options.kinds, self._options.changes
            )
            if made is not None:
                self._compare(f"{name}/{number}", *made, usable)

    def _usable(self, cib: Element) -> tuple[str, ...]:
        wanted = reference(cib, self._folder, scores=self._scores)
        found = differences(wanted, ours(cib, self._folder, scores=self._scores))
        if {"actions", "ordering", "current"} & set(found):
            return ()
        return tuple(level for level in self._options.levels if level not in found)

    def _compare(self, name: str, kind: str, what: str, cib: Element, usable: tuple[str, ...]) -> None:
        tally = self.tally
        try:
            wanted = reference(cib, self._folder, scores=self._scores)
        except OracleFailed:
            tally.refused += 1
            return
        tally.compared += 1
        try:
            found = differences(wanted, ours(cib, self._folder, scores=self._scores))
        except Exception:
            tally.failures += 1
            print(f"{name} [{kind}: {what}] raised\n{traceback.format_exc(limit=-3)}", flush=True)
            self._keep(name, cib)
            return
        differing = [level for level in LEVELS if level in usable and level in found]
        for level in usable:
            tally.looked_at[level] += 1
            tally.agreed[level] += level not in found
        if not differing:
            return
        level = differing[0]
        tally.classes.setdefault((level, f"{kind} | {signature(found[level])}"), []).append(name)
        print(f"{name} [{kind}: {what}] {level}: {found[level]}", flush=True)
        self._keep(name, cib)
        if self._options.shrink:
            self._shrink(name, cib, level, signature(found[level]))

    def _keep(self, name: str, cib: Element) -> None:
        if self._options.keep:
            (self._options.keep / f"{name.replace('/', '-')}.xml").write_text(codec.render(cib))

    def _shrink(self, name: str, cib: Element, level: str, wanted: str) -> None:
        small = smallest(cib, level, wanted, self._folder)
        target = self._options.keep / f"{name.replace('/', '-')}.small.xml" if self._options.keep else None
        if target is not None:
            target.write_text(codec.render(small))
        else:
            print(codec.render(small), flush=True)


def _differences(cib: Element, folder: Path, *, scores: bool) -> dict[str, str]:
    return differences(reference(cib, folder, scores=scores), ours(cib, folder, scores=scores))


def smallest(cib: Element, level: str, wanted: str, folder: Path) -> Element:
    """The smallest CIB found that differs on this level in the same kinds of actions."""

    def holds(candidate: Element) -> bool:
        try:
            found = _differences(candidate, folder, scores=level == "scores")
        except Exception:  # whatever either of them cannot read is no smaller example
            return False
        return level in found and signature(found[level]) == wanted

    return shrunk(cib, holds)


def report(tally: Tally, seconds: float) -> None:
    """The table of classes, largest first, and the figures."""
    print("\nlevel     cases  kind of change | what is missing (-) and surplus (+)")
    for (level, text), names in sorted(tally.classes.items(), key=lambda item: (item[0][0], -len(item[1]))):
        print(f"{level:<9} {len(names):>5}  {text}  ({', '.join(names[:3])})")
    rates = {level: round(100.0 * tally.agreed[level] / count, 2) for level, count in tally.looked_at.items()}
    print(
        json.dumps(
            {
                "compared": tally.compared,
                "refused by the reference": tally.refused,
                "our failures": tally.failures,
                "percent": rates,
                "looked at": dict(tally.looked_at),
                "seconds": round(seconds, 1),
            }
        )
    )


def compare_files(options: argparse.Namespace) -> int:
    """CIBs that were stored earlier, as they are; with --shrink their minimal form is printed."""
    differing = 0
    with tempfile.TemporaryDirectory() as name:
        for path in options.file:
            cib = codec.parse(path.read_bytes(), source=str(path))
            found = _differences(cib, Path(name), scores=True)
            levels = [level for level in options.levels if level in found]
            print(f"{path}: {'; '.join(f'{one}: {found[one]}' for one in levels) or 'agrees'}", flush=True)
            differing += bool(levels)
            if levels and options.shrink:
                small = smallest(cib, levels[0], signature(found[levels[0]]), Path(name))
                path.with_suffix(".small.xml").write_text(codec.render(small))
                print(codec.render(small), flush=True)
    return 1 if differing else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential.corpus", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation of each case")
    parser.add_argument("--mutations", type=int, default=5, help="how many of each case")
    parser.add_argument("--changes", type=int, default=1, help="how many changes one mutation consists of")
    parser.add_argument("--only", nargs="*", default=[], help="names of cases")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS), metavar="KIND")
    parser.add_argument("--levels", nargs="*", default=DEFAULT_LEVELS, choices=LEVELS)
    parser.add_argument("--part", default="0/1", help="K/N: every N-th case, from the K-th")
    parser.add_argument("--file", type=Path, nargs="*", help="compare these CIBs and nothing else")
    parser.add_argument("--keep", type=Path, help="store disagreeing CIBs in this folder")
    parser.add_argument("--shrink", action="store_true", help="print (with --keep: store) a minimal CIB")
    parser.add_argument("--percent", type=float, default=99.0, help="exit 1 when fewer actions agree")
    options = parser.parse_args()
    if options.file:
        return compare_files(options)
    corpus = os.environ.get("HACLUSTER_SCHEDULER_CORPUS", "")
    if not corpus:
        parser.error("HACLUSTER_SCHEDULER_CORPUS names no folder")
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    print(f"seed {options.seed}, mutations {options.first} to {options.first + options.mutations - 1}")
    started = time.monotonic()
    part, parts = map(int, options.part.split("/"))
    with tempfile.TemporaryDirectory() as folder:
        search = Search(options, Path(folder))
        for index, (name, cib) in enumerate(cases(Path(corpus))):
            if index % parts == part and (not options.only or name in options.only):
                search.case(name, cib)
            if index % 50 == 49:
                agreed = search.tally.agreed["actions"], search.tally.looked_at["actions"]
                print(f"… {index + 1} cases, actions {agreed[0]}/{agreed[1]}", flush=True)
    tally = search.tally
    report(tally, time.monotonic() - started)
    rate = 100.0 * tally.agreed["actions"] / max(1, tally.looked_at["actions"])
    return 0 if rate >= options.percent and not tally.failures else 1


if __name__ == "__main__":
    sys.exit(main())
