"""stonith_admin as agents use it: the history of fencings, and to have a node fenced."""

from __future__ import annotations

import time

from agents.callback import client
from agents.callback.arguments import FLAG, VALUE, parse
from agents.callback.client import EXIT_ERROR, EXIT_OK, EXIT_TIMEOUT, EXIT_USAGE, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_OPTIONS = {
    "-H": ("history", VALUE),
    "--history": ("history", VALUE),
    "-B": ("reboot", VALUE),
    "--reboot": ("reboot", VALUE),
    "-F": ("off", VALUE),
    "--fence": ("off", VALUE),
    "-U": ("on", VALUE),
    "--unfence": ("on", VALUE),
    "--output-as": ("as", VALUE),
    "-t": ("timeout", VALUE),
    "--timeout": ("timeout", VALUE),
    "--tag": ("ignored", VALUE),
    "-V": ("ignored", FLAG),
    "--verbose": ("ignored", FLAG),
    "-q": ("ignored", FLAG),
    "--quiet": ("ignored", FLAG),
}

TIMEOUT_S = 120
POLL_S = 0.2


def stonith_admin(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`stonith_admin -H NODE|'*' | --reboot NODE | --fence NODE | --unfence NODE`; the exit code."""
    try:
        given = parse(argv, _OPTIONS)
        if "history" in given:
            node = "" if given["history"] == "*" else given["history"]
            _print(_records(environ, node), given.get("as", "text"))
            return EXIT_OK
        for action in ("reboot", "off", "on"):
            if action in given:
                timeout_s = int(given.get("timeout", str(TIMEOUT_S)).rstrip("s"))
                return _fence(given[action], action, timeout_s, environ)
        raise Refused(EXIT_USAGE, "one of -H, --reboot, --fence and --unfence is needed")
    except ValueError:
        return client.fail("stonith_admin", Refused(EXIT_USAGE, "the timeout is not a number of seconds"))
    except Refused as refused:
        return client.fail("stonith_admin", refused)


def _records(environ: Mapping[str, str], node: str) -> list[dict[str, Any]]:
    answer = client.ask({"command": "fencing-history", "node": node, "resource": ""}, environ)
    return list(answer["records"])


def _fence(node: str, action: str, timeout_s: int, environ: Mapping[str, str]) -> int:
    request = {"command": "fence", "node": node, "action": action, "resource": ""}
    identity = client.ask(request, environ)["id"]
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        for record in _records(environ, node):
            if record["id"] == identity and record["state"] == "done":
                return EXIT_OK
            if record["id"] == identity and record["state"] in ("failed", "cancelled"):
                raise Refused(EXIT_ERROR, f"{action} of {node}: {record['state']}: {record['why']}")
        time.sleep(POLL_S)
    raise Refused(EXIT_TIMEOUT, f"{action} of {node} has not ended within {timeout_s} s")


def _print(records: list[dict[str, Any]], kind: str) -> None:
    from agents.callback.monitor import quoteattr

    words = {"done": "success", "failed": "failed", "pending": "pending", "cancelled": "failed"}
    if kind != "xml":
        for one in records:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["changed_s"]))
            by = f"{one['executor']} on behalf of {one['client'] or 'the cluster'} from {one['dc']}"
            what = f"{one['action']} of {one['target']} {one['state']}"
            print(f"{what}: delegate={by}, changed='{at}' {one['why']}".rstrip())
        return
    print("<pacemaker-result>\n  <fence_history>")
    for one in records:
        values = {
            "action": one["action"],
            "target": one["target"],
            "client": one["client"],
            "origin": one["dc"],
            "delegate": one["executor"],
            "status": words[one["state"]],
            "extended-status": words[one["state"]],
        }
        print("    <fence_event " + " ".join(f"{n}={quoteattr(str(v))}" for n, v in values.items()) + "/>")
    print('  </fence_history>\n  <status code="0" message="OK"/>\n</pacemaker-result>')
