"""`hacli script json`: what web interfaces ask of crmsh's wizards: a JSON array in, lines of JSON out."""

from __future__ import annotations

import json as encoding
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from cli.commands import script
from cli.context import EXIT_OK, Context, UsageError
from cli.wizards import WIZARDS, Wizard, definitions
from hacluster.errors import NotFound

USAGE: Final = """script json '["list"]' | '["show", NAME]' | '["verify"|"run", NAME, {PARAM: VALUE…}]'"""
CATEGORY: Final = "Service"


def json(context: Context, words: Sequence[str]) -> int:
    """`json REQUEST`: `list` and `show` answer with what there is, `verify` and `run` with what is done."""
    if len(words) != 1:
        raise UsageError(what="one request is needed, quoted for the shell", usage=USAGE)
    try:
        request = encoding.loads(words[0])
    except ValueError as error:
        raise UsageError(what=f"this is no JSON: {error}", usage=USAGE) from None
    match request:
        case ["list"]:
            for one in WIZARDS.values():
                _say(context, {"name": one.name, "category": CATEGORY, "shortdesc": one.summary})
        case ["show", str() as name]:
            _say(context, _described(_wizard(name)))
        case ["verify", str() as name, dict() as values]:
            text = definitions(_wizard(name), _texts(values))
            _say(context, {"name": "cib", "shortdesc": "what it would define", "longdesc": "", "text": text})
        case ["run", str() as name, dict() as values]:
            return _run(context, _wizard(name), _texts(values))
        case _:
            _refuse("such a request is not known")
    return EXIT_OK


def _run(context: Context, wizard: Wizard, values: Mapping[str, str]) -> int:
    status = script.run(context, (wizard.name, *(f"{name}={value}" for name, value in values.items())))
    _say(context, {"shortdesc": f"define {wizard.name}", "rc": status == EXIT_OK})
    return status


def _say(context: Context, answer: Mapping[str, Any]) -> None:
    context.print(encoding.dumps(answer, ensure_ascii=False))


def _wizard(name: str) -> Wizard:
    found = WIZARDS.get(name)
    if found is None:
        raise NotFound(kind="service", name=name)
    return found


def _described(wizard: Wizard) -> dict[str, Any]:
    parameters = [
        {"name": one.name, "shortdesc": one.summary, "longdesc": "", "required": one.default is None}
        | ({} if one.default is None else {"value": one.default})
        for one in wizard.parameters
    ]
    return {
        "name": wizard.name,
        "category": CATEGORY,
        "shortdesc": wizard.summary,
        "longdesc": "",
        "steps": [{"parameters": parameters}],
    }


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as words of a command line. Raises UsageError for what is no text, number or boolean."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, str | int):
            found[name] = str(value)
        else:
            _refuse(f"{name}: a text, number or boolean is needed")
    return found


def _refuse(what: str) -> NoReturn:
    raise UsageError(what=what, usage=USAGE)
