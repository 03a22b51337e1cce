"""`hacli history limit|exclude|setnodes|session|info|graph|wdiff`: what is looked at, and pictures of it."""

from __future__ import annotations

import dataclasses
import difflib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from cli.commands import history
from cli.context import EXIT_OK, Context, UsageError
from cli.past import Past, Sessions, pattern_of
from cli.workspace import write_atomically
from crm.cib import codec
from hacluster.digits import is_count
from hacluster.errors import HaError, InvalidRequest, NotFound

_FORMATS: Final = ("dot", "svg", "png", "pdf")
DRAW_WITHIN_S: Final = 60
_WORD: Final = re.compile(r"\s+|[^\s=]+=?")


def source(context: Context, words: Sequence[str]) -> int:
    """`source [live]`: where history is read. There is one source only."""
    if words not in ((), ("live",)):
        raise InvalidRequest(
            what="history is read from the running cluster",
            remedy="`hacli report -n all` keeps it as text; of a CIB in a file, `hacli --cib-file FILE …`",
        )
    what = "this CIB file" if context.offline else "the cluster (commits, transitions), and logs of nodes"
    context.print(f"source: {what}")
    return EXIT_OK


def limit(context: Context, words: Sequence[str]) -> int:
    """`limit [FROM [TO]]`: look at that time only; without one, at all of it."""
    from cli.commands.report import moment

    if len(words) > 2:
        raise UsageError(what="two times are too many words", usage="history limit [FROM [TO]]")
    from_s, to_s = ([moment(word) for word in words] + [0, 0])[:2]
    if to_s and to_s < from_s:
        raise UsageError(what="TO is before FROM", usage="history limit [FROM [TO]]")
    context.past = dataclasses.replace(context.past or Past(), from_s=from_s, to_s=to_s)
    return EXIT_OK


def exclude(context: Context, words: Sequence[str]) -> int:
    """`exclude [REGEX|clear]`: lines of the log and events that are left out."""
    if len(words) > 1:
        raise UsageError(what="one expression at a time", usage="history exclude [REGEX|clear]")
    past = context.past or Past()
    if not words:
        for pattern in past.exclude:
            context.print(pattern)
        return EXIT_OK
    patterns = () if words[0] == "clear" else (*past.exclude, pattern_of(words[0]))
    context.past = dataclasses.replace(past, exclude=patterns)
    return EXIT_OK


def setnodes(context: Context, words: Sequence[str]) -> int:
    """`setnodes [NODE…]`: events and logs of those nodes; without one, events of all and this node's log."""
    names = tuple(dict.fromkeys(name for word in words for name in word.split(",") if name))
    context.past = dataclasses.replace(context.past or Past(), nodes=names)
    return EXIT_OK


def detail(context: Context, words: Sequence[str]) -> int:
    """`detail [0|1]`: there is one form; this says what narrows it."""
    if len(words) > 1 or (words and words[0] not in ("0", "1")):
        raise UsageError(what="a level is 0 or 1", usage="history detail [0|1]")
    context.info("events have one form; `events NAME…`, `log WORD…`, `limit` and `exclude` narrow it")
    return EXIT_OK


def refresh(context: Context, words: Sequence[str]) -> int:
    """`refresh`: nothing is kept here, so there is nothing to read again."""
    if words not in ((), ("force",)):
        raise UsageError(what="refresh takes no arguments", usage="history refresh")
    context.info("nothing is kept here: each command asks anew")
    return EXIT_OK


def info(context: Context, words: Sequence[str]) -> int:
    """`info`: the source, what is looked at, and how much there is."""
    if words:
        raise UsageError(what="info takes no arguments", usage="history info")
    source(context, ())
    for line in (context.past or Past()).lines():
        context.print(line)
    if context.offline:
        return EXIT_OK
    found = context.client.revisions()
    context.print(f"commits: {_span(one.changed_s for one in found)}")
    try:
        transitions = context.client.transitions()
    except HaError as error:
        context.warning(f"transitions are not known: {error}")
        return EXIT_OK
    context.print(f"transitions: {_span(one.started_s for one in transitions)}")
    return EXIT_OK


def _span(moments: Iterator[int]) -> str:
    found = sorted(moments)
    if not found:
        return "0"
    first, last = (time.strftime("%F %T", time.localtime(one)) for one in (found[0], found[-1]))
    return f"{len(found)}, {first} to {last}"


def session(context: Context, words: Sequence[str]) -> int:
    """`session [list] | session save|load|delete NAME`: keep what is looked at under a name."""
    sessions = Sessions.of_this_user()
    match tuple(words):
        case () | ("list",):
            for name in sessions.names():
                context.print(name)
        case ("save", name):
            sessions.save(name, context.past or Past())
        case ("load", name):
            context.past = sessions.load(name)
            for line in context.past.lines():
                context.print(line)
        case ("delete", name):
            sessions.delete(name)
        case ("pack", *_rest):
            raise InvalidRequest(what="a session has no data of its own", remedy="`hacli report -n all`")
        case _:
            raise UsageError(
                what="session is not understood",
                usage="history session [list] | session save|load|delete NAME",
            )
    return EXIT_OK


def graph(context: Context, words: Sequence[str]) -> int:
    """`graph [NUMBER] [FILE [dot|svg|png|pdf]]`: a transition's actions, and which waits for which."""
    from cli.render.graph_dot import graph_dot

    usage = "history graph [NUMBER] [FILE [dot|svg|png|pdf]]"
    rest = list(words)
    number = int(rest.pop(0)) if rest and is_count(rest[0]) else 0
    name = rest.pop(0) if rest else "-"
    suffix = Path(name).suffix.lstrip(".")
    form = rest.pop(0) if rest else suffix if suffix in _FORMATS else "dot"
    if rest or form not in _FORMATS:
        raise UsageError(what=f"{(rest or [form])[0]!r} is not understood", usage=usage)
    reply = context.client.transition(number)
    if not reply.graph_xml:
        raise NotFound(kind="transition", name=str(number or "newest"))
    text = graph_dot(codec.parse(reply.graph_xml, source="the graph"))
    if form != "dot" and name == "-":
        raise UsageError(what=f"a {form} needs a file", usage=usage)
    data = text.encode() if form == "dot" else _drawn(text, form)
    if name == "-":
        context.print(text, end="")
    else:
        write_atomically(Path(name), data)
    return EXIT_OK


def _drawn(text: str, form: str) -> bytes:
    """By Graphviz. Raises InvalidRequest."""
    if shutil.which("dot") is None:
        raise InvalidRequest(what="`dot` is not installed here", remedy="install graphviz, or draw it as dot")
    try:
        done = subprocess.run(
            ["dot", f"-T{form}"],
            input=text.encode(),
            capture_output=True,
            timeout=DRAW_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidRequest(what=f"dot does not end within {DRAW_WITHIN_S} s") from None
    if done.returncode != 0:
        raise InvalidRequest(what=f"dot: {done.stderr.decode(errors='replace').strip()[:200]}")
    return done.stdout


def wdiff(context: Context, words: Sequence[str]) -> int:
    """`wdiff A [B]`: as `diff`, word by word: [-what went-] and {+what came+}."""
    if not 1 <= len(words) <= 2:
        raise UsageError(what="name one or two revisions", usage="history wdiff A [B]")
    before, after = history.two_texts(context, words)
    for line in word_diff(before, after):
        context.print(line)
    return EXIT_OK


def word_diff(before: str, after: str) -> Iterator[str]:
    """The lines that differ, with what went and what came marked. Pure."""
    old, new = before.splitlines(), after.splitlines()
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        yield from _words_of("\n".join(old[i1:i2]), "\n".join(new[j1:j2])).splitlines()


def _words_of(before: str, after: str) -> str:
    old, new = _WORD.findall(before), _WORD.findall(after)
    out: list[str] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "equal":
            out += old[i1:i2]
            continue
        went, came = "".join(old[i1:i2]), "".join(new[j1:j2])
        out += [f"[-{went}-]"] if went.strip() else []
        out += [f"{{+{came}+}}"] if came.strip() else [came]
    return "".join(out)
