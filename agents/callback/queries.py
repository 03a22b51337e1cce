"""cibadmin -Q, crm_error, crm_ticket and crm_simulate -L: what agents read, and no more than that."""

from __future__ import annotations

import os

from agents.callback import client, document
from agents.callback.arguments import FLAG, VALUE, parse
from agents.callback.client import EXIT_NO_SUCH, EXIT_OK, EXIT_UNIMPLEMENTED, EXIT_USAGE, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CIBADMIN = {
    "-Q": ("query", FLAG),
    "--query": ("query", FLAG),
    "-A": ("xpath", VALUE),
    "--xpath": ("xpath", VALUE),
    "-o": ("scope", VALUE),
    "--scope": ("scope", VALUE),
    "-l": ("ignored", FLAG),
    "--local": ("ignored", FLAG),
    "-V": ("ignored", FLAG),
    "--verbose": ("ignored", FLAG),
}

_SCOPES = {
    **dict.fromkeys(("configuration", "status"), "/cib/"),
    **dict.fromkeys(("crm_config", "nodes", "resources", "constraints", "tags", "acls", "alerts"), "//"),
    **dict.fromkeys(("fencing-topology", "op_defaults", "rsc_defaults"), "//"),
}

_CRM_ERROR = {"-X": ("exit", FLAG), "--exit": ("exit", FLAG), "-n": ("name", FLAG), "--name": ("name", FLAG)}

_CRM_TICKET = {
    "-L": ("list", FLAG),
    "--info": ("list", FLAG),
    "-q": ("xml", FLAG),
    "--query-xml": ("xml", FLAG),
    "-t": ("ticket", VALUE),
    "--ticket": ("ticket", VALUE),
    "-l": ("list", FLAG),
    "--details": ("list", FLAG),
    "-G": ("attribute", VALUE),
    "--get-attr": ("attribute", VALUE),
    "-d": ("default", VALUE),
    "--default": ("default", VALUE),
    "-V": ("ignored", FLAG),
    "--quiet": ("ignored", FLAG),
}

_CRM_SIMULATE = {
    "-L": ("live", FLAG),
    "--live-check": ("live", FLAG),
    "-s": ("ignored", FLAG),
    "--show-scores": ("ignored", FLAG),
    "-V": ("ignored", FLAG),
}

# Pacemaker's crm_exit codes that its tools, and so ours, end with.
_EXITS = {
    0: ("CRM_EX_OK", "OK"),
    1: ("CRM_EX_ERROR", "Error occurred"),
    2: ("CRM_EX_INVALID_PARAM", "Invalid parameter"),
    3: ("CRM_EX_UNIMPLEMENT_FEATURE", "Unimplemented"),
    4: ("CRM_EX_INSUFFICIENT_PRIV", "Insufficient privileges"),
    5: ("CRM_EX_NOT_INSTALLED", "Not installed"),
    6: ("CRM_EX_NOT_CONFIGURED", "Not configured"),
    7: ("CRM_EX_NOT_RUNNING", "Not running"),
    64: ("CRM_EX_USAGE", "Incorrect usage"),
    65: ("CRM_EX_DATAERR", "Invalid data given"),
    66: ("CRM_EX_NOINPUT", "Input file not available"),
    69: ("CRM_EX_UNAVAILABLE", "Service unavailable"),
    70: ("CRM_EX_SOFTWARE", "Internal software bug"),
    74: ("CRM_EX_IOERR", "I/O error occurred"),
    77: ("CRM_EX_NOPERM", "Insufficient privileges"),
    78: ("CRM_EX_CONFIG", "Invalid configuration"),
    100: ("CRM_EX_FATAL", "Fatal error occurred, will not respawn"),
    102: ("CRM_EX_DISCONNECT", "Not connected"),
    105: ("CRM_EX_NOSUCH", "No such object"),
    107: ("CRM_EX_MULTIPLE", "Multiple items match request"),
    108: ("CRM_EX_EXISTS", "Requested item already exists"),
    109: ("CRM_EX_UNSAFE", "Request would be unsafe"),
    124: ("CRM_EX_TIMEOUT", "Timeout occurred"),
}


def cibadmin(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`cibadmin -Q [--xpath XPATH | --scope SECTION]`; the exit code."""
    try:
        given = parse(argv, _CIBADMIN)
        if "query" not in given:
            raise Refused(EXIT_UNIMPLEMENTED, "agents can query; changes are made by hacli configure")
        xpath = given.get("xpath", "")
        if given.get("scope"):
            where = _SCOPES.get(given["scope"])
            if where is None:
                raise Refused(EXIT_USAGE, f"the CIB has no section {given['scope']!r}")
            xpath = f"{where}{given['scope']}"
        path = environ.get("CIB_file", "")
        if path and not xpath:
            with open(path, encoding="utf-8") as file:
                print(file.read().rstrip())
            return EXIT_OK
        if path:
            raise Refused(EXIT_UNIMPLEMENTED, "CIB_file is read whole here, without an XPath")
        print(document.query(environ, xpath).rstrip())
    except OSError as error:
        return client.fail("cibadmin", Refused(client.EXIT_NO_INPUT, str(error)))
    except Refused as refused:
        return client.fail("cibadmin", refused)
    return EXIT_OK


def crm_error(argv: Sequence[str], _environ: Mapping[str, str]) -> int:
    """`crm_error [-X] [-n] NUMBER…`: texts of exit codes (-X) or of the system's errors."""
    numbers = [word for word in argv if word.removeprefix("-").isdecimal()]
    try:
        given = parse([word for word in argv if word not in numbers], _CRM_ERROR)
        if not numbers:
            raise Refused(EXIT_USAGE, "a number is needed")
        for word in numbers:
            number = abs(int(word))
            name, text = _EXITS.get(number, ("CRM_EX_UNKNOWN", "Unknown exit status"))
            if "exit" not in given:
                import errno

                name, text = errno.errorcode.get(number, "Unknown"), os.strerror(number)
            print(f"{name} - {text}" if "name" in given else text)
    except Refused as refused:
        return client.fail("crm_error", refused)
    return EXIT_OK


def crm_ticket(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`crm_ticket -L | -q | -G ATTRIBUTE [-t TICKET]`: what the status section says; nothing is granted."""
    try:
        given = parse(argv, _CRM_TICKET)
        states = {
            item.get("id", ""): dict(item.attrib)
            for item in document.read(environ).root.iterfind("status/tickets/ticket_state")
        }
        wanted = given.get("ticket", "")
        if wanted and wanted not in states and "default" not in given:
            raise Refused(EXIT_NO_SUCH, f"ticket {wanted} is not known here")
        if "attribute" in given:
            value = states.get(wanted, {}).get(given["attribute"], given.get("default"))
            if value is None:
                raise Refused(EXIT_NO_SUCH, f"ticket {wanted} has no attribute {given['attribute']}")
            print(value)
        elif given.keys() & {"list", "xml"}:
            for name in [wanted] if wanted else sorted(states):
                granted = states[name].get("granted", "false").lower() in document.TRUE
                print(f"{name}\t{'granted' if granted else 'revoked'}")
        else:
            raise Refused(EXIT_USAGE, "one of -L, -q and -G is needed: tickets cannot be granted here")
    except Refused as refused:
        return client.fail("crm_ticket", refused)
    return EXIT_OK


def crm_simulate(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`crm_simulate -L [-s]`: the state, and what the DC is still about to do; no scores (hacli has them)."""
    from agents.callback.monitor import as_text

    try:
        given = parse(argv, _CRM_SIMULATE)
        if "live" not in given:
            raise Refused(EXIT_UNIMPLEMENTED, "only -L is known here: use hacli simulate")
        print(as_text(document.read(environ), inactive=True))
        print("Transition Summary:")
        for action in client.ask({"command": "transition", "resource": ""}, environ)["actions"]:
            print(f"  * {action}")
    except Refused as refused:
        return client.fail("crm_simulate", refused)
    return EXIT_OK
