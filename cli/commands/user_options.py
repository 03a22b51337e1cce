"""`hacli options`: what this user prefers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cli import user_options
from cli.context import EXIT_OK, Context, UsageError
from cli.workspace import write_atomically
from hacluster.errors import InvalidRequest, NotFound

# Options of crmsh that have no meaning here: accepted, so that scripts run, and said to be ignored.
_CRMSH: Final = frozenset(
    {
        *("pager", "user", "colorscheme", "skill-level", "check-frequency", "check-mode", "add-quotes"),
        *("manage-children", "add-advised-op-values", "debug", "force", "dotty", "obscure_pattern"),
    }
)


def show(context: Context, words: Sequence[str]) -> int:
    """`show [NAME]`."""
    if len(words) > 1:
        raise UsageError(what="name one option", usage="options show [NAME]")
    for name in words:
        _known(name)
    given = user_options.read()
    if context.options.structured:
        rows = [
            {"name": name, "value": given.get(name, default), "summary": summary}
            for name, (default, summary) in user_options.KNOWN.items()
            if not words or name in words
        ]
        context.emit("options", {"options": rows})
        return EXIT_OK
    for name, (default, summary) in user_options.KNOWN.items():
        if not words:
            context.print(f"{name:14} {given.get(name, default):10} {summary}")
        elif name in words:
            context.print(given.get(name, default))
    return EXIT_OK


def _known(name: str) -> None:
    if name not in user_options.KNOWN:
        raise NotFound(kind="option", name=name)


def set_one(context: Context, words: Sequence[str]) -> int:
    """`set NAME VALUE`."""
    if len(words) != 2:
        raise UsageError(what="a name and a value are needed", usage="options set NAME VALUE")
    name, value = words
    if name in _CRMSH:
        context.warning(f"{name} has no meaning here and is ignored")
        return EXIT_OK
    _known(name)
    wrong = user_options.problem(name, value)
    if wrong:
        raise InvalidRequest(what=f"{name}={value}", remedy=f"{wrong} is needed")
    _write(user_options.own() | {name: value})
    return EXIT_OK


def reset(_context: Context, words: Sequence[str]) -> int:
    """`reset [NAME]`: what was set here; crmsh's files stay as they are."""
    for name in words:
        _known(name)
    given = user_options.own()
    _write({name: value for name, value in given.items() if words and name not in words})
    return EXIT_OK


def save(context: Context, _words: Sequence[str]) -> int:
    """`save`: for scripts that say it."""
    context.info("options are saved as they are set")
    return EXIT_OK


def _write(values: Mapping[str, str]) -> None:
    path = user_options.path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, "".join(f"{name}={value}\n" for name, value in values.items()).encode())
