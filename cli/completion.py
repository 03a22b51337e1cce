"""What can stand next on a command line, from the same tree of commands and from the CIB."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli.context import EXIT_OK, OUTPUTS, Context, UsageError
from cli.grammar.cluster_options import DEFAULTS
from cli.grammar.document import object_id, objects, section
from cli.help import OPTIONS, TOPICS, pages
from cli.levels import PROGRAMS, ROOT, Command, Level
from cli.options import DISPLAYS, READS, take_options
from crm.cib.model import Element
from hacluster.digits import is_count
from hacluster.durations import render_ms
from hacluster.errors import HaError

TYPE_CHECKING = False  # as typing's, which costs time
if TYPE_CHECKING:
    from agents.metadata import AgentMetadata

META: Final = (
    *(
        "allow-migrate",
        "allow-unhealthy-nodes",
        "clone-max",
        "clone-min",
        "clone-node-max",
        "container-attribute-target",
    ),
    *("critical", "failure-timeout", "globally-unique", "interleave", "is-managed", "maintenance"),
    *(
        "migration-threshold",
        "multiple-active",
        "notify",
        "ordered",
        "priority",
        "promotable",
        "promoted-max",
    ),
    *("promoted-node-max", "remote-addr", "remote-node", "remote-port", "requires", "resource-stickiness"),
    "target-role",
)
_OPERATION_NAMES: Final = (
    "monitor",
    "start",
    "stop",
    "promote",
    "demote",
    "migrate_to",
    "migrate_from",
    "reload",
)
_OPERATION_ATTRIBUTES: Final = (
    "interval=",
    "timeout=",
    "role=",
    "on-fail=",
    "enabled=",
    "start-delay=",
    "op_params",
)
_OPTIONS: Final = {
    "property": tuple(f"{name}=" for name in DEFAULTS),
    "rsc_defaults": tuple(f"{name}=" for name in META),
    "op_defaults": _OPERATION_ATTRIBUTES,
}
_RESOURCES: Final = ("primitive", "group", "clone", "master", "bundle")
_KINDS: Final = {"resource": _RESOURCES, "node": ("node",), "group": ("group",)}
_OPTION: Final = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
# Options whose value is the name of a file or a folder.
_FILES_AFTER: Final = frozenset(
    {
        "-f",
        "--file",
        "--cib-file",
        "--root",
        "--tls",
        "-x",
        "--xml-file",
        "--output-dir",
        "-O",
        "-D",
        "-G",
        "-I",
    }
)
_VALUES_AFTER: Final = {"--output": OUTPUTS, "--display": DISPLAYS, "-D": DISPLAYS, "--read": READS}
_FIXED: Final = {
    "method": ("update", "replace", "push", "xml"),
    "setshow": ("set", "delete", "show"),
    "onoff": ("on", "off"),
    "generate": ("generate",),
    "crash": ("kill", "fence"),
    "corosync-status": ("ring", "quorum", "qdevice", "qnetd", "cpg"),
    "corosync-link": ("show", "add", "update", "remove"),
    "class": ("lsb", "ocf", "service", "stonith", "systemd"),
    "property": tuple(DEFAULTS),
    "boolean": ("true", "false"),
    "picture": ("dot", "svg", "png"),
    "action": ("start", "stop", "promote", "demote", "reload", "monitor", "validate-all", "meta-data"),
    "secret": ("set", "stash", "unstash", "delete", "show", "check", "push"),
    "status": (
        *("bynode", "brief", "detail", "ops", "timing", "failcounts", "verbose", "quiet", "noheaders"),
        *("inactive", "tickets", "html", "simple", "xml", "--links", "--watch", "--json"),
    ),
}


def candidates(level: Level, words: Sequence[str], cib: Element | None) -> list[str]:
    """Words that may stand in place of the last of `words` (empty: a new word), sorted."""
    *before, last = words or ("",)
    place = level
    if level is ROOT and before and before[0] in PROGRAMS:
        return sorted({one for one in _of_a_program(before, last) if one.startswith(last)})
    if before and before[0] == "help":
        return sorted({one for one in _helped(level, before[1:]) if one.startswith(last)})
    for index, word in enumerate(before):
        below = place.level(word)
        if below is not None:
            place = below
            continue
        command = place.command(word)
        found = [] if command is None else _arguments(command, before[index:], last, cib)
        if command is not None and last.startswith("-"):
            found = [*found, *_OPTION.findall(command.usage)]
        if before[-1] in _FILES_AFTER:
            found = _files(last)
        return sorted({one for one in found if one.startswith(last)})
    names = [*place.names(), "help"]
    if place is ROOT:
        names += PROGRAMS
    if level is not ROOT and place is level:
        names += ["up", "quit", *(one.name for one in ROOT.levels)]
    return sorted({one for one in names if one.startswith(last)})


def _helped(level: Level, before: Sequence[str]) -> list[str]:
    """What there is help on: levels, commands, and topics."""
    place = level
    for word in before:
        below = place.level(word)
        if below is None:
            return []
        place = below
    return [*place.names(), *([*PROGRAMS, TOPICS, *pages(TOPICS)] if place is ROOT else ())]


def _of_a_program(before: Sequence[str], last: str) -> list[str]:
    """After `simulate`, `why` and the like: options of their own, and files."""
    if before[-1] in _FILES_AFTER:
        return _files(last)
    if not last.startswith("-"):
        return []
    match before[0]:
        case "simulate":
            from cli.commands.simulate_options import build_parser

            return [
                name
                for action in build_parser()._actions
                for name in action.option_strings
                if name.startswith("--")
            ]
        case "why":
            from cli.commands.why import USAGE

            return _OPTION.findall(USAGE)
        case _:
            return ["--help"]


def _arguments(command: Command, given: Sequence[str], last: str, cib: Element | None) -> list[str]:
    if command.handler.endswith(":define"):
        return _definition(command.name, given, cib)
    places = command.arguments
    if not places:
        return []
    index = min(len(given) - 1, len(places) - 1)
    kind = places[index - 1] if places[index] == "…" and index else places[index]
    if kind in ("file", "directory"):
        return _files(last)
    if kind == "shadow":
        from cli.shadows import Shadows

        return [*Shadows.of_this_user().names()]
    if kind == "wizard":
        from cli.wizards import WIZARDS

        return [*WIZARDS]
    if kind == "ticket":
        deeds = ("show", "time", "grant", "revoke", "standby", "activate", "delete")
        return [*deeds] if len(given) == 1 else _tickets(cib)
    return [*_FIXED.get(kind, ()), *_objects(cib, kind)]


def _tickets(cib: Element | None) -> list[str]:
    if cib is None:
        return []
    constraints = (one.get("ticket") for one in section(cib, "constraints").all("rsc_ticket"))
    known = cib.path("status", "tickets")
    return (
        [*constraints, *(one.id for one in known.all("ticket_state"))]
        if known is not None
        else [*constraints]
    )


def _objects(cib: Element | None, kind: str) -> list[str]:
    if cib is None or kind not in (*_KINDS, "object"):
        return []
    tags = _KINDS.get(kind)
    return [object_id(one) for one in objects(cib) if tags is None or one.tag in tags]


def _files(last: str) -> list[str]:
    path = Path(last or ".")
    folder = path if last.endswith("/") or not last else path.parent
    prefix = last[: last.rfind("/") + 1]
    try:
        return [prefix + one.name + ("/" if one.is_dir() else "") for one in folder.iterdir()]
    except OSError:
        return []


def _definition(keyword: str, given: Sequence[str], cib: Element | None) -> list[str]:
    """Inside a definition: `given` begins with the keyword."""
    section = next((word for word in reversed(given) if word in _SECTIONS), "")
    if keyword in _OPTIONS:
        return _options(keyword, given[1:], cib)
    match keyword:
        case "group" | "clone" | "ms" if not section:
            return [*_objects(cib, "resource"), "meta", "params"]
        case "location" | "colocation" | "order" | "rsc_ticket" | "tag":
            return _constraint(keyword, given, cib)
        case _:
            pass
    if keyword in ("primitive", "rsc_template") and len(given) == 2:
        return _agent_types()
    if section == "params" and len(given) > 2:
        return [*_parameters(given[2]), *_SECTIONS]
    if section == "meta":
        return [*(f"{name}=" for name in META), *_SECTIONS]
    if section == "op":
        if given[-1] == "op":
            return [*_OPERATION_NAMES]
        begun = len(given) - 1 - given[::-1].index("op")
        return [*_OPERATION_ATTRIBUTES, *_advised(given[2], given[begun + 1]), *_SECTIONS]
    return [*_SECTIONS] if len(given) > 2 else []


def _options(keyword: str, given: Sequence[str], cib: Element | None) -> list[str]:
    """Options to set; after `remove`, those that are set."""
    rest = given[1:] if given and given[0].endswith(":") else given
    if tuple(rest[:1]) == ("remove",):
        from cli.grammar.removing import options_of

        set_id = given[0][:-1] if rest is not given else ""
        return [*options_of(cib, keyword, set_id)] if cib is not None else []
    return [*_OPTIONS[keyword], *(() if rest else ("remove",))]


def _agent_types() -> list[str]:
    from agents.catalog import Catalog

    catalog = Catalog.of_this_node()
    return [str(one) for standard in ("ocf", "stonith") for one in catalog.list(standard)]


def _parameters(agent: str) -> list[str]:
    """`NAME=` of an agent's parameters; none when it cannot be asked."""
    return [f"{one.name}=" for one in found.parameters] if (found := _metadata(agent)) is not None else []


def _advised(agent: str, operation: str) -> list[str]:
    """`timeout=20s` and the like, as the agent's meta-data advises for an operation."""
    found = _metadata(agent)
    wanted = [one for one in found.actions if one.name == operation] if found is not None else []
    times = {
        (name, ms)
        for one in wanted
        for name, ms in (("timeout", one.timeout_ms), ("interval", one.interval_ms))
    }
    return [f"{name}={render_ms(ms)}" for name, ms in sorted(times, key=str) if ms]


def explained(words: Sequence[str]) -> dict[str, str]:
    """What parameters are for, by `NAME=`, where `words` are within the parameters of a primitive."""
    known = next((at for at, word in enumerate(words) if word in ("primitive", "rsc_template")), None)
    if known is None or len(words) <= known + 2:
        return {}
    place = next((word for word in reversed(words[:-1]) if word in _SECTIONS), "")
    found = _metadata(words[known + 2]) if place == "params" else None
    if found is None:
        return {}
    return {
        f"{one.name}=": one.shortdesc
        + (" (required)" if one.required else f" [{one.default}]" if one.default else "")
        for one in found.parameters
    }


def _metadata(agent: str) -> AgentMetadata | None:
    from agents.catalog import Catalog
    from cli.agent_information import agent_name, read_metadata

    catalog = Catalog.of_this_node()
    try:
        return read_metadata(agent_name(agent, catalog), catalog)
    except HaError:
        return None


_SECTIONS: Final = ("params", "meta", "op", "utilization", "operations")


def _constraint(keyword: str, given: Sequence[str], cib: Element | None) -> list[str]:
    if len(given) < 2:
        return []
    if len(given) == 2 and keyword in ("colocation", "order"):
        return ["inf:", "-inf:"] if keyword == "colocation" else ["Mandatory:", "Optional:", "Serialize:"]
    if keyword == "location" and len(given) == 3:
        return ["inf:", "-inf:", "rule", "role=", "resource-discovery="]
    if keyword == "location" and len(given) == 4:
        return _objects(cib, "node")
    return _objects(cib, "resource")


def current_cib(context: Context) -> Element | None:
    """The CIB to complete from: the pending one, else what can be had; None when nothing can."""
    if context.workspace is not None:
        return context.workspace.cib
    try:
        return context.source().read().cib
    except (HaError, OSError):
        return None


def compgen(context: Context, words: Sequence[str]) -> int:
    """`--compgen POINT LINE`: one candidate a line, for bash."""
    if len(words) != 2 or not is_count(words[0]):
        return EXIT_OK
    typed = words[1][: int(words[0])].split()
    if words[1][: int(words[0])].endswith(" ") or not typed:
        typed.append("")
    *before, last = typed[1:] or [""]
    asked = before[-1] if before else ""
    if before and before[0].startswith("-"):
        with contextlib.suppress(UsageError):  # an option that is not finished
            context.options = take_options(before)
        if not before and (offered := _after_options(asked, last, context)) is not None:
            for one in sorted(offered):
                context.print(one)
            return EXIT_OK
    if not before and last.startswith("-"):
        for one in sorted({name for text, _ in OPTIONS for name in _OPTION.findall(text)}):
            if one.startswith(last):
                context.print(one)
        return EXIT_OK
    typed = [*before, last]
    needs_cib = len(typed) > 2
    for one in candidates(ROOT, typed, current_cib(context) if needs_cib else None):
        context.print(one)
    return EXIT_OK


def _after_options(asked: str, last: str, context: Context) -> list[str] | None:
    """What the value of the option just typed may be; None when it takes none."""
    if asked in _VALUES_AFTER:
        found = [*_VALUES_AFTER[asked]]
    elif asked in _FILES_AFTER:
        found = _files(last)
    elif asked in ("-c", "--cib"):
        from cli.shadows import Shadows

        found = [*Shadows.of_this_user().names()]
    elif asked in ("--guard", "--node"):
        found = _objects(current_cib(context), "node" if asked == "--node" else "resource")
    elif asked in ("--reason", "--server", "--confirm", "--wait-time", "-o", "-H"):
        found = []
    else:
        return None
    return [one for one in found if one.startswith(last)]
