"""`hacli site ticket`: who has a ticket; granted and revoked in the running cluster, or on paper."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from cli.cluster_source import refusal
from cli.commands.changes import client_text, read
from cli.commands.cibstatus import ticket as pretend
from cli.commands.cibstatus import ticket_deed as deed_of
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.document import section
from cli.safely import check_safety
from crm.simulation.inject import apply
from hacluster.digits import is_count
from hacluster.errors import InvalidRequest, NotFound
from hacluster.v1 import crm_pb2

_USAGE: Final = "ticket show|time [TICKET] | grant|revoke|standby|activate|delete TICKET"
_INTERRUPTING: Final = ("revoke", "standby")


def ticket(context: Context, words: Sequence[str]) -> int:
    """`ticket …`."""
    match tuple(words):
        case ("show" | "list",):
            return _show(context, "")
        case ("show", name):
            return _show(context, name)
        case ("time", name):
            return _time(context, name)
        case ("grant" | "revoke" | "standby" | "activate" as what, name):
            return pretend(context, (name, what)) if context.offline else _change(context, name, what)
        case ("delete", name):
            if context.offline:
                raise InvalidRequest(what="a ticket of a file or shadow is revoked, not deleted")
            return _change(context, name, "delete")
        case _:
            raise UsageError(what="not understood", usage=_USAGE)


def geo(_context: Context, _words: Sequence[str]) -> int:
    """`cluster geo_init`, `geo_join`, `geo_init_arbitrator`: booth's, and refused. Raises InvalidRequest."""
    raise InvalidRequest(
        what="nobody asks other sites for tickets here: there is no booth, and no arbitrator",
        remedy="`hacli site ticket revoke T` at one site, then `hacli site ticket grant T` at the other",
    )


def _change(context: Context, name: str, what: str) -> int:
    """In the running cluster. What a revocation interrupts is asked about first; -F does without."""
    if what in _INTERRUPTING:
        check_safety(
            context,
            lambda cib: apply(cib, deed_of(name, what), int(time.time()))[0],
            about=(),
            matters=lambda step: step.interrupts,
            acts=False,
        )
    reply = context.client.set_ticket(name, what, client_text(context, f"hacli site ticket {what} {name}"))
    if reply.outcome != crm_pb2.WriteReply.OUTCOME_OK:
        raise refusal(reply.reason)
    context.changed_cluster = True
    if what == "grant":
        context.info(f"no other site may have ticket {name} now: nobody here asks them")
    return EXIT_OK


def _states(context: Context) -> dict[str, dict[str, str]]:
    cib = read(context)
    found = {
        one.get("ticket"): {"granted": "false", "standby": "false"}
        for one in section(cib, "constraints").all("rsc_ticket")
    }
    tickets = cib.path("status", "tickets")
    for one in tickets.all("ticket_state") if tickets is not None else ():
        found[one.id] = {"granted": "false", "standby": "false"} | dict(one.attributes)
    return found


def _show(context: Context, name: str) -> int:
    states = _states(context)
    if name and name not in states:
        raise NotFound(kind="ticket", name=name)
    chosen = {key: value for key, value in sorted(states.items()) if not name or key == name}
    if context.options.structured:
        context.emit("tickets", {"tickets": [{"id": key} | value for key, value in chosen.items()]})
        return EXIT_OK
    for key, value in chosen.items():
        state = "granted" if value["granted"] == "true" else "revoked"
        context.print(f"{key}\t{state}" + (" (standby)" if value["standby"] == "true" else ""))
    return EXIT_OK


def _time(context: Context, name: str) -> int:
    states = _states(context)
    if name not in states:
        raise NotFound(kind="ticket", name=name)
    at = states[name].get("last-granted", "")
    context.print(time.strftime("%F %T", time.localtime(int(at))) if is_count(at) else "never granted")
    return EXIT_OK
