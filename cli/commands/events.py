"""`hacli history events`: commits, transitions and operations in the order of time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from cli.commands.changes import read
from cli.commands.history import entry_of
from cli.context import EXIT_OK, Context, UsageError
from cli.past import Past
from crm.cib import codec, objects
from crm.cib.model import Element, element
from hacluster.digits import is_count
from hacluster.errors import HaError

REVISIONS_MAX: Final = 100
TRANSITIONS_MAX: Final = 100
_Event = tuple[int, str, str, str]
"""When (seconds since 1970), kind, what it is about, what happened."""

_RC: Final = {"0": "ok", "7": "not running", "8": "promoted", "193": "under way"}


def events(context: Context, words: Sequence[str]) -> int:
    """`events [RSC|NODE]…`: all that are looked at, or those about one of the names."""
    past = context.past or Past()
    found = sorted(_all(context))
    if words:
        wanted = set(words)
        found = [one for one in found if wanted & set(one[2].replace("@", " ").split())]
        if not context.offline:
            found = sorted({*found, *_of_the_past(context, frozenset(wanted))})
    found = [one for one in found if past.holds(one[0]) and past.shows(" ".join(one[1:]))]
    if past.nodes:  # what is about no node in particular stays
        found = [one for one in found if "@" not in one[2] or past.is_about(one[2].split("@")[1:])]
    if context.options.structured:
        rows = [{"at_s": at, "kind": kind, "about": about, "what": what} for at, kind, about, what in found]
        context.emit("events", {"events": rows})
        return EXIT_OK
    for at, kind, about, what in found:
        when = time.strftime("%F %T", time.localtime(at))
        context.print(f"{when}  {kind:10}  {about:24}  {what}".rstrip())
    return EXIT_OK


def _all(context: Context) -> Iterator[_Event]:
    yield from _operations(read(context))
    if context.offline:
        return
    for one in context.client.revisions():
        entry = entry_of(one)
        what = f"{entry.program}: {entry.reason}" if entry.reason else entry.program
        yield one.changed_s, "commit", entry.revision, f"{what} by {entry.by}"
    try:
        transitions = context.client.transitions()
    except HaError as error:
        context.warning(f"transitions are not known: {error}")
        return
    for done in transitions:
        yield (
            done.started_s,
            "transition",
            str(done.number),
            f"{done.actions} actions, {done.outcome}: {done.cause}",
        )


def _of_the_past(context: Context, wanted: frozenset[str]) -> Iterator[_Event]:
    """What commits did to the objects, and transitions were to do: also of what has been deleted since."""
    revisions = context.client.revisions()[-REVISIONS_MAX:]
    before: Element | None = None
    for one in revisions:
        after = codec.parse(context.client.revision(one.admin_epoch, one.epoch), source="a revision")
        for changed in objects.changes(before, after) if before is not None else ():
            if wanted & set(changed.name.split()):
                verb = (
                    "added" if changed.before is None else "deleted" if changed.after is None else "changed"
                )
                entry = entry_of(one)
                yield one.changed_s, "commit", changed.name, f"{verb} in {entry.revision} by {entry.by}"
        before = after
    for done in context.client.transitions()[-TRANSITIONS_MAX:]:
        reply = context.client.transition(done.number)
        if not reply.graph_xml:
            continue
        for action in codec.parse(reply.graph_xml, source="a graph").walk():
            node, primitive = action.get("on_node"), action.child("primitive")
            resource = primitive.id if primitive is not None else ""
            if action.tag == "rsc_op" and wanted & {resource, node}:
                what = action.get("operation") or action.get("operation_key")
                yield done.started_s, "planned", f"{resource}@{node}", f"{what} in transition {done.number}"


def latest(context: Context, words: Sequence[str]) -> int:
    """`latest`: the newest transition."""
    from cli.commands.transition import show

    if words:
        raise UsageError(what="latest takes no arguments", usage="history latest")
    return show(context, ())


def _operations(cib: Element) -> Iterator[_Event]:
    for state in (cib.child("status") or element("status")).all("node_state"):
        node = state.get("uname") or state.id
        for op in (one for one in state.walk() if one.tag == "lrm_rsc_op"):
            at = op.get("last-rc-change")
            if not is_count(at):
                continue
            interval = int(op.get("interval") or 0)
            resource = op.get("operation_key").rpartition("_")[0].rpartition("_")[0]
            name = op.get("operation") + (f" every {interval} ms" if interval else "")
            rc = op.get("rc-code")
            reason = f" ({op.get('exit-reason')})" if op.get("exit-reason") else ""
            yield int(at), "operation", f"{resource}@{node}", f"{name}: {_RC.get(rc, f'rc {rc}')}{reason}"
