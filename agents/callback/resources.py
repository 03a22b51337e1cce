"""crm_resource as agents use it: where a resource runs, its XML, parameters, operations, and bans."""

from __future__ import annotations

from agents.callback import client, document
from agents.callback.arguments import FLAG, VALUE, parse
from agents.callback.client import EXIT_NO_SUCH, EXIT_OK, EXIT_USAGE, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_OPTIONS = {
    "-W": ("locate", FLAG),
    "--locate": ("locate", FLAG),
    "-q": ("xml", FLAG),
    "--query-xml": ("xml", FLAG),
    "-O": ("operations", FLAG),
    "--list-operations": ("operations", FLAG),
    "-o": ("operations", FLAG),
    "--list-all-operations": ("operations", FLAG),
    "-L": ("list", FLAG),
    "--list": ("list", FLAG),
    "-g": ("get", VALUE),
    "--get-parameter": ("get", VALUE),
    "-p": ("put", VALUE),
    "--set-parameter": ("put", VALUE),
    "-d": ("drop", VALUE),
    "--delete-parameter": ("drop", VALUE),
    "-v": ("value", VALUE),
    "--parameter-value": ("value", VALUE),
    "-z": ("utilization", FLAG),
    "--utilization": ("utilization", FLAG),
    "-m": ("meta", FLAG),
    "--meta": ("meta", FLAG),
    "-B": ("ban", FLAG),
    "--ban": ("ban", FLAG),
    "-U": ("clear", FLAG),
    "--clear": ("clear", FLAG),
    "-r": ("resource", VALUE),
    "--resource": ("resource", VALUE),
    "-N": ("node", VALUE),
    "--node": ("node", VALUE),
    "-H": ("node", VALUE),
    "-Q": ("quiet", FLAG),
    "--quiet": ("quiet", FLAG),
    "-V": ("ignored", FLAG),
    "--verbose": ("ignored", FLAG),
}

_NO_RESOURCE_NEEDED = frozenset({"operations", "list"})


def crm_resource(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The exit code. Exactly one of the commands above; most want -r RESOURCE."""
    commands: dict[str, Callable[[dict[str, str], Mapping[str, str]], None]] = {
        "locate": _locate,
        "xml": _xml,
        "operations": _operations,
        "list": _list,
        "get": _get,
        "put": _put,
        "drop": _drop,
        "ban": _ban,
        "clear": _clear,
    }
    try:
        given = parse(argv, _OPTIONS)
        asked = [name for name in commands if name in given]
        if len(asked) != 1:
            raise Refused(EXIT_USAGE, "one of -W, -q, -O, -L, -g, -p, -d, -B and -U is needed")
        if not given.get("resource") and asked[0] not in _NO_RESOURCE_NEEDED:
            raise Refused(EXIT_USAGE, "the option --resource is needed")
        commands[asked[0]](given, environ)
    except Refused as refused:
        return client.fail("crm_resource", refused)
    return EXIT_OK


def _ask(
    command: str, given: Mapping[str, str], environ: Mapping[str, str], **more: object
) -> dict[str, object]:
    request = {
        "command": command,
        "id": given.get("resource", ""),
        "resource": environ.get("OCF_RESOURCE_INSTANCE", ""),
        **more,
    }
    return client.ask(request, environ)


def _locate(given: dict[str, str], environ: Mapping[str, str]) -> None:
    locations = _ask("locate", given, environ)["locations"]
    assert isinstance(locations, list)
    resource, quiet = given["resource"], "quiet" in given
    for location in locations:
        promoted = " Promoted" if location["role"] == "Promoted" else ""
        text = f"resource {resource} is running on: {location['node']}{promoted}"
        print(location["node"] if quiet else text)
    if not locations and not quiet:
        print(f"resource {resource} is NOT running")


def _xml(given: dict[str, str], environ: Mapping[str, str]) -> None:
    print(_ask("resource-xml", given, environ)["xml"])


def _operations(given: dict[str, str], environ: Mapping[str, str]) -> None:
    """Each recorded operation on a line that ends with its status, "pending" while it runs."""
    cib = document.read(environ)
    statuses = {"-1": "pending", "0": "complete", "1": "Cancelled", "2": "Timed Out", "3": "NOT SUPPORTED"}
    for one in cib.instances:
        if given.get("node") not in (None, "", one.node.name):
            continue
        if given.get("resource") not in (None, "", one.id):
            continue
        role = "FAILED" if one.failed else one.role
        for entry in one.operations:
            key, status = entry.get("operation_key", entry.get("id", "")), entry.get("op-status", "0")
            facts = f"node={one.node.name}, call={entry.get('call-id')}, rc={entry.get('rc-code')}"
            if entry.get("exec-time"):
                facts += f", exec={entry.get('exec-time')}ms"
            print(f"{one.id}\t({one.agent}):\t {role}: {key} ({facts}): {statuses.get(status, 'Error')}")


def _list(_given: dict[str, str], environ: Mapping[str, str]) -> None:
    from agents.callback.monitor import as_text

    text = as_text(document.read(environ), inactive=True)
    print(text[text.index("Full List of Resources:") :], end="")


def _kind(given: Mapping[str, str]) -> str:
    return "utilization" if "utilization" in given else "meta" if "meta" in given else "params"


def _get(given: dict[str, str], environ: Mapping[str, str]) -> None:
    name = given["get"]
    value = _ask("parameter", given, environ, kind=_kind(given), name=name)["value"]
    if value is None:
        raise Refused(EXIT_NO_SUCH, f"Attribute '{name}' not found for '{given['resource']}'")
    print(value)


def _put(given: dict[str, str], environ: Mapping[str, str]) -> None:
    if "value" not in given:
        raise Refused(EXIT_USAGE, "the option --parameter-value is needed")
    _ask("set-parameter", given, environ, kind=_kind(given), name=given["put"], value=given["value"])


def _drop(given: dict[str, str], environ: Mapping[str, str]) -> None:
    _ask("set-parameter", given, environ, kind=_kind(given), name=given["drop"], value=None)


def _ban(given: dict[str, str], environ: Mapping[str, str]) -> None:
    node = given.get("node", "")
    if not node:
        locations = _ask("locate", given, environ)["locations"]
        assert isinstance(locations, list)
        if len(locations) != 1:
            raise Refused(EXIT_USAGE, f"{given['resource']} does not run on one node: --node is needed")
        node = locations[0]["node"]
    _ask("ban", given, environ, node=node)


def _clear(given: dict[str, str], environ: Mapping[str, str]) -> None:
    _ask("clear", given, environ, node=given.get("node", ""))
