"""crm_attribute, crm_master and attrd_updater: read and write attributes of nodes and of the cluster."""

from __future__ import annotations

from agents.callback import client
from agents.callback.arguments import FLAG, OPTIONAL, VALUE, parse
from agents.callback.client import EXIT_NO_SUCH, EXIT_OK, EXIT_USAGE, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CRM_ATTRIBUTE = {
    "-n": ("name", VALUE),
    "--name": ("name", VALUE),
    "--attr-name": ("name", VALUE),
    "-a": ("name", VALUE),
    "-v": ("value", VALUE),
    "--update": ("value", VALUE),
    "--attr-value": ("value", VALUE),
    "-G": ("query", FLAG),
    "--query": ("query", FLAG),
    "--get-value": ("query", FLAG),
    "-D": ("delete", FLAG),
    "--delete": ("delete", FLAG),
    "--delete-attr": ("delete", FLAG),
    "-q": ("quiet", FLAG),
    "-Q": ("quiet", FLAG),
    "--quiet": ("quiet", FLAG),
    "-N": ("node", VALUE),
    "-U": ("node", VALUE),
    "--node": ("node", VALUE),
    "--uname": ("node", VALUE),
    "--node-uname": ("node", VALUE),
    "-l": ("lifetime", VALUE),
    "--lifetime": ("lifetime", VALUE),
    "-t": ("type", VALUE),
    "--type": ("type", VALUE),
    "-s": ("set", VALUE),
    "--set-name": ("set", VALUE),
    "-i": ("id", VALUE),
    "--id": ("id", VALUE),
    "-d": ("default", VALUE),
    "--default": ("default", VALUE),
    "-p": ("promotion", OPTIONAL),
    "--promotion": ("promotion", OPTIONAL),
    "-r": ("promotion", OPTIONAL),
    "-z": ("utilization", FLAG),
    "--utilization": ("utilization", FLAG),
    "-!": ("ignored", FLAG),
    "-V": ("ignored", FLAG),
    "--verbose": ("ignored", FLAG),
}

_ATTRD_UPDATER = {
    "-n": ("name", VALUE),
    "--name": ("name", VALUE),
    "-v": ("value", VALUE),
    "-U": ("value", VALUE),
    "-B": ("value", VALUE),
    "--update": ("value", VALUE),
    "--update-both": ("value", VALUE),
    "-Q": ("query", FLAG),
    "--query": ("query", FLAG),
    "-D": ("delete", FLAG),
    "--delete": ("delete", FLAG),
    "-A": ("all", FLAG),
    "--all": ("all", FLAG),
    "-q": ("quiet", FLAG),
    "--quiet": ("quiet", FLAG),
    "-N": ("node", VALUE),
    "--node": ("node", VALUE),
    "-d": ("dampen", VALUE),
    "--delay": ("dampen", VALUE),
    "-Y": ("delay-only", FLAG),
    "--update-delay": ("delay-only", FLAG),
    "-S": ("ignored", VALUE),
    "-l": ("ignored", VALUE),
    "--lifetime": ("ignored", VALUE),
    "-s": ("ignored", VALUE),
    "--set": ("ignored", VALUE),
    "-p": ("private", FLAG),
    "--private": ("private", FLAG),
    "-R": ("ignored", FLAG),
    "-V": ("ignored", FLAG),
    "--verbose": ("ignored", FLAG),
}

_CRM_MASTER = {
    **{
        name: option
        for name, option in _CRM_ATTRIBUTE.items()
        if option[0] in {"value", "node", "lifetime", "quiet"}
    },
    "-G": ("query", FLAG),
    "-Q": ("query", FLAG),
    "--query": ("query", FLAG),
    "--get-value": ("query", FLAG),
    "-D": ("delete", FLAG),
    "--delete": ("delete", FLAG),
    "--delete-attr": ("delete", FLAG),
    "-r": ("promotion", VALUE),
    "--resource": ("promotion", VALUE),
    "-i": ("id", VALUE),
    "-!": ("ignored", FLAG),
    "-V": ("ignored", FLAG),
}

_TRANSIENT = frozenset({"reboot", "status"})


def crm_attribute(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`crm_attribute` as agents use it; the exit code."""
    try:
        given = parse(argv, _CRM_ATTRIBUTE)
        if "promotion" in given:
            return _act("crm_attribute", _promotion(given, environ, lifetime="reboot"), given, environ)
        return _act("crm_attribute", _attribute(given, environ), given, environ)
    except Refused as refused:
        return client.fail("crm_attribute", refused)


def crm_master(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`crm_master`: the promotion score of the calling agent's resource; permanent without `-l reboot`."""
    try:
        given = parse(argv, _CRM_MASTER)
        return _act("crm_master", _promotion(given, environ, lifetime="forever"), given, environ)
    except Refused as refused:
        return client.fail("crm_master", refused)


def attrd_updater(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`attrd_updater`: transient attributes; prints name, host and value when queried."""
    try:
        given = parse(argv, _ATTRD_UPDATER)
        if not given.get("name"):
            raise Refused(EXIT_USAGE, "the option --name is needed")
        request = _request("status", given["name"], given, environ)
        if "query" in given:
            return _attrd_query(request, given, environ)
        if "delete" in given:
            request["command"] = "delete"
        elif "value" in given:
            request |= {"command": "update", "value": given["value"], "dampen_ms": _dampen_ms(given)}
        elif "delay-only" in given:
            raise Refused(EXIT_USAGE, "a delay is given together with a value (--update VALUE --delay TIME)")
        else:
            raise Refused(EXIT_USAGE, "one of --update, --delete and --query is needed")
        _ask_changing(request, environ)
    except Refused as refused:
        return client.fail("attrd_updater", refused)
    return EXIT_OK


def _attribute(given: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, object]:
    """The request for a plain attribute: a cluster option, or one of a node by lifetime."""
    name = given.get("name", "")
    if not name:
        raise Refused(EXIT_USAGE, "the option --name is needed")
    kind, lifetime = given.get("type", ""), given.get("lifetime", "")
    if "utilization" in given:
        if kind not in ("", "nodes") or lifetime not in ("", "forever"):
            raise Refused(EXIT_USAGE, "utilization is a permanent attribute of nodes (--type nodes)")
        return _request("utilization", name, given, environ)
    if kind == "crm_config" or (not kind and not lifetime and "node" not in given):
        section = "crm_config"
    elif kind == "status" or lifetime in _TRANSIENT:
        section = "status"
    elif kind in ("", "nodes") and lifetime in ("", "forever"):
        section = "nodes"
    else:
        raise Refused(EXIT_USAGE, f"there are no attributes of type {kind!r} and lifetime {lifetime!r}")
    return _request(section, name, given, environ)


def _promotion(given: Mapping[str, str], environ: Mapping[str, str], *, lifetime: str) -> dict[str, object]:
    resource = given.get("promotion") or environ.get("OCF_RESOURCE_INSTANCE", "")
    if not resource:
        raise Refused(EXIT_USAGE, "no resource: call it from an agent (OCF_RESOURCE_INSTANCE) or name one")
    section = "status" if given.get("lifetime", lifetime) in _TRANSIENT else "nodes"
    return _request(section, client.promotion_attribute(resource), given, environ)


def _request(
    section: str, name: str, given: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, object]:
    node = given.get("node", "")
    return {
        "command": "query",
        "section": section,
        "node": "" if node in ("localhost", "auto") else node,
        "set": given.get("set", ""),
        "name": name,
        "resource": environ.get("OCF_RESOURCE_INSTANCE", ""),
    }


def _act(
    command: str, request: dict[str, object], given: Mapping[str, str], environ: Mapping[str, str]
) -> int:
    """Delete, update or (also when nothing was asked for) query."""
    if "delete" in given:
        request["command"] = "delete"
        _ask_changing(request, environ)
        return EXIT_OK
    if "value" in given:
        _ask_changing({**request, "command": "update", "value": given["value"], "dampen_ms": None}, environ)
        return EXIT_OK
    value = client.ask(request, environ)["value"]
    if value is None:
        value = given.get("default")
    if value is None:
        raise Refused(EXIT_NO_SUCH, f"{request['name']} is not set: No such device or address")
    if "quiet" in given or command == "crm_master":
        print(value)
    else:
        section = "nodes" if request["section"] == "utilization" else request["section"]
        print(f"scope={section}  name={request['name']} value={value}")
    return EXIT_OK


def _ask_changing(request: Mapping[str, object], environ: Mapping[str, str]) -> None:
    """Deleting what is not there succeeds."""
    try:
        client.ask(request, environ)
    except Refused as refused:
        if refused.exit_code != EXIT_NO_SUCH or request["command"] != "delete":
            raise


def _attrd_query(request: dict[str, object], given: Mapping[str, str], environ: Mapping[str, str]) -> int:
    name = request["name"]
    if "all" in given:
        values = client.ask({**request, "command": "query-all"}, environ)["values"]
    else:
        answer = client.ask(request, environ)
        values = {} if answer["value"] is None else {answer["node"]: answer["value"]}
    if not values:
        raise Refused(EXIT_NO_SUCH, f"{name} is not set: No such device or address")
    for node, value in sorted(values.items()):
        print(value if "quiet" in given else f'name="{name}" host="{node}" value="{value}"')
    return EXIT_OK


def _dampen_ms(given: Mapping[str, str]) -> int | None:
    text = given.get("dampen", "")
    if not text:
        return None
    digits = text.rstrip("smin ")
    unit_ms = {"ms": 1, "s": 1_000, "": 1_000, "m": 60_000, "min": 60_000}.get(text[len(digits) :].strip())
    if unit_ms is None or not digits.isdecimal():
        raise Refused(EXIT_USAGE, f"{text!r} is not a delay")
    return int(digits) * unit_ms
