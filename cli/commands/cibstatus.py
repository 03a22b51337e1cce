"""`hacli cib cibstatus`: pretend that something happened, in a shadow or a CIB file, and see what follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from cli.context import EXIT_OK, Context, UsageError
from cli.workspace import FileSource
from crm.cib.model import Element, element
from crm.scheduler import pipeline
from crm.simulation.execute import execute, known_names
from crm.simulation.inject import Modifications, apply, parse_spec
from hacluster.errors import InvalidRequest

TRANSITIONS_MAX: Final = 20
_NODE: Final[Mapping[str, Callable[[str], Modifications]]] = {
    "online": lambda node: Modifications(nodes_up=(node,)),
    "offline": lambda node: Modifications(nodes_down=(node,)),
    "unclean": lambda node: Modifications(nodes_fail=(node,)),
}
_TICKET: Final[Mapping[str, Callable[[str], Modifications]]] = {
    "grant": lambda ticket: Modifications(tickets_grant=(ticket,)),
    "revoke": lambda ticket: Modifications(tickets_revoke=(ticket,)),
    "standby": lambda ticket: Modifications(tickets_standby=(ticket,)),
    "activate": lambda ticket: Modifications(tickets_activate=(ticket,)),
}
_RC: Final = {
    "success": 0,
    "unknown": 1,
    "args": 2,
    "unimplemented": 3,
    "perm": 4,
    "installed": 5,
    "configured": 6,
    "not_running": 7,
    "promoted": 8,
    "failed_promoted": 9,
}


def changeable(context: Context) -> FileSource:
    """The shadow or file; the running cluster's status is not anybody's to change."""
    source = context.source()
    if not isinstance(source, FileSource):
        raise InvalidRequest(
            what="the status of the running cluster is what it is",
            remedy="`hacli cib sandbox` makes a copy to play with",
        )
    return source


def _pretend(context: Context, wanted: Modifications) -> int:
    source = changeable(context)
    cib, lines = apply(source.read().cib, wanted, int(time.time()))
    for line in lines:
        context.info(str(line))
    source.replace(cib)
    return EXIT_OK


def node(context: Context, words: Sequence[str]) -> int:
    """`node NODE online|offline|unclean`."""
    if len(words) != 2 or words[1] not in _NODE:
        raise UsageError(what="name a node and its state", usage="node NODE online|offline|unclean")
    return _pretend(context, _NODE[words[1]](words[0]))


def quorum(context: Context, words: Sequence[str]) -> int:
    """`quorum BOOL`."""
    if len(words) != 1:
        raise UsageError(what="true or false", usage="quorum true|false")
    return _pretend(context, Modifications(quorum=words[0]))


def ticket(context: Context, words: Sequence[str]) -> int:
    """`ticket TICKET grant|revoke|standby|activate`."""
    if len(words) != 2 or words[1] not in _TICKET:
        raise UsageError(
            what="name a ticket and what happens", usage="ticket TICKET grant|revoke|standby|activate"
        )
    return _pretend(context, ticket_deed(words[0], words[1]))


def ticket_deed(name: str, deed: str) -> Modifications:
    """grant, revoke, standby or activate, as the simulation has it."""
    return _TICKET[deed](name)


def operation(context: Context, words: Sequence[str]) -> int:
    """`op OPERATION[:INTERVAL_MS] RSC RESULT NODE`: an operation with that result (a number or a name)."""
    usage = f"op OPERATION[:INTERVAL_MS] RSC RESULT NODE, RESULT a number or {' '.join(_RC)}"
    if len(words) != 4:
        raise UsageError(what="not understood", usage=usage)
    task, _, interval = words[0].partition(":")
    rc = _RC.get(words[2], words[2])
    spec = parse_spec(f"{words[1]}_{task}_{interval or '0'}@{words[3]}={rc}")
    return _pretend(context, Modifications(operations=(spec,)))


def show(context: Context, words: Sequence[str]) -> int:
    """`show`: the state as it is pretended to be."""
    if words:
        raise UsageError(what="show takes no arguments", usage="show")
    from cli.commands.status import show as status

    return status(context, ())


def origin(context: Context, words: Sequence[str]) -> int:
    """`origin`: live, shadow:NAME, or the file."""
    if words:
        raise UsageError(what="origin takes no arguments", usage="origin")
    options = context.options
    context.print(f"shadow:{options.shadow}" if options.shadow else options.cib_file or "live")
    return EXIT_OK


def load(context: Context, words: Sequence[str]) -> int:
    """`load FILE|live`: take the status of another CIB."""
    if len(words) != 1:
        raise UsageError(what="name one file, or live", usage="load FILE|live")
    source = changeable(context)
    if words[0] == "live":
        from cli.commands.cib import live

        taken = live(context)
    else:
        taken = FileSource(words[0]).read().cib
    status = taken.child("status") or element("status")
    rest = (part for part in source.read().cib.children if part.tag != "status")
    source.replace(source.read().cib.with_children((*rest, status)))
    return EXIT_OK


def save(context: Context, words: Sequence[str]) -> int:
    """`save FILE`: configuration and the pretended status."""
    from cli.commands.cib import export

    if len(words) != 1 or (Path(words[0]).exists() and not context.options.force):
        raise UsageError(what="name one file that does not exist yet", usage="save FILE")
    return export(context, words)


def run(context: Context, words: Sequence[str]) -> int:
    """`run`: carry out on paper what the cluster would do, until it rests."""
    from cli.commands.cib import run as run_shadow

    return run_shadow(context, words)


def simulate(context: Context, words: Sequence[str]) -> int:
    """`simulate`: what the cluster would do next; nothing is changed."""
    from cli.commands.programs import plan

    return plan(context, words)


def until_rest(cib: Element, now_s: int) -> tuple[Element, list[str]]:
    """The CIB once every transition has been carried out, and the actions in order. Raises InvalidRequest."""
    lines: list[str] = []
    for _ in range(TRANSITIONS_MAX):
        transition = pipeline.schedule(cib, now_s, sanitized=True)
        done = execute(cib, transition.graph, now_s, known=known_names(transition.work))
        if not done.lines or done.cib == cib:
            return done.cib, lines
        lines += (line.strip() for line in done.lines)
        cib = done.cib
    raise InvalidRequest(what=f"the cluster does not come to rest within {TRANSITIONS_MAX} transitions")
