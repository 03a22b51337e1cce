"""Man pages, completion for three shells and schemas, made from the command tree: `python -m cli.generate`.

They are committed; a test says when they are not what the tree says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cli.formats import SHAPES, schema
from cli.help import OPTIONS, TOPICS, pages
from cli.levels import PROGRAMS, ROOT, Level
from cli.output import VERSION as FORMAT
from hacluster import VERSION

ROOT_FOLDER: Final = Path(__file__).parents[1]
EXIT_CODES: Final = (
    ("0", "done"),
    ("1", "failed, nothing was changed; in a script: a line failed"),
    ("2", "wrong use, or a script (-f) that cannot be read"),
    ("3", "refused by the checks of the configuration"),
    ("4", "somebody else changed the same objects meanwhile"),
    ("5", "apply --check: the cluster is not as the file says"),
    ("6", "-w: the wanted state was not reached"),
    ("7", "refused, because something else would be interrupted"),
    ("130", "ended by ^C"),
)


def files() -> dict[str, str]:
    """Path below the repository -> contents."""
    made = {
        "deploy/completion/hacli.bash": bash(),
        "deploy/completion/_hacli": zsh(),
        "deploy/completion/hacli.fish": fish(),
        "docs/man/hacli.1": man_page(),
    }
    made |= {f"docs/man/hacli-{name}.1": man_level(name, level) for name, level in _levels(ROOT, "")}
    made |= {
        f"docs/schemas/{name}-{FORMAT}.json": json.dumps(schema(name), indent=2) + "\n" for name in SHAPES
    }
    return made


def _levels(level: Level, prefix: str) -> Iterator[tuple[str, Level]]:
    for one in level.levels:
        name = f"{prefix}{one.name}"
        yield name, one
        yield from _levels(one, f"{name}-")


# --- man pages


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in escaped.split("\n"))


def _page(text: str) -> list[str]:
    """Paragraphs as they are; lines that begin with blanks are kept as lines."""
    lines: list[str] = []
    kept = False
    for line in text.split("\n"):
        if line.startswith("  ") != kept:
            kept = not kept
            lines.append(".nf" if kept else ".fi")
        if line:
            lines.append(_roff(line))
        elif not kept:
            lines.append(".sp")
    return [*lines, ".fi"] if kept else lines


def _head(name: str, summary: str) -> list[str]:
    return [
        '.\\" Made by `python -m cli.generate`; do not edit.',
        f'.TH {name.upper()} 1 "" "hacluster {VERSION}" "hacluster"',
        ".SH NAME",
        f"{_roff(name)} \\- {_roff(summary)}",
    ]


def man_page() -> str:
    """hacli(1)."""
    lines = _head("hacli", "configure, watch and steer a hacluster cluster")
    lines += [".SH SYNOPSIS", ".B hacli", "[OPTION\\&...] [LEVEL [COMMAND \\&...]]", ".SH DESCRIPTION"]
    lines.append(
        _roff(
            "Without a command: an interactive shell, or commands from standard input. Levels and commands "
            "may be shortened as long as they are clear. Answers go to standard output, everything else to "
            "standard error."
        )
    )
    lines.append(".SH OPTIONS")
    for option, summary in OPTIONS:
        lines += [".TP", f".B {_roff(option)}", _roff(summary)]
    lines.append(".SH LEVELS")
    for level in ROOT.levels:
        lines += [
            ".TP",
            f".B {_roff(level.name)}",
            f"{_roff(level.summary)} (hacli\\-{_roff(level.name)}(1))",
        ]
    lines.append(".SH COMMANDS")
    about = pages("root")
    for command in ROOT.commands:
        lines += [".TP", f".B {_roff(command.synopsis)}", _roff(command.summary)]
        lines += [".sp", *_page(about[command.name])]
    for name, (_handler, summary) in PROGRAMS.items():
        lines += [".TP", f".B {_roff(name)}", f"{_roff(summary)} (see {_roff(f'{name} --help')})"]
    lines.append(".SH TOPICS")
    for name, text in pages(TOPICS).items():
        lines += [".SS " + _roff(name), *_page(text)] if name else []
    lines.append(".SH EXIT STATUS")
    for code, summary in EXIT_CODES:
        lines += [".TP", f".B {code}", _roff(summary)]
    lines.append(".SH ENVIRONMENT")
    for name, summary in (
        ("CIB_file", "as --cib-file"),
        ("CIB_shadow", "as -c"),
        ("CIB_shadow_dir", "where shadows are kept"),
        ("HACLUSTER_ROOT", "as --root"),
        ("HACLUSTER_NODE", "as --node"),
        ("VISUAL, EDITOR", "the program that edit starts"),
    ):
        lines += [".TP", f".B {_roff(name)}", _roff(summary)]
    see = ", ".join(f"hacli\\-{_roff(name)}(1)" for name, _level in _levels(ROOT, ""))
    return "\n".join([*lines, ".SH SEE ALSO", see]) + "\n"


def man_level(name: str, level: Level) -> str:
    """hacli-LEVEL(1)."""
    lines = _head(f"hacli-{name}", level.summary)
    about = pages(level.name)
    lines += [".SH SYNOPSIS", f".B hacli {_roff(name.replace('-', ' '))}", "[COMMAND \\&...]"]
    lines += [".SH DESCRIPTION", *_page(about[""]), ".SH COMMANDS"]
    for command in level.commands:
        lines += [".TP", f".B {_roff(command.synopsis)}", _roff(command.summary)]
        if command.aliases:
            lines.append(_roff(f"Also: {', '.join(command.aliases)}."))
        lines += [".sp", *_page(about[command.name])]
    for below in level.levels:
        lines += [
            ".TP",
            f".B {_roff(below.name)}",
            f"{_roff(below.summary)} (hacli\\-{_roff(name)}\\-{below.name}(1))",
        ]
    return "\n".join([*lines, ".SH SEE ALSO", "hacli(1)"]) + "\n"


# --- completion: what the tree knows by itself without a process, the rest from `hacli --compgen`


def _words() -> dict[str, tuple[str, ...]]:
    """Levels and commands, by the words before them."""
    first = (*ROOT.names(), *PROGRAMS, "help")
    found = {"": tuple(sorted(first))}
    for name, level in _levels(ROOT, ""):
        found[name.replace("-", " ")] = tuple(sorted((*level.names(), "help")))
    return found


_MADE: Final = "# Made by `python -m cli.generate`; do not edit."


def bash() -> str:
    """For bash. Replies are without what stands before the last `:` or `=`, where bash begins a new word."""
    cases = "\n".join(
        f'    "{before}") COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$current")); return ;;'
        for before, words in _words().items()
    )
    return f"""{_MADE}
_hacli() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} before="${{COMP_WORDS[*]:1:COMP_CWORD-1}}"
  local line=${{COMP_LINE:0:COMP_POINT}} word left
  word=${{line##*[[:space:]]}}
  if [[ $word != -* ]]; then case "$before" in
{cases}
  esac; fi
  mapfile -t COMPREPLY < <("${{COMP_WORDS[0]}}" --compgen "$COMP_POINT" "$COMP_LINE" 2>/dev/null)
  left=${{word%"${{word##*[:=]}}"}}
  if [[ -n $left && $COMP_WORDBREAKS == *:* ]]; then COMPREPLY=("${{COMPREPLY[@]#"$left"}}"); fi
  if [[ ${{COMPREPLY[0]-}} == *[=/] ]]; then compopt -o nospace 2>/dev/null; fi
}}
complete -o default -F _hacli hacli
"""


def zsh() -> str:
    """For zsh."""
    cases = "\n".join(
        f'    "{before}") compadd -- {" ".join(words)}; return ;;' for before, words in _words().items()
    )
    return f"""#compdef hacli
{_MADE}
_hacli() {{
  local before="${{(j: :)words[2,CURRENT-1]}}" line="${{(j: :)words[1,CURRENT]}}"
  local -a found
  if [[ $words[CURRENT] != -* ]]; then case "$before" in
{cases}
  esac; fi
  found=("${{(@f)$($words[1] --compgen ${{#line}} "$line" 2>/dev/null)}}")
  found=(${{found:#}})
  (( $#found )) || {{ _files; return }}
  compadd -S '' -- ${{(M)found:#*[=/]}}
  compadd -- ${{found:#*[=/]}}
}}
_hacli "$@"
"""


def fish() -> str:
    """For fish."""
    lines = [
        _MADE,
        "function __hacli_before",
        "    set -l words (commandline -opc)",
        "    string join ' ' -- $words[2..-1]",
        "end",
        "function __hacli_rest",
        "    set -l line (commandline -cp)",
        "    command hacli --compgen (string length -- $line) $line 2>/dev/null",
        "end",
        "function __hacli_knows",
        "    set -l before (__hacli_before)",
        '    not string match -q -- \'-*\' (commandline -ct); and test "$before" = "$argv[1]"',
        "end",
        "complete -c hacli -f",
    ]
    known = []
    for before, words in _words().items():
        known.append(before)
        lines.append(f"complete -c hacli -n \"__hacli_knows '{before}'\" -a '{' '.join(words)}'")
    quoted = " ".join(f"'{one}'" for one in known)
    lines += [
        "function __hacli_asks",
        "    set -l before (__hacli_before)",
        f"    string match -q -- '-*' (commandline -ct); or not contains -- \"$before\" {quoted}",
        "end",
        'complete -c hacli -n __hacli_asks -a "(__hacli_rest)"',
    ]
    return "\n".join(lines) + "\n"


def stale(folder: Path = ROOT_FOLDER) -> list[str]:
    """What is not as the tree says, or should not be there any more."""
    made = files()
    found = [
        name
        for name, text in made.items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text
    ]
    for place in ("docs/man", "docs/schemas", "deploy/completion"):
        there = {f"{place}/{path.name}" for path in (folder / place).glob("*")}
        found += sorted(there - set(made))
    return found


def main() -> int:
    """Write them all; with --check only say what is not current, and exit with 1 then."""
    if "--check" in sys.argv[1:]:
        for name in stale():
            sys.stdout.write(f"{name} is not current: run `python -m cli.generate`\n")
        return 1 if stale() else 0
    for name, text in files().items():
        path = ROOT_FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in stale():
        (ROOT_FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
