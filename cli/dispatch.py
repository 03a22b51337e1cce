"""Words -> the command they name -> its exit status. Knows the tree, not what commands do."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final, TypeVar, cast

from cli.context import (
    EXIT_CONFLICT,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_UNSAFE,
    EXIT_USAGE,
    Context,
    Unsafe,
    UsageError,
)
from cli.grammar.words import Misplaced
from cli.levels import CONFIGURE, PROGRAMS, ROOT, Command, Level
from hacluster.errors import ErrorCode, HaError

_Named = TypeVar("_Named", Level, Command)

_ALSO_IN_CONFIGURE = ("cib", "cibstatus", "ra")
HELP = ("help", "--help", "-h", "?")


def find_level(level: Level, word: str) -> Level | None:
    """A level by name, alias or unambiguous prefix."""
    exact = level.level(word)
    if exact is not None or level.command(word) is not None:
        return exact
    return _by_prefix([one for one in level.levels if one.name.startswith(word)], level, word)


def find_command(level: Level, word: str) -> Command | None:
    """A command by name, alias or unambiguous prefix; names of the language in any case."""
    exact = level.command(word) or (level.command(word.lower()) if level is CONFIGURE else None)
    exact = exact or level.command(
        word.replace("_", "-")
    )  # crmsh's old names: default_timeouts, validate_all
    if exact is not None:
        return exact
    return _by_prefix([one for one in level.commands if one.name.startswith(word)], level, word)


def shortened(level: Level, words: Sequence[str]) -> tuple[str, str] | None:
    """The first of the words that is a level's or command's name cut short, and the name."""
    for word in words:
        below = find_level(level, word)
        if below is None:
            command = find_command(level, word)
            if command is None or level.command(word) or level.command(word.lower()):
                return None
            return word, command.name
        if level.level(word) is None:
            return word, below.name
        level = below
    return None


def _by_prefix(found: Sequence[_Named], level: Level, word: str) -> _Named | None:
    total = [name for name in level.names() if name.startswith(word)]
    return found[0] if len(found) == 1 and len(total) == 1 and word else None


def run_words(context: Context, level: Level, words: Sequence[str]) -> int:
    """Run one command line at a level, levels in front of it included. Errors are printed, not raised."""
    try:
        return _run(context, level, tuple(words))
    except UsageError as error:
        if error.left:
            context.point(error)
        context.error(str(error))
        _hint(context, words)
        return EXIT_USAGE
    except Unsafe as error:
        context.error(str(error))
        return EXIT_UNSAFE
    except HaError as error:
        if isinstance(error, Misplaced):
            context.point(error)
        context.error(str(error))
        _hint(context, (words[0], *(word for word in words[1:] if word in str(error))))
        return EXIT_CONFLICT if error.code is ErrorCode.CONFLICT else EXIT_FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        context.error(f"{error.filename or 'system'}: {error.strerror or error}")
        return EXIT_FAILED


def _hint(context: Context, words: Sequence[str]) -> None:
    """Say it when an option of the program's stands behind the command, where it is the command's word."""
    from cli.options import misplaced

    if option := misplaced(words):
        context.info(
            f"{option} is an option of hacli itself, and stands before the command: `hacli {option} …`"
        )


def _run(context: Context, level: Level, words: tuple[str, ...]) -> int:
    if not words:
        return EXIT_OK
    word, rest = words[0], words[1:]
    if word in HELP:
        from cli.help import help_text

        context.print(help_text(level, rest))
        return EXIT_OK
    if level is ROOT and word in PROGRAMS:
        return run_program(context, word, rest)
    below = find_level(level, word)
    if below is None and level is CONFIGURE and word in _ALSO_IN_CONFIGURE:
        below = ROOT.level(word)
    if below is not None:
        if below.session and context.workspace is None:
            return _one_shot(context, below, rest)
        return _run(context, below, rest)
    command = find_command(level, word)
    if command is None:
        raise UsageError(what=unknown(level, word), left=len(words))
    if rest and rest[-1] in ("--help", "-h"):
        from cli.help import command_text

        context.print(command_text(level, command))
        return EXIT_OK
    if command.handler.endswith(":define"):
        rest = (command.name, *rest)
    return call(command.handler, context, rest)


def _one_shot(context: Context, level: Level, words: tuple[str, ...]) -> int:
    """`hacli configure CMD…`: change and commit."""
    status = EXIT_FAILED
    try:
        status = _run(context, level, words)
        from cli.session import finish_session

        return finish_session(context) if status == EXIT_OK else status
    finally:
        context.workspace = None


# What crmsh has and hacli has not, by level: what does that work here.
_ELSEWHERE: Final = {
    ("", "sbd"): "there is no sbd: ha-sentinel feeds the watchdog, and fence_qdisk fences by a shared disk"
    " (`hacli fence list` says what guards a node; docs/manual/fencing.md)",
    ("configure", "template"): "the old configuration templates are not read: `hacli script list` names"
    " services that are made from a few parameters, `hacli configure rsc_template` what primitives share",
}


def unknown(level: Level, word: str) -> str:
    """What to say of a word that is no command here."""
    if (level.name, word) in _ELSEWHERE:
        return _ELSEWHERE[level.name, word]
    names = (*level.names(), *(PROGRAMS if level is ROOT else ()))
    where = f" in {level.name}" if level.name else ""
    begun = sorted({name for name in names if word and name.startswith(word)})
    if len(begun) > 1:
        return f"{word!r} is short for several commands{where}: {', '.join(begun)}"
    import difflib

    close = begun or difflib.get_close_matches(word, names, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{word!r} is no command{where}{hint} (see `help`)"


def call(handler: str, context: Context, words: Sequence[str]) -> int:
    """Import and call a handler."""
    module, _, name = handler.partition(":")
    function = getattr(importlib.import_module(module), name)
    return cast(int, function(context, tuple(words)))


def is_installed(handler: str) -> bool:
    """The handler's module is there."""
    import importlib.util

    return importlib.util.find_spec(handler.partition(":")[0]) is not None


def run_program(context: Context, name: str, words: Sequence[str]) -> int:
    """Run a program of its own. One that is not installed says so."""
    handler = PROGRAMS[name][0]
    if not is_installed(handler):
        raise UsageError(what=f"`{name}` is not part of this installation")
    return call(handler, context, words)
