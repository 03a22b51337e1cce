"""The scheduler against damaged CIBs: `python -m tests.fuzz.scheduler --count N [--seed S] [--keep DIR]`.

Never a traceback, never over SECONDS_MAX, and every transition is sane. Base documents are the corpus of
HACLUSTER_SCHEDULER_CORPUS, or of small clusters of our own. What fails is kept in DIR with its seed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from cli.render.dot import dot_text
from cli.render.svg import svg_text
from crm.cib import codec
from crm.cib.model import Element
from crm.explain.doubts import doubts, in_this_state
from crm.explain.question import Asked, ask
from crm.scheduler.pipeline import Transition, schedule
from crm.simulation.execute import execute
from hacluster.errors import HaError
from tests.fuzz.mutations import mutated

SECONDS_MAX = 10
NOW_S = 1_790_000_000
SIZE_BYTES_MAX = 60_000
"""Larger base documents are left out unless --size-max says otherwise: they cost much time."""


class TooSlow(Exception):
    """One case took more than SECONDS_MAX of the processor's time."""


def bases(size_max: int = SIZE_BYTES_MAX) -> list[tuple[str, Element]]:
    """(name, CIB) of every base document."""
    folder = os.environ.get("HACLUSTER_SCHEDULER_CORPUS", "")
    if not folder:
        return own_bases()
    return [
        (path.stem, codec.parse(path.read_bytes(), source=path.name))
        for path in sorted(Path(folder).glob("xml/*.xml"))
        if path.stat().st_size <= size_max
    ]


def own_bases() -> list[tuple[str, Element]]:
    """The small clusters of tests/fuzz/bases."""
    folder = Path(__file__).parent / "bases"
    return [
        (path.stem, codec.parse(path.read_bytes(), source=path.name)) for path in sorted(folder.glob("*.xml"))
    ]


def check_case(cib: Element, rng: random.Random) -> None:
    """Raises what the scheduler should not raise, AssertionError for a transition that is not sane."""
    try:
        transition = schedule(cib, NOW_S)
        check_transition(transition)
        after = execute(cib, transition.graph, NOW_S).cib
        draw = rng.random()
        if draw < 0.10:
            schedule(after, NOW_S)
        elif draw < 0.15:
            again = schedule(cib, NOW_S)
            assert again.graph == transition.graph, "the same CIB gave another transition"
            assert again.score_lines == transition.score_lines, "the same CIB gave other scores"
        elif draw < 0.20:
            doubts(cib, NOW_S)
            in_this_state(cib, NOW_S)
            svg_text(transition.graph)
            dot_text(transition.work, every=True)
        elif draw < 0.25:
            _why(cib, transition, rng)
    except HaError:
        return  # refused with a reason


def _why(cib: Element, transition: Transition, rng: random.Random) -> None:
    work = transition.work
    asked = Asked(cib, NOW_S)
    for names in (list(work.resources_by_id), list(work.actions_by_key)):
        if names:
            ask(asked, (rng.choice(names),))
    if work.nodes:
        ask(asked, ("fenced", rng.choice(work.nodes).name))
        promotable = [one.id for one in work.all_resources() if one.promotable]
        if promotable:
            ask(asked, (rng.choice(promotable), "not", "promoted", "on", rng.choice(work.nodes).name))


def check_transition(transition: Transition) -> None:
    """Numbers are unique, inputs exist, nothing real is done on a node that cannot do it."""
    graph = transition.graph
    ids = [action.id for action in graph.actions()]
    assert len(ids) == len(set(ids)), "an action is in the graph twice"
    known = {*ids, *(action.id for action in graph.unwritten)}
    nodes = transition.work.nodes_by_name
    for synapse in graph.synapses:
        assert set(synapse.inputs) <= known, f"synapse {synapse.id} waits for an action that is not there"
        for action in synapse.actions:
            assert action.key, f"action {action.id} has no key"
            if action.kind.value == "rsc_op":
                assert action.node, f"{action.key} is for no node"
                assert action.node in nodes, f"{action.key} is for {action.node}, which is no node"


def _alarm(_signal: int, _frame: FrameType | None) -> None:
    raise TooSlow(f"not done after {SECONDS_MAX} s")


def run(count: int, seed: int, keep: Path | None, documents: Sequence[tuple[str, Element]]) -> Counter[str]:
    """Try `count` damaged documents; what failed, by kind. Each case has its own seed, for replays."""
    failures: Counter[str] = Counter()
    signal.signal(signal.SIGPROF, _alarm)
    for number in range(count):
        case = f"{seed}/{number}"
        rng = random.Random(case)
        name, base = rng.choice(documents)
        cib = mutated(base, rng)
        signal.setitimer(signal.ITIMER_PROF, SECONDS_MAX)
        try:
            check_case(cib, rng)
        except Exception as error:  # every kind of exception is what is looked for
            place = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__} {Path(place.filename).name}:{place.lineno} {error}"[:160]
            failures[what.partition(" ")[0] + " " + what.split(" ")[1]] += 1
            print(f"case {case} of {name}: {what}", flush=True)
            if keep is not None:
                (keep / f"{name}-{seed}-{number}.xml").write_text(codec.render(cib))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if number % 5_000 == 4_999:
            print(f"{number + 1} of {count}, {failures.total()} failed", flush=True)
    return failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.scheduler")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the documents that failed")
    parser.add_argument("--size-max", type=int, default=SIZE_BYTES_MAX, help="largest base document, bytes")
    options = parser.parse_args(arguments)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    documents = bases(options.size_max)
    began = time.monotonic()
    failures = run(options.count, options.seed, options.keep, documents)
    took = time.monotonic() - began
    print(
        f"{options.count} mutations of {len(documents)} documents in {took:.0f} s: {failures.total()} failed"
    )
    for what, times in failures.most_common():
        print(f"  {times} × {what}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
