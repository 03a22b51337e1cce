"""`hacli transition`: stored transitions, to look at and to feed to the simulation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.context import EXIT_OK, Context, UsageError
from cli.workspace import write_atomically
from crm.cib import codec
from hacluster.digits import is_count
from hacluster.errors import NotFound

if TYPE_CHECKING:
    from hacluster.v1 import crm_pb2


def _line(one: crm_pb2.TransitionSummary) -> str:
    when = time.strftime("%F %T", time.localtime(one.started_s))
    term = f"{one.term.counter}.{one.term.node_id}"
    head = f"{one.number:6}  {when}  term {term:6} {one.actions:4} actions"
    return f"{head}  {one.outcome:10} {one.cause}".rstrip()


def list_all(context: Context, words: Sequence[str]) -> int:
    """`list`."""
    if words:
        raise UsageError(what="list takes no arguments", usage="transition list")
    past = context.past
    found = [one for one in context.client.transitions() if past is None or past.holds(one.started_s)]
    if context.options.structured:
        rows = [
            {
                "number": one.number,
                "started_s": one.started_s,
                "term": f"{one.term.counter}.{one.term.node_id}",
                "cause": one.cause,
                "actions": one.actions,
                "outcome": one.outcome,
            }
            for one in found
        ]
        context.emit("transitions", {"transitions": rows})
        return EXIT_OK
    for one in sorted(found, key=lambda one: (one.started_s, one.term.counter, one.number)):
        context.print(_line(one))
    return EXIT_OK


def _number(word: str, usage: str) -> int:
    if not is_count(word):
        raise UsageError(what=f"{word!r} is not a number", usage=usage)
    return int(word)


def show(context: Context, words: Sequence[str]) -> int:
    """`show [NUMBER]`: the summary, and its actions in the order of the graph."""
    usage = "transition show [NUMBER]"
    if len(words) > 1:
        raise UsageError(what="name one transition", usage=usage)
    reply = context.client.transition(_number(words[0], usage) if words else 0)
    if not reply.graph_xml:
        raise NotFound(kind="transition", name=words[0] if words else "newest")
    context.print(_line(reply.summary))
    graph = codec.parse(reply.graph_xml, source="the graph")
    for one in (
        one for synapse in graph.all("synapse") for part in synapse.all("action_set") for one in part.children
    ):
        where = f" on {one.get('on_node')}" if one.get("on_node") else ""
        context.print(f"    {one.get('id'):>4}  {one.get('operation_key')}{where}")
    return EXIT_OK


def save(context: Context, words: Sequence[str]) -> int:
    """`save [graph] NUMBER FILE|-`: the CIB it was computed from, or its graph."""
    usage = "transition save [graph] NUMBER FILE|-"
    graph = bool(words) and words[0] == "graph"
    rest = words[1:] if graph else words
    if len(rest) != 2:
        raise UsageError(what="a number and a file are needed", usage=usage)
    reply = context.client.transition(_number(rest[0], usage))
    data = reply.graph_xml if graph else reply.input_xml
    if not data:
        raise NotFound(kind="transition", name=rest[0])
    if rest[1] == "-":
        context.print(data.decode(), end="")
    else:
        write_atomically(Path(rest[1]), data)
    return EXIT_OK
