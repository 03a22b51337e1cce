"""Help texts: the command tree, and the pages in `cli/pages`: a file a level, a part of it a command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli.context import UsageError
from cli.levels import PROGRAMS, ROOT, Command, Level

_FOLDER: Final = Path(__file__).with_name("pages")
TOPICS: Final = "topics"
_MARK: Final = "== "


def pages(name: str) -> dict[str, str]:
    """The parts of a level's file ("root": commands of no level) by name; "" is about the level itself."""
    found: dict[str, list[str]] = {"": []}
    part = found[""]
    for line in (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(_MARK):
            part = found.setdefault(line.removeprefix(_MARK), [])
        else:
            part.append(line)
    return {key: "\n".join(lines).strip("\n") for key, lines in found.items()}


def command_text(level: Level, command: Command) -> str:
    """How it is written, what it is, and its page."""
    lines = [command.synopsis, f"    {command.summary}"]
    if command.aliases:
        lines.append(f"    also: {', '.join(command.aliases)}")
    page = pages(level.name or "root").get(command.name, "")
    return "\n".join([*lines, "", page] if page else lines)


def topic_text(word: str) -> str | None:
    """The page of a topic, or the list of them; None when there is no such topic."""
    found, word = pages(TOPICS), word.lower()
    if word == TOPICS:
        names = (name for name in found if name)
        return "\n".join(["topics, for `help TOPIC`:", "", *(f"  {name}" for name in names)])
    return f"{word}:\n\n{found[word]}" if word and word in found else None


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
            return command_text(level, command)
        if level is ROOT and word in PROGRAMS:
            return f"{word}: {PROGRAMS[word][1]} (see `{word} --help`)"
        topic = topic_text(word) if len(words) == 1 else None
        if topic is not None:
            return topic
        elsewhere = _elsewhere(word) if level is ROOT and len(words) == 1 else []
        if len(elsewhere) == 1:
            return command_text(*elsewhere[0])
        hint = "".join(f"; `help {place.name} {word}`" for place, _command in elsewhere)
        raise UsageError(what=unknown(level, word) + hint)
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
    if level is ROOT:
        named = ", ".join(name for name in pages(TOPICS) if name)
        return "\n".join(
            [*lines, "", "`help LEVEL`, `help LEVEL COMMAND`, or `help TOPIC`, of the topics", f"  {named}"]
        )
    about = pages(level.name)[""]
    return "\n".join([*lines, "", about] if about else lines)


def _elsewhere(word: str) -> list[tuple[Level, Command]]:
    """The commands of that name in the levels below the first one."""
    return [(place, one) for place in ROOT.levels if (one := place.command(word)) is not None]


OPTIONS: Final = (
    ("-f FILE|-", "run the commands of FILE"),
    ("--cib-file FILE", "work on a CIB in a file, without a cluster (also: environment CIB_file)"),
    ("-c NAME", "work on a shadow CIB (also: environment CIB_shadow)"),
    ("--root DIR", "everything lives below DIR (also: HACLUSTER_ROOT)"),
    ("--node NAME", "this node's name (also: HACLUSTER_NODE)"),
    ("--server NODE", "ask that machine (NODE[=ADDRESS][:PORT]; also: HACLUSTER_SERVER)"),
    ("--tls DIR", "with the user's certificate there (~/.config/hacluster/tls; also: HACLUSTER_TLS)"),
    (
        "--read HOW",
        "the CIB is read from this node's copy (local), at the dc, or confirmed by a quorum",
    ),
    ("-w, --wait", "wait until what was wanted is so, or say why not (--wait-time 120s)"),
    ("-F", "yes to every question, write in spite of errors"),
    ("-n, --safe", "no to every question: refuse what would stop something else"),
    ("--reason TEXT", "why, for the history"),
    ("--confirm TIME", "undone by the cluster unless `hacli confirm` comes within TIME"),
    ("--guard RSC,…", "and undone when one of these does not run"),
    ("-D HOW", "plain, color (on a terminal, unless NO_COLOR is set) or color-always"),
    ("--output FORMAT", "text, json or xml (--json: json)"),
    ("--strict", "in scripts names of levels and commands are written out"),
    ("-d", "debug messages"),
    ("--version", "say which version this is"),
)

USAGE: Final = """\
usage: hacli [OPTION…] [LEVEL [COMMAND …]]

  Without a command: an interactive shell, or commands from standard input.

""" + "\n".join(f"  {option:18} {summary}" for option, summary in OPTIONS)
