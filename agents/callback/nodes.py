"""crm_failcount and crm_standby: attributes that have a command of their own."""

from __future__ import annotations

from agents.callback import client, document
from agents.callback.arguments import FLAG, VALUE, parse
from agents.callback.client import EXIT_NO_SUCH, EXIT_OK, EXIT_USAGE, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_COMMON = {
    "-G": ("query", FLAG),
    "--query": ("query", FLAG),
    "-D": ("delete", FLAG),
    "--delete": ("delete", FLAG),
    "-N": ("node", VALUE),
    "-U": ("node", VALUE),
    "--node": ("node", VALUE),
    "-v": ("value", VALUE),
    "--update": ("value", VALUE),
    "-q": ("quiet", FLAG),
    "-Q": ("quiet", FLAG),
    "--quiet": ("quiet", FLAG),
    "-V": ("ignored", FLAG),
    "--verbose": ("ignored", FLAG),
}

_FAILCOUNT = {
    **_COMMON,
    "-r": ("resource", VALUE),
    "--resource": ("resource", VALUE),
    "-n": ("operation", VALUE),
    "--operation": ("operation", VALUE),
    "-I": ("interval", VALUE),
    "--interval": ("interval", VALUE),
}

_STANDBY = {**_COMMON, "-l": ("lifetime", VALUE), "--lifetime": ("lifetime", VALUE)}

INFINITY = 1_000_000


def crm_failcount(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`crm_failcount -G | -D -r RESOURCE [-n OPERATION [-I INTERVAL]] [-N NODE]`; the exit code."""
    try:
        given = parse(argv, _FAILCOUNT)
        resource = given.get("resource") or environ.get("OCF_RESOURCE_INSTANCE", "")
        if not resource:
            raise Refused(EXIT_USAGE, "the option --resource is needed")
        if given.get("value", "0") != "0":
            raise Refused(EXIT_USAGE, "a fail count can be deleted, not set")
        node = _node(given, environ)
        counts = _counts(document.read(environ), node, resource, given)
        if "delete" in given or "value" in given:
            for name in counts:
                _delete(name, node, environ)
            return EXIT_OK
        total = _total(counts.values())
        prefix = f"scope=status  name=fail-count-{resource} value="
        print(total if "quiet" in given else f"{prefix}{total}")
    except Refused as refused:
        return client.fail("crm_failcount", refused)
    return EXIT_OK


def crm_standby(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`crm_standby -G | -D | -v on|off [-l forever|reboot] [-N NODE]`; the exit code."""
    try:
        given = parse(argv, _STANDBY)
        section = "status" if given.get("lifetime") in ("reboot", "status") else "nodes"
        request: dict[str, object] = {
            "section": section,
            "node": _node(given, environ),
            "name": "standby",
            "set": "",
            "resource": "",
        }
        if "delete" in given:
            _delete("standby", str(request["node"]), environ, section)
        elif "value" in given:
            client.ask({**request, "command": "update", "value": given["value"], "dampen_ms": None}, environ)
        else:
            value = client.ask({**request, "command": "query"}, environ)["value"] or "off"
            print(value if "quiet" in given else f"scope={section}  name=standby value={value}")
    except Refused as refused:
        return client.fail("crm_standby", refused)
    return EXIT_OK


def _node(given: Mapping[str, str], environ: Mapping[str, str]) -> str:
    name = given.get("node", "")
    if name and name not in ("localhost", "auto"):
        return name
    return environ.get("HACLUSTER_NODE") or str(client.ask({"command": "nodes"}, environ)["local"])


def _counts(cib: document.Document, node: str, resource: str, given: Mapping[str, str]) -> dict[str, str]:
    """The fail counts of a resource on a node by their attributes' names (fail-count-R#OPERATION_MS)."""
    found = next((one for one in cib.nodes if one.name == node), None)
    if found is None:
        raise Refused(EXIT_NO_SUCH, f"there is no node {node}")
    wanted = f"fail-count-{resource}#"
    operation = given.get("operation", "")
    if operation:
        interval_ms = _milliseconds(given.get("interval", "0"))
        wanted += f"{operation}_{interval_ms}"
    return {
        name: value
        for name, value in found.transient.items()
        if (name == wanted if operation else name.startswith(wanted))
    }


def _milliseconds(text: str) -> int:
    digits = text.rstrip("msinec")
    unit = text[len(digits) :]
    scale = {"": 1_000, "s": 1_000, "sec": 1_000, "ms": 1, "m": 60_000, "min": 60_000}.get(unit)
    if scale is None or not digits.isdecimal():
        raise Refused(EXIT_USAGE, f"{text!r} is not an interval")
    return int(digits) * scale


def _total(values: Iterable[str]) -> str:
    total = 0
    for value in values:
        if value.upper() in ("INFINITY", "+INFINITY"):
            return "INFINITY"
        total += int(value) if value.isdecimal() else 0
    return "INFINITY" if total >= INFINITY else str(total)


def _delete(name: str, node: str, environ: Mapping[str, str], section: str = "status") -> None:
    request = {"command": "delete", "section": section, "node": node, "name": name, "set": "", "resource": ""}
    try:
        client.ask(request, environ)
    except Refused as refused:
        if refused.exit_code != EXIT_NO_SUCH:
            raise
