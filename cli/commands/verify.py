"""`hacli verify`: mistakes in the configuration; `--survive N`: what the loss of N nodes would mean."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from cli.cib_file import read_cib
from cli.commands.changes import read
from cli.commands.survive import survive
from cli.context import EXIT_FAILED, EXIT_OK, OUTPUTS, Context, UsageError
from cli.grammar.verify import Problem, Severity
from cli.grammar.verify import verify as grammar_problems
from crm.cib import schema
from crm.cib.model import Element
from crm.explain.doubts import doubts, in_this_state
from crm.scheduler.pipeline import effective_now_s
from hacluster.digits import is_count

USAGE: Final = "verify [-x FILE] [--agents] [--survive 1|2 [--jobs N]] [--output json]"
SURVIVE_MAX: Final = 2
_Row: TypeAlias = tuple[str, str, str, str]


def main(context: Context, words: Sequence[str]) -> int:
    """Exit code 1 for errors, and with --survive when something would not be served."""
    path, count, agents, jobs = _words(context, words)
    cib = _cib(context, path)
    now_s = effective_now_s(cib, int(time.time()))
    in_file = bool(path) or context.offline  # private parameters may have been blanked there
    if count:
        return survive(context, cib, now_s, count, sanitized=in_file, jobs=jobs)
    found = _rows(grammar_problems(cib))
    found += _rows((*doubts(cib, now_s), *in_this_state(cib, now_s, sanitized=in_file)))
    if agents or not in_file:
        from agents.catalog import Catalog
        from cli.agent_checks import agent_problems
        from cli.agent_sources import AgentsHere, AgentsOfTheCluster

        known = AgentsHere(Catalog.of_this_node()) if in_file else AgentsOfTheCluster(context, cib)
        found += _rows(agent_problems(cib, known))
    found = sorted(dict.fromkeys(found), key=lambda one: one[0] != Severity.ERROR.value)
    _print(context, found)
    return EXIT_FAILED if any(severity == Severity.ERROR.value for severity, *_ in found) else EXIT_OK


def _words(context: Context, words: Sequence[str]) -> tuple[str, int, bool, int]:
    path, count, agents, jobs = "", 0, False, 0
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in ("-x", "--xml-file", "--survive", "--jobs", "--output", "-o"):
            if not equals:
                if not rest:
                    raise UsageError(what=f"{name} needs a value", usage=USAGE)
                value = rest.pop(0)
            if name == "--survive":
                if not is_count(value) or not 1 <= int(value) <= SURVIVE_MAX:
                    raise UsageError(what=f"--survive {value}: 1 or 2", usage=USAGE)
                count = int(value)
            elif name == "--jobs":
                if not is_count(value):
                    raise UsageError(what=f"--jobs {value}: a number of processes", usage=USAGE)
                jobs = int(value)
            elif name in ("--output", "-o"):
                if value not in OUTPUTS:
                    raise UsageError(what=f"--output {value}: one of {', '.join(OUTPUTS)}", usage=USAGE)
                context.options.output = value
            else:
                path = value
        elif word in ("--json", "json"):
            context.options.json = True
        elif word == "--agents":
            agents = True
        elif word not in ("-L", "live"):
            raise UsageError(what=f"{word!r} is not understood", usage=USAGE)
    return path, count, agents, jobs


def _cib(context: Context, path: str) -> Element:
    return read_cib(path) if path else read(context)


def emit_findings(context: Context, problems: Iterable[Problem | schema.Problem]) -> None:
    """They are the answer, as JSON or XML."""
    _emit(context, _rows(problems))


def _rows(problems: Iterable[Problem | schema.Problem]) -> list[_Row]:
    return [(one.severity.value, one.where, one.what, one.remedy) for one in problems]


def _emit(context: Context, found: Sequence[_Row]) -> None:
    names = ("severity", "where", "what", "remedy")
    context.emit("findings", {"findings": [dict(zip(names, one, strict=True)) for one in found]})


def _print(context: Context, found: Sequence[_Row]) -> None:
    if context.options.structured:
        _emit(context, found)
        return
    for severity, where, what, remedy in found:
        text = f"{where}: {what}" + (f" ({remedy})" if remedy else "")
        (context.error if severity == Severity.ERROR.value else context.warning)(text)
    if not found:
        context.info("nothing is wrong with the configuration")
