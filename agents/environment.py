"""How an agent is called: arguments and environment, built from scratch from an operation. Pure.

The daemon's own environment never reaches an agent; what an agent sees is all in this module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agents.exit_codes import EXIT_REASON_PREFIX
from hacluster.errors import InvalidRequest
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.operation import Operation

OCF_ROOT_DEFAULT: Final = "/usr/lib/ocf"
OCF_VERSION: Final = ("1", "1")
SYSTEM_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
CHECK_LEVEL: Final = "OCF_CHECK_LEVEL"
FEATURE_SET: Final = "crm_feature_set"

# The kernel refuses a longer "NAME=value" (MAX_ARG_STRLEN, 32 pages); a margin is left for the name.
VALUE_BYTES_MAX: Final = 32 * 4096 - 512

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,254}", re.ASCII)
_SHELL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_SHOWN_MAX: Final = 40
_ACTION: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)

# Agents written for OCF 1.0 ask for these; Pacemaker sends both names.
_OLD_META_NAMES: Final = {"promoted_max": "master_max", "promoted_node_max": "master_node_max"}

# What cluster-glue calls it; its `status` is about the device, not about a node.
_GLUE_VERBS: Final = {
    "reboot": "reset",
    "off": "off",
    "on": "on",
    "monitor": "status",
    "list": "gethosts",
    "getinfo-xml": "getinfo-xml",
}

_GLUE_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "reboot": ("-T", "reset"),
    "off": ("-T", "off"),
    "on": ("-T", "on"),
    "monitor": ("-S",),
    "list": ("-l",),
}
"""The same for stonith(8), which loads the compiled plugins; -E: parameters are in the environment."""

_STATUS_STANDARDS: Final = frozenset({"lsb", "heartbeat"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What the environment of every agent on one node has in common.

    `sbin_dir` holds the commands agents call back with and comes first in PATH; `agent_socket` is what
    they talk to; `ha_agent` executes our own agents; `agent_tmp` is HA_RSCTMP. Empty ones are not exported.
    `extra` is exported as it stands (logging, tracing) but cannot replace anything built here.
    """

    node: str
    node_id: str = ""
    sbin_dir: str = ""
    agent_socket: str = ""
    agent_tmp: str = "/run/resource-agents"
    ha_agent: str = ""
    ocf_root: str = OCF_ROOT_DEFAULT
    feature_set: str = "3.16.2"
    time_zone: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One call of an agent program: `argv[0]` is the program. `stdin` is empty but for fence agents."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    stdin: str = ""


def invocation(operation: Operation, path: str, facts: NodeFacts, *, standard: str = "") -> Invocation:
    """How to run the program at `path` for `operation`.

    `standard` is the resolved agent's, where it differs from the operation's ("service"). OCF agents
    get their parameters through the environment, heartbeat's as arguments before the action (in the
    order of their names "1", "2", …), fence agents as lines on stdin, LSB scripts not at all.
    Raises InvalidRequest for names and values that cannot be passed.
    """
    standard = standard or operation.agent.standard
    if _ACTION.fullmatch(operation.action) is None:
        raise InvalidRequest(what=f"{operation.action!r} is not the name of an action")
    match standard:
        case "ocf":
            return Invocation(argv=(path, operation.action), environ=environment(operation, facts))
        case "lsb":
            return Invocation(argv=(path, _script_action(operation.action)), environ=base_environment(facts))
        case "heartbeat":
            arguments = positional(operation.parameters)
            argv = (path, *arguments, _script_action(operation.action))
            return Invocation(argv=argv, environ=base_environment(facts))
        case "stonith" if is_glue(operation.agent.type):
            return _glue_plugin(operation, path, facts)
        case "stonith":
            return Invocation(argv=(path,), environ=base_environment(facts), stdin=fence_input(operation))
        case _:
            raise InvalidRequest(what=f"agents of standard {standard!r} are not executed as processes")


def base_environment(facts: NodeFacts) -> dict[str, str]:
    """What every agent program gets, whatever its standard; PWD is left out on purpose (cwd is /)."""
    path = f"{facts.sbin_dir}:{SYSTEM_PATH}" if facts.sbin_dir else SYSTEM_PATH
    built = {
        "PATH": path,
        "HOME": "/root",
        "SHELL": "/bin/sh",
        "LC_ALL": "C",
        # Debian's LSB functions would hand the script over to systemctl, out of our sight.
        "_SYSTEMCTL_SKIP_REDIRECT": "1",
        "SYSTEMCTL_SKIP_REDIRECT": "1",
    }
    optional = {
        "TZ": facts.time_zone,
        "HA_SBIN_DIR": facts.sbin_dir,
        "HA_RSCTMP": facts.agent_tmp,
        "HA_AGENT": facts.ha_agent,
        "HACLUSTER_AGENT_SOCKET": facts.agent_socket,
        "HACLUSTER_NODE": facts.node,
    }
    built.update({name: value for name, value in optional.items() if value})
    return {**facts.extra, **built}


def environment(operation: Operation, facts: NodeFacts) -> dict[str, str]:
    """The environment of an OCF agent (OCF RA API 1.1, "Environment variables").

    Parameters become OCF_RESKEY_*, the meta values OCF_RESKEY_CRM_meta_* with "-" as "_". A parameter
    cannot replace a meta value. Raises InvalidRequest for a name that is not `[A-Za-z_][A-Za-z0-9_.-]*`,
    and for values with NUL or too long for the kernel.
    """
    agent, parameters = operation.agent, dict(operation.parameters)
    meta = {name.replace("-", "_"): value for name, value in operation.meta.items()}
    check_level = parameters.pop(CHECK_LEVEL, "") or meta.pop(CHECK_LEVEL, "")
    built = base_environment(facts)
    built |= {
        "OCF_RA_VERSION_MAJOR": OCF_VERSION[0],
        "OCF_RA_VERSION_MINOR": OCF_VERSION[1],
        "OCF_ROOT": facts.ocf_root,
        "OCF_RESOURCE_INSTANCE": str(operation.resource),
        "OCF_RESOURCE_TYPE": agent.type,
        "OCF_RESOURCE_PROVIDER": agent.provider,
        "OCF_EXIT_REASON_PREFIX": EXIT_REASON_PREFIX,
        f"OCF_RESKEY_{FEATURE_SET}": parameters.pop(FEATURE_SET, facts.feature_set),
    }
    if check_level:
        built[CHECK_LEVEL] = check_level
    for name, value in parameters.items():
        built[f"OCF_RESKEY_{_checked_name(operation, name)}"] = value
    for name, value in (_node_meta(facts) | meta | _always_meta(operation) | _old_meta(meta)).items():
        built[f"OCF_RESKEY_CRM_meta_{_checked_name(operation, name)}"] = value
    for name, value in built.items():
        _check_value(operation, name, value)
    return built


def _glue_plugin(operation: Operation, path: str, facts: NodeFacts) -> Invocation:
    """A plugin of cluster-glue: external/NAME VERB [NODE], or a compiled one by stonith(8).

    Parameters are variables of their own names.
    """
    built = base_environment(facts)
    built["PATH"] += ":/usr/share/cluster-glue"
    parameters = dict(operation.parameters)
    node = parameters.pop("nodename", "")
    for name, value in parameters.items():
        if name.startswith(("pcmk_", "CRM_meta_")) or name in ("provides", FEATURE_SET):
            continue
        if _checked_name(operation, name) in built or name.startswith("LD_"):
            raise InvalidRequest(what=f"{operation.resource} has a parameter {name}, which programs obey")
        _check_value(operation, name, value)
        built[name] = value
    kind, action = operation.agent.type, operation.action
    verbs: tuple[str, ...] = (_GLUE_VERBS.get(action, ""),)
    if "/" not in kind:
        verbs = ("-s", "-t", kind, "-E", *_GLUE_OPTIONS[action]) if action in _GLUE_OPTIONS else ("",)
    if not verbs[0]:
        raise InvalidRequest(what=f"plugins of cluster-glue have nothing for {operation.action!r}")
    wants_node = operation.action in ("on", "off", "reboot")
    return Invocation(argv=(path, *verbs, *((node,) if wants_node else ())), environ=built)


def is_glue(kind: str) -> bool:
    """Whether a type of the standard stonith is a plugin of cluster-glue, not a fence agent (fence_NAME)."""
    return not kind.startswith("fence_")


def metadata_environment(agent: AgentName, facts: NodeFacts) -> dict[str, str]:
    """The environment for the action meta-data, which has no resource and no parameters."""
    return base_environment(facts) | {
        "OCF_RA_VERSION_MAJOR": OCF_VERSION[0],
        "OCF_RA_VERSION_MINOR": OCF_VERSION[1],
        "OCF_ROOT": facts.ocf_root,
        "OCF_RESOURCE_INSTANCE": agent.type,
        "OCF_RESOURCE_TYPE": agent.type,
        "OCF_RESOURCE_PROVIDER": agent.provider,
    }


def positional(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """Arguments of a heartbeat script: the parameters "1", "2", …, in the order of these numbers.

    Raises InvalidRequest for any other name and for a gap, which would shift what follows.
    """
    wrong = sorted(name for name in parameters if _NUMBER.fullmatch(name) is None)
    if wrong:
        raise InvalidRequest(
            what=f"a heartbeat script has no parameter {wrong[0][:_SHOWN_MAX]!r}",
            remedy="its arguments are named 1, 2, 3, …",
        )
    numbers = sorted(int(name) for name in parameters)
    if numbers != list(range(1, len(numbers) + 1)):
        raise InvalidRequest(
            what=f"arguments {', '.join(map(str, numbers))} of a heartbeat script have a gap",
            remedy="number them 1, 2, 3, … without one",
        )
    values = tuple(parameters[str(number)] for number in numbers)
    if any("\0" in value for value in values):
        raise InvalidRequest(what="an argument of a heartbeat script contains a NUL character")
    return values


def fence_input(operation: Operation) -> str:
    """Lines of a fence agent's stdin; parameters that are the cluster's own (pcmk_*, …) are kept back."""
    lines = [f"action={operation.action}"]
    target = operation.meta.get("on_node") or operation.meta.get("on-node") or ""
    if target and "nodename" not in operation.parameters:
        lines.append(f"nodename={target}")
    for name, value in operation.parameters.items():
        if name.startswith(("pcmk_", "CRM_meta_")) or name in ("provides", "action", FEATURE_SET):
            continue
        _checked_name(operation, name)
        _check_value(operation, name, value)
        if "\n" in value or "\r" in value:  # Python's agents take either for the end of a line
            raise InvalidRequest(what=f"parameter {name} of {operation.resource} contains a line break")
        lines.append(f"{name}={value}")
    return "\n".join(lines) + "\n"


def invisible_to_shell(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """Parameters legal in an environment whose names no sh agent can read ("." or "-"): warn of them."""
    return tuple(name for name in parameters if _SHELL_NAME.fullmatch(name) is None)


def _script_action(action: str) -> str:
    return "status" if action == "monitor" else action


def _node_meta(facts: NodeFacts) -> dict[str, str]:
    return {"on_node": facts.node, "on_node_uuid": facts.node_id or facts.node}


def _always_meta(operation: Operation) -> dict[str, str]:
    """Meta values agents rely on, from the operation itself; ocf_is_probe needs the interval also when 0."""
    values = {
        "timeout": str(operation.timeout_ms),
        "interval": str(operation.interval_ms),
        "name": operation.action,
    }
    if operation.start_delay_ms:
        values["start_delay"] = str(operation.start_delay_ms)
    return values


def _old_meta(meta: Mapping[str, str]) -> dict[str, str]:
    old = {old: meta[new] for new, old in _OLD_META_NAMES.items() if new in meta and old not in meta}
    if "promoted_max" in meta or "master_max" in meta:
        old["promotable"] = "true"
    return old


def _checked_name(operation: Operation, name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise InvalidRequest(
            what=f"{operation.resource} has a parameter named {name!r}, which an environment cannot hold",
            remedy="letters, digits, '_', '.' and '-', beginning with a letter or '_'",
        )
    return name


def _check_value(operation: Operation, name: str, value: str) -> None:
    if "\0" in value:
        raise InvalidRequest(what=f"{name} of {operation.resource} contains a NUL character")
    if len(value.encode(errors="surrogateescape")) > VALUE_BYTES_MAX:
        raise InvalidRequest(
            what=f"{name} of {operation.resource} is longer than {VALUE_BYTES_MAX} bytes",
            remedy="put it into a file and name the file",
        )
