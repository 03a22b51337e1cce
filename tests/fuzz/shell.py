"""hacli against mutated lines: `python -m tests.fuzz.shell --count N [--seed S] [--first K]`.

Never a traceback, never over SECONDS_MAX, and a line that is refused leaves the CIB byte for byte as it was.
What is taken can be shown, and what is shown loads again. Base lines are those of the corpus of
HACLUSTER_CRMSH_CORPUS, or of our own scenarios.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from cli import dispatch
from cli.context import Context, Options
from cli.grammar.definitions import KEYWORDS, parse_text
from cli.grammar.document import empty_cib
from cli.grammar.exact import exact
from cli.grammar.lexer import logical_lines, split_words, unwritable
from cli.grammar.load import load
from cli.grammar.show import show
from cli.shell import Shell
from cli.workspace import CibSource, Confirm, Snapshot, digest_of
from crm.cib import codec
from crm.cib.model import Element
from hacluster.errors import HaError, InvalidRequest
from tests.cib_contents import contents

SECONDS_MAX: Final = 5
SCENARIOS: Final = Path(__file__).parents[1] / "scenarios/cli"
SITE: Final = """\
node 1: node1
node 2: node2
rsc_template t ocf:hacluster:Dummy op monitor interval=10s
primitive a @t params x=1
primitive b ocf:hacluster:Dummy meta target-role=Started op monitor interval=10s timeout=20s
primitive d ocf:hacluster:Dummy utilization cpu=1
primitive s ocf:hacluster:Stateful op monitor interval=5s role=Promoted
group g a b
clone c s meta promotable=true
location l g rule 100: #uname eq node1 and date lt 2030-01-01
colocation k inf: d c:Promoted
order o Mandatory: c:promote ( g d )
tag all g d
role r read xpath:"//primitive"
acl_target u r
alert al /bin/true to "x y"
fencing_topology node1: f
property stonith-enabled=false
rsc_defaults resource-stickiness=1
op_defaults od: rule op monitor interval=10s timeout=30s
"""
# What would write files, run programs, talk to a cluster or wait for somebody.
OUTSIDE: Final = (
    *("cli.commands.cluster:", "cli.commands.services:", "cli.commands.import_heartbeat:", "cli.demo."),
    *("cli.commands.report:", "cli.commands.cib:", "cli.commands.cibstatus:", "cli.commands.user_options:"),
    *("cli.commands.configure_tools:", "cli.commands.corosync:", "cli.commands.site:"),
    *("cli.commands.history_view:", "cli.commands.history_log:", "cli.commands.by_hand:"),
    *("cli.commands.secret:", "cli.commands.configure:filter", "cli.commands.configure:edit"),
    *("cli.commands.configure:save", "cli.commands.configure:load_file", "cli.commands.transition:save"),
    *("cli.commands.apply:", "cli.commands.programs:", "cli.commands.ra:", "cli.commands.fence:"),
    *("cli.commands.status:", "cli.commands.verify:", "cli.commands.why:", "cli.commands.script:"),
)
WORDS: Final = (
    *KEYWORDS,
    *(
        "params",
        "meta",
        "op",
        "monitor",
        "interval=0",
        "interval=",
        "$id=q",
        "$id-ref=a",
        "@a",
        "@",
        "$x:y=z",
    ),
    *(
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "and",
        "or",
        "date",
        "spec",
        "in",
        "rule",
        "rule $id=x",
        "inf:",
        "-inf:",
        ":",
    ),
    *(
        "100:",
        "99999999999999999999:",
        "eq",
        "defined",
        "k=v",
        "k=",
        "=v",
        "=",
        "''",
        '""',
        "a",
        "b",
        "g",
        "c",
        "l",
    ),
    *(
        "node1",
        "x:Promoted",
        "x:",
        ":x",
        "--force",
        "--",
        "-1",
        "xml",
        "<primitive id='a'/>",
        "<",
        "\\",
        "#",
        "é",
        "日",
    ),
    *(
        "resource",
        "configure",
        "node",
        "show",
        "delete",
        "rename",
        "modgroup",
        "add",
        "set",
        "a.x",
        "commit",
        "up",
        "assist",
        "template",
        "weak-bonds",
        "help",
        "history",
        "$id-ref=t",
        "role=PROMOTED",
    ),
)
CHARACTERS: Final = "'\"\\ =:@$(){}[]<>#&;|\t\x00\x01\x1b\x7f\u2028\ud7ff\uffff\U0001f600aZ09"


class TooSlow(Exception):
    """One case took more than SECONDS_MAX of the processor's time."""


def base_lines() -> list[str]:
    """Commands and definitions, one a line."""
    folder = os.environ.get("HACLUSTER_CRMSH_CORPUS", "")
    paths = sorted(Path(folder).glob("*/*.crm")) if folder else sorted(SCENARIOS.glob("*.txt"))
    found = dict.fromkeys(line.text for path in paths for line in logical_lines(path.read_text()))
    return [line for line in (*SITE.splitlines(), *found) if len(line) < 2_000]


def mutated(lines: Sequence[str], rng: random.Random) -> str:
    """A line, a few times damaged."""
    line = rng.choice(lines)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 9))):
        line = _damaged(line, lines, rng)
    return line


def _damaged(line: str, lines: Sequence[str], rng: random.Random) -> str:
    words = line.split(" ")
    at = rng.randrange(len(words))
    match rng.randrange(10):
        case 0:
            del words[at]
        case 1:
            words.insert(at, rng.choice(words))
        case 2:
            words[at] = rng.choice(WORDS)
        case 3:
            words.insert(at, rng.choice(WORDS))
        case 4:
            other = rng.choice(lines).split(" ")
            words[at:] = other[rng.randrange(len(other)) :]
        case 5:
            rng.shuffle(words)
        case 6:
            place = rng.randrange(len(line) + 1)
            return line[:place] + rng.choice(CHARACTERS) + line[place:]
        case 7:
            place = rng.randrange(len(line) + 1)
            return line[:place] + line[place + rng.randrange(4) :]
        case 8:
            words[at] = words[at] * rng.choice((2, 3, 50))
        case _:
            words[at] = words[at].swapcase() if rng.random() < 0.5 else words[at][::-1]
    return " ".join(words)


@dataclass(slots=True)
class Memory:
    """A CIB that is nowhere else."""

    cib: Element
    name: str = "memory"

    def read(self) -> Snapshot:
        return Snapshot(cib=self.cib, digest=digest_of(self.cib))

    def write(
        self, cib: Element, expected_digest: str, client: str, *, confirm: Confirm | None = None
    ) -> Snapshot:
        text = codec.render(cib)
        if unwritable(text):
            raise InvalidRequest(what="not to be written")
        codec.parse(text, source="what was written")
        self.cib = cib
        return self.read()


class Alone(Context):
    """A context whose CIB is in memory, and that prints to nowhere."""

    memory: Memory

    def source(self) -> CibSource:
        return self.memory


def a_context(cib: Element) -> Alone:
    context = Alone(Options(cib_file="memory"), out=io.StringIO(), err=io.StringIO())
    context.memory = Memory(cib)
    return context


def harmless(handler: str) -> bool:
    """The command stays within the process."""
    return not handler.startswith(OUTSIDE)


def check_command(line: str, base: Element) -> None:
    """As one command of a script, at the root or in the configuration."""
    context = a_context(base)
    shell = Shell(context)
    if not line.startswith(("resource", "node", "configure", "maintenance")):
        line = f"configure {line}"
    status = shell.run_batch(line, "fuzz")
    kept = context.memory.cib is base  # elements never change; to render both takes a third of a run's time
    assert status == 0 or kept or codec.render(context.memory.cib) == codec.render(base), (
        "refused, and yet the CIB was changed"
    )
    said = str(context.err)
    assert "Traceback" not in said


def check_text(line: str, base: Element) -> None:
    """As a text that is loaded: what is taken can be shown, and what is shown loads again."""
    try:
        changed = load(base, parse_text(line, "fuzz"), source="fuzz").cib
    except HaError:
        return
    codec.parse(codec.render(changed), source="what was written")
    shown, text = show(changed), exact(changed)
    again = load(empty_cib(), parse_text(shown, "shown"), source="shown").cib
    assert show(again) == shown, "what is shown loads to something else"
    again = load(empty_cib(), parse_text(text, "exact text"), source="exact text").cib
    assert contents(again) == contents(changed), "the exact text loads to something else"


def check_words(line: str) -> None:
    """Splitting alone."""
    try:
        split_words(line)
    except HaError:
        return


def _alarm(_signal: int, _frame: FrameType | None) -> None:
    raise TooSlow(f"not done after {SECONDS_MAX} s")


def run(count: int, seed: int, lines: Sequence[str], first: int = 0) -> Counter[str]:
    """Try `count` mutated lines from number `first` on; what failed, by kind.

    Each case has its own seed: `--seed S --first K --count 1` repeats the case S/K.
    """
    base = load(empty_cib(), parse_text(SITE, "site"), source="site").cib
    failures: Counter[str] = Counter()
    real_call = dispatch.call
    dispatch.call = lambda handler, context, words: (
        real_call(handler, context, words) if harmless(handler) else 0
    )
    handler = signal.signal(signal.SIGPROF, _alarm)
    try:
        for number in range(first, first + count):
            case = f"{seed}/{number}"
            rng = random.Random(case)
            line = mutated(lines, rng)
            signal.setitimer(signal.ITIMER_PROF, SECONDS_MAX)
            try:
                check_words(line)
                check_command(line, base)
                if rng.random() < 0.3:
                    check_text(line, base)
            except Exception as error:  # every kind of exception is what is looked for
                place = traceback.extract_tb(error.__traceback__)[-1]
                what = f"{type(error).__name__} {Path(place.filename).name}:{place.lineno}"
                failures[what] += 1
                print(f"case {case}: {what} {error!s:.100}: {line!r:.300}", flush=True)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            if number % 10_000 == 9_999:
                print(f"{number - first + 1} of {count}, {failures.total()} failed", flush=True)
    finally:
        dispatch.call = real_call
        signal.signal(signal.SIGPROF, handler)
    return failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.shell")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to repeat one")
    options = parser.parse_args(arguments)
    lines = base_lines()
    began = time.monotonic()
    failures = run(options.count, options.seed, lines, options.first)
    took = time.monotonic() - began
    print(f"{options.count} mutations of {len(lines)} lines in {took:.0f} s: {failures.total()} failed")
    for what, times in failures.most_common():
        print(f"  {times} × {what}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
