"""Help texts from the command tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cli.context import UsageError
from cli.levels import PROGRAMS, ROOT, Level


def help_text(level: Level, words: Sequence[str]) -> str:
    """Help on a level, or on what `words` name below it. Raises UsageError."""
    from cli.dispatch import find_command, find_level, is_installed, unknown

    for index, word in enumerate(words):
        below = find_level(level, word)
        if below is not None:
            level = below
            continue
        command = find_command(level, word)
        if command is not None and index == len(words) - 1:
            return f"{command.synopsis}\n    {command.summary}"
        if level is ROOT and word in PROGRAMS:
            return f"{word}: {PROGRAMS[word][1]} (see `{word} --help`)"
        raise UsageError(what=unknown(level, word))
    lines = [level.summary + ":" if level.name else USAGE, ""]
    rows = [(one.name, one.summary) for one in level.levels]
    if level is ROOT:
        rows += [(name, summary) for name, (handler, summary) in PROGRAMS.items() if is_installed(handler)]
    rows += [(one.synopsis if level.name else one.name, one.summary) for one in level.commands]
    width = min(max((len(name) for name, _summary in rows), default=0), 44)
    for name, summary in rows:
        if len(name) > width:
            lines += [f"  {name}", f"  {'':{width}}  {summary}"]
        else:
            lines.append(f"  {name:{width}}  {summary}")
    return "\n".join(lines)


OPTIONS: Final = (
    ("-f FILE|-", "run the commands of FILE"),
    ("--cib-file FILE", "work on a CIB in a file, without a cluster (also: environment CIB_file)"),
    ("-c NAME", "work on a shadow CIB (also: environment CIB_shadow)"),
    ("--root DIR", "everything lives below DIR (also: HACLUSTER_ROOT)"),
    ("--node NAME", "this node's name (also: HACLUSTER_NODE)"),
    ("-w, --wait", "wait until what was wanted is so, or say why not (--wait-time 120s)"),
    ("-F", "yes to every question, write in spite of errors"),
    ("-n, --safe", "no to every question: refuse what would stop something else"),
    ("--reason TEXT", "why, for the history"),
    ("--confirm TIME", "undone by the cluster unless `hacli confirm` comes within TIME"),
    ("--guard RSC,…", "and undone when one of these does not run"),
    ("--output FORMAT", "text, json or xml (--json: json)"),
    ("-d", "debug messages"),
    ("--version", "say which version this is"),
)

USAGE: Final = """\
usage: hacli [OPTION…] [LEVEL [COMMAND …]]

  Without a command: an interactive shell, or commands from standard input.

""" + "\n".join(f"  {option:18} {summary}" for option, summary in OPTIONS)
