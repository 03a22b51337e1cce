"""The options that stand before the level."""

from __future__ import annotations

import os

from cli.context import Options, UsageError

_FLAGS = {
    "-F": "force",
    "--force": "force",
    "-n": "refuse",
    "-w": "wait",
    "--wait": "wait",
    "--json": "json",
    "-d": "debug",
    "--debug": "debug",
}
_VALUES = {
    "-f": "script",
    "--file": "script",
    "--cib-file": "cib_file",
    "--root": "root",
    "--node": "node",
}
_NOT_HERE = {
    "-c": "shadow CIBs are not supported: copy the CIB to a file and use --cib-file",
    "-H": "history is read from the cluster only",
}
_IGNORED_WITH_VALUE = ("-D", "--display", "-o", "--opt", "--scriptdir")


def take_options(words: list[str]) -> Options:
    """Take the options off the front of `words`. Raises UsageError."""
    # Pacemaker's tools spell the variable this way.
    options = Options(cib_file=os.environ.get("CIB_file", ""))  # noqa: SIM112
    options.node = os.environ.get("HACLUSTER_NODE", "")
    while words and words[0].startswith("-") and words[0] not in ("--version", "--compgen", "--help", "-h"):
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word in _FLAGS:
            setattr(options, _FLAGS[word], True)
        elif word == "-R":
            options.debug = True
        elif name in _VALUES or name == "--wait-time" or name in _IGNORED_WITH_VALUE:
            if not equals:
                if not words:
                    raise UsageError(what=f"{name} needs a value")
                value = words.pop(0)
            _set_value(options, name, value)
        else:
            raise UsageError(what=_NOT_HERE.get(word, f"unknown option {word} (see `hacli --help`)"))
    if words and words[0] in ("--help", "-h"):
        words[0] = "help"
    return options


def _set_value(options: Options, name: str, value: str) -> None:
    if name == "--wait-time":
        from hacluster.durations import parse_ms

        try:
            options.wait_ms = parse_ms(value)
        except ValueError as error:
            raise UsageError(what=f"--wait-time: {error}") from None
        options.wait = True
    elif name in _VALUES:
        setattr(options, _VALUES[name], value)
