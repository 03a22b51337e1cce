"""The options that stand before the level."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from cli.context import OUTPUTS, Options, UsageError

_FLAGS = {
    "-F": "force",
    "--force": "force",
    "-n": "refuse",
    "-w": "wait",
    "--wait": "wait",
    "-d": "debug",
    "--debug": "debug",
    "--safe": "safe",
    "--strict": "strict",
}
_VALUES = {
    "-f": "script",
    "--file": "script",
    "--cib-file": "cib_file",
    "--root": "root",
    "--node": "node",
    "--reason": "reason",
    "-c": "shadow",
    "--cib": "shadow",
    "--server": "server",
    "--tls": "tls",
}
_OTHER_VALUES = (
    *("--wait-time", "--confirm", "--guard", "--output", "-D", "--display", "-o", "--opt", "--read"),
)
# `simulate` has -F and -w of its own.
_NEVER_OF_A_COMMAND: Final = ("-F", "-w", "--wait", "--wait-time", "--safe", "--strict", "--cib-file")
READS: Final = ("local", "dc", "quorum")
_NO_HISTORY: Final = (
    "history is read from the cluster only: leave -H out"
    " (what was kept under a name: `hacli history session load NAME`)"
)
_NOT_HERE: Final = {"-H": _NO_HISTORY, "--history": _NO_HISTORY}
_IGNORED_WITH_VALUE = ("--scriptdir",)
# Of crmsh's options these mean something here; the others are taken and do nothing.
_CRMSH = {"core.wait": "wait", "core.force": "force", "core.debug": "debug"}
_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
DISPLAYS = ("plain", "color", "color-always", "uppercase")


def take_options(words: list[str]) -> Options:
    """Take the options off the front of `words`. Raises UsageError."""
    # Pacemaker's tools spell the variable this way.
    options = Options(cib_file=os.environ.get("CIB_file", ""))  # noqa: SIM112
    options.shadow = os.environ.get("CIB_shadow", "")  # noqa: SIM112
    options.node = os.environ.get("HACLUSTER_NODE", "")
    options.server = os.environ.get("HACLUSTER_SERVER", "")
    options.tls = os.environ.get("HACLUSTER_TLS", "")
    while words and words[0].startswith("-") and words[0] not in ("--version", "--compgen", "--help", "-h"):
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word == "--json":
            options.output = "json"
        elif word in _FLAGS:
            setattr(options, _FLAGS[word], True)
        elif word == "-R":
            options.debug = True
        elif name in _VALUES or name in _OTHER_VALUES or name in _IGNORED_WITH_VALUE:
            if not equals:
                if not words:
                    raise UsageError(what=f"{name} needs a value")
                value = words.pop(0)
            set_value(options, name, value)
        else:
            raise UsageError(what=_NOT_HERE.get(name, f"unknown option {word} (see `hacli --help`)"))
    if words and words[0] in ("--help", "-h"):
        words[0] = "help"
    return options


def misplaced(words: Sequence[str]) -> str:
    """The first of a command's words that is an option of the program's, and of no command."""
    if words[0] == "simulate":
        return ""
    return next((word for word in words[1:] if word.partition("=")[0] in _NEVER_OF_A_COMMAND), "")


def set_value(options: Options, name: str, value: str) -> None:
    """Take the value of an option. Raises UsageError."""
    if name == "--wait-time":
        options.wait_ms = duration_ms(name, value)
        options.wait = options.wait_given = True
    elif name == "--confirm":
        options.confirm_ms = duration_ms(name, value)
    elif name == "--guard":
        options.guards += tuple(one for one in value.split(",") if one)
    elif name == "--output":
        if value not in OUTPUTS:
            raise UsageError(what=f"--output {value}: one of {', '.join(OUTPUTS)}")
        options.output = value
    elif name in ("-D", "--display"):
        if value not in DISPLAYS:
            raise UsageError(what=f"{name} {value}: one of {', '.join(DISPLAYS)}")
        options.display = value
    elif name in ("-o", "--opt"):
        _set_as_crmsh(options, value)
    elif name == "--read":
        if value not in READS:
            raise UsageError(what=f"--read {value}: one of {', '.join(READS)}")
        options.read = value
    elif name in _VALUES:
        setattr(options, _VALUES[name], value)


def _set_as_crmsh(options: Options, text: str) -> None:
    """SECTION.NAME=VALUE. Raises UsageError."""
    name, equals, value = text.partition("=")
    section, dot, rest = name.partition(".")
    if not (section and dot and rest and equals):
        raise UsageError(what=f"-o {text}: SECTION.NAME=VALUE is needed")
    if name == "color.style":
        set_value(options, "-D", value)
    elif name in _CRMSH:
        if value.lower() not in (*_YES, *_NO):
            raise UsageError(what=f"-o {text}: yes or no")
        setattr(options, _CRMSH[name], value.lower() in _YES)


def duration_ms(name: str, value: str) -> int:
    """A duration that an option was given, more than nothing. Raises UsageError."""
    from hacluster.durations import parse_ms

    try:
        found = parse_ms(value)
    except ValueError as error:
        raise UsageError(what=f"{name}: {error}") from None
    if found <= 0:
        raise UsageError(what=f"{name}: {value} is no time to wait")
    return found
