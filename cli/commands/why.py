"""`hacli why`: why a resource is where it is, an action is done or waits, a node is fenced."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from cli.cib_file import read_cib
from cli.commands.changes import read
from cli.context import EXIT_OK, OUTPUTS, Context, UsageError
from cli.render.why import as_data, text
from crm.cib import codec
from crm.cib.model import Element
from crm.explain.question import Asked, ask
from crm.scheduler.pipeline import effective_now_s
from hacluster.digits import is_count

USAGE: Final = (
    "why RESOURCE [[not] [promoted] on NODE] | ACTION [on NODE] | fenced NODE\n"
    "           [-x FILE] [--transition N] [--output json]"
)


def main(context: Context, words: Sequence[str]) -> int:
    """`why` and a question (USAGE). Raises what the daemon raises."""
    question, source = _words(context, words)
    if not question or question[0] in ("help", "--help", "-h"):
        if question:
            context.print(USAGE)
            return EXIT_OK
        raise UsageError(what="a resource, an action or a node is needed", usage=USAGE)
    cib, now_s = _cib(context, source)
    in_file = source[0] == "file" or context.offline  # where private parameters may have been blanked
    explained = ask(Asked(cib, now_s, sanitized=in_file), question)
    if context.options.structured:
        context.emit("why", as_data(explained))
    else:
        context.print(text(explained))
    return EXIT_OK


def _words(context: Context, words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, str]]:
    question: list[str] = []
    source = ("", "")
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in ("-x", "--xml-file", "--transition", "--output", "-o"):
            if not equals:
                if not rest:
                    raise UsageError(what=f"{name} needs a value", usage=USAGE)
                value = rest.pop(0)
            if name in ("--output", "-o"):
                if value not in OUTPUTS:
                    raise UsageError(what=f"--output {value}: one of {', '.join(OUTPUTS)}", usage=USAGE)
                context.options.output = value
            else:
                source = ("transition" if name == "--transition" else "file", value)
        elif word in ("--json", "json"):
            context.options.json = True
        elif word.startswith("-") and word not in ("-h", "--help"):
            raise UsageError(what=f"unknown option {word}", usage=USAGE)
        else:
            question.append(word)
    return tuple(question), source


def _cib(context: Context, source: tuple[str, str]) -> tuple[Element, int]:
    """The CIB and the time it is looked at: that of a stored transition is the time it was computed."""
    kind, value = source
    now_s = int(time.time())
    if kind == "file" or (kind == "transition" and not is_count(value)):
        cib = read_cib(value)
    elif kind == "transition":
        reply = context.client.transition(int(value))
        cib = codec.parse(reply.input_xml, source=f"transition {value}")
        now_s = reply.summary.started_s or now_s
    else:
        cib = read(context)
    return cib, effective_now_s(cib, now_s)
