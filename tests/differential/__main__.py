"""Our scheduler beside an installed crm_simulate on random CIBs: `python -m tests.differential`.

Each seed gives a CIB that is looked at freshly started, after a transition in which something failed,
settled, and after things happened to the settled one. Two transitions agree when their multisets of (element,
operation, key, node) are equal. With --shrink FILE a disagreeing CIB is made small and both sets are shown.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from crm.cib import codec
from crm.cib.model import Element
from tests.differential.compare import AGREE, FAILED, GAVE_UP, OPEN, Result, results
from tests.differential.draw import share_of
from tests.differential.known import known_change
from tests.differential.old_rules import CHANGES, old_rules
from tests.differential.oracle import Actions, Oracle, OracleFailed, ours
from tests.differential.shrink import shrunk

PROGRESS_EVERY = 50
DIFFERENT = frozenset({OPEN, FAILED, GAVE_UP})


def short(actions: Actions, count: int = 4) -> str:
    """How many, and the first few."""
    texts = [f"{key}@{node}" if node else key for _, _, key, node in sorted(actions.elements())]
    return f"{len(texts)} [{', '.join(texts[:count])}{', …' if len(texts) > count else ''}]"


def show(result: Result, keep: Path | None) -> None:
    """One line for what does not agree; with `keep`, its CIB."""
    match result.verdict:
        case verdict if verdict == AGREE and result.old_scores:
            return
        case verdict if verdict == AGREE:
            text = "scores differ"
        case verdict if verdict in {GAVE_UP, FAILED}:
            text = result.error[:160]
        case _:
            text = f"missing {short(result.missing)} surplus {short(result.surplus)}"
    print(f"seed {result.seed} {result.verdict}: {result.what}: {text}", flush=True)
    if keep is not None:
        kind = result.what.split(":")[0] or "gave-up"
        folder = keep / ("scores" if result.verdict == AGREE else result.verdict.replace(" ", "-")[:80])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{result.seed}-{kind}.xml").write_bytes(result.source)


@dataclass(slots=True)
class Tally:
    """How often each verdict came, and on how many CIBs each level agrees."""

    verdicts: collections.Counter[str] = field(default_factory=collections.Counter)
    levels: collections.Counter[str] = field(default_factory=collections.Counter)
    shares: dict[float, collections.Counter[bool]] = field(default_factory=dict)

    def add(self, result: Result, share: float) -> None:
        """Count one CIB, for which that share of the features was on."""
        self.verdicts[result.verdict] += 1
        if result.verdict != GAVE_UP:
            self.shares.setdefault(share, collections.Counter())[result.verdict == AGREE] += 1
        self.levels["actions"] += result.verdict == AGREE
        self.levels["actions, with those of 2.1.5's rules that matter"] += result.verdict not in DIFFERENT
        self.levels["actions, with all of 2.1.5's rules"] += result.as_old
        self.levels["scores"] += result.scores
        self.levels["scores, with those of 2.1.5's rules that matter to the actions"] += result.known_scores
        self.levels["scores, with all of 2.1.5's rules"] += result.old_scores

    def compared(self) -> int:
        """How many the reference answered."""
        return self.verdicts.total() - self.verdicts[GAVE_UP]

    def text(self) -> str:
        """The levels, then the verdicts."""
        count = max(1, self.compared())
        lines = [f"{self.compared()} CIBs compared; they agree in"]
        lines += [
            f"{number:7} {100.0 * number / count:6.2f} %  {name}" for name, number in self.levels.items()
        ]
        lines += [
            f"{agree[True]:7} {100.0 * agree[True] / agree.total():6.2f} %  actions, of {agree.total()} with "
            f"{100 * share:g} % of the features"
            for share, agree in sorted(self.shares.items())
        ]
        lines.append("verdicts:")
        lines += [
            f"{number:7} {100.0 * number / count:6.2f} %  {name}"
            for name, number in self.verdicts.most_common()
        ]
        return "\n".join(lines)


def run(first: int, count: int, keep: Path | None, share: float | None) -> Tally:
    """Compare."""
    tally = Tally()
    oracle = Oracle()
    try:
        for seed in range(first, first + count):
            for result in results(seed, oracle, share):
                tally.add(result, share_of(seed) if share is None else share)
                show(result, keep)
            if (seed - first + 1) % PROGRESS_EVERY == 0:
                print(f"… seed {seed}: {dict(tally.verdicts)}", file=sys.stderr, flush=True)
    finally:
        oracle.close()
    return tally


def _signature(wanted: Actions, got: Actions) -> frozenset[tuple[str, str]]:
    return frozenset(
        {("missing", task) for _, task, _, _ in wanted - got}
        | {("surplus", task) for _, task, _, _ in got - wanted}
    )


def shrink(path: Path, questions_max: int, *, strictly: bool) -> None:
    """Print the small CIB and what differs. `strictly`: it must differ with all of 2.1.5's rules put back."""
    oracle = Oracle()

    def both(cib: Element) -> tuple[Actions, Actions]:
        with old_rules(CHANGES if strictly else ()):
            return oracle.ask(codec.render(cib).encode()).actions, ours(cib)

    try:
        cib = codec.parse(path.read_bytes())
        signature = _signature(*both(cib))

        def holds(changed: Element) -> bool:
            try:
                theirs, mine = both(changed)
            except OracleFailed:
                return False
            now = _signature(theirs, mine)
            return bool(now) and now <= signature

        small = shrunk(cib, holds, questions_max=questions_max)
        wanted, got = both(small)
        print(f"{codec.render(small)}\n{known_change(small, wanted) or OPEN}")
        for title, actions in (
            ("both", wanted & got),
            ("only the reference", wanted - got),
            ("only ours", got - wanted),
        ):
            print(f"{title}: {short(actions, 60)}")
    finally:
        oracle.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--share", type=float, help="the share of the features that are on (0 to 1) in all")
    parser.add_argument("--keep", type=Path, help="store disagreeing CIBs in this folder")
    parser.add_argument("--percent", type=float, default=98.0, help="exit 1 when fewer agree, or one is open")
    parser.add_argument("--shrink", type=Path, metavar="FILE", help="make this disagreeing CIB small")
    parser.add_argument("--budget", type=int, default=600, help="questions to ask while shrinking")
    parser.add_argument(
        "--open", action="store_true", help="while shrinking: known changes must not explain it"
    )
    options = parser.parse_args()
    if options.shrink:
        shrink(options.shrink, options.budget, strictly=options.open)
        return 0
    started = time.monotonic()
    print(f"seeds {options.seed} to {options.seed + options.seeds - 1}", flush=True)
    tally = run(options.seed, options.seeds, options.keep, options.share)
    print(f"{tally.text()}\nin {time.monotonic() - started:.0f} s")
    enough = 100.0 * tally.verdicts[AGREE] >= options.percent * tally.compared()
    return 0 if enough and not tally.verdicts[FAILED] and not tally.verdicts[OPEN] else 1


if __name__ == "__main__":
    sys.exit(main())
