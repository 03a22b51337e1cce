"""`hacli site ticket`: tickets in the status of a CIB."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from cli.commands.changes import read
from cli.commands.cibstatus import ticket as pretend
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.document import section
from hacluster.digits import is_count
from hacluster.errors import InvalidRequest, NotFound

_USAGE: Final = "ticket show|time [TICKET] | grant|revoke|standby|activate TICKET"


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
            if not context.offline:
                raise InvalidRequest(
                    what="a running cluster has nobody yet that keeps its tickets",
                    remedy="in a shadow (`hacli cib sandbox`) one can see what would follow",
                )
            return pretend(context, (name, what))
        case _:
            raise UsageError(what="not understood", usage=_USAGE)


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
