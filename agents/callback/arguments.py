"""argv by hand, as getopt_long reads it: argparse alone costs as much as all the rest of a command."""

from __future__ import annotations

from agents.callback.client import EXIT_USAGE, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FLAG = 0
VALUE = 1
OPTIONAL = 2


def parse(argv: Sequence[str], options: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    """`options` maps each spelling ("-n", "--name") to (key, FLAG | VALUE | OPTIONAL); the result has keys.

    A flag's value is "1". Long options may be abbreviated where that is unique, "--name=x" and "-nx" are
    read, flags may be bundled ("-Gq"). Raises Refused for everything else.
    """
    found: dict[str, str] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and len(word) > 2:
            _long(word, rest, options, found)
        elif word.startswith("-") and len(word) > 1:
            _short(word[1:], rest, options, found)
        else:
            raise Refused(EXIT_USAGE, f"unexpected argument {word!r}")
    return found


def _long(word: str, rest: list[str], options: Mapping[str, tuple[str, int]], found: dict[str, str]) -> None:
    name, equals, value = word.partition("=")
    if name not in options:
        matches = {options[one] for one in options if one.startswith(name)}
        if len(matches) != 1:
            raise Refused(EXIT_USAGE, f"unknown option {name}" if not matches else f"{name} is ambiguous")
        key, kind = matches.pop()
    else:
        key, kind = options[name]
    if kind == FLAG:
        if equals:
            raise Refused(EXIT_USAGE, f"{name} takes no value")
        found[key] = "1"
    elif equals:
        found[key] = value
    else:
        found[key] = _following(name, kind, rest)


def _short(
    letters: str, rest: list[str], options: Mapping[str, tuple[str, int]], found: dict[str, str]
) -> None:
    while letters:
        name, letters = f"-{letters[0]}", letters[1:]
        if name not in options:
            raise Refused(EXIT_USAGE, f"unknown option {name}")
        key, kind = options[name]
        if kind == FLAG:
            found[key] = "1"
            continue
        found[key] = letters or _following(name, kind, rest)
        return


def _following(name: str, kind: int, rest: list[str]) -> str:
    if kind == OPTIONAL:
        return rest.pop(0) if rest and not rest[0].startswith("-") else ""
    if not rest:
        raise Refused(EXIT_USAGE, f"{name} needs a value")
    return rest.pop(0)
