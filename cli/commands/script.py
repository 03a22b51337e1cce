"""`hacli script`: common services from a few parameters."""

from __future__ import annotations

from collections.abc import Sequence

from cli.commands.configure import provider_lookup
from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.definitions import parse_text
from cli.grammar.load import Mode, definition_names, load
from cli.session import finish_session
from cli.wizards import WIZARDS, Wizard, definitions
from hacluster.errors import NotFound


def list_all(context: Context, words: Sequence[str]) -> int:
    """`list`."""
    if words:
        raise UsageError(what="list takes no arguments", usage="script list")
    if context.options.structured:
        rows = [{"name": one.name, "summary": one.summary} for one in WIZARDS.values()]
        context.emit("services", {"services": rows})
        return EXIT_OK
    for one in WIZARDS.values():
        context.print(f"{one.name:12} {one.summary}")
    return EXIT_OK


def _wizard(words: Sequence[str], usage: str) -> Wizard:
    if not words:
        raise UsageError(what=f"name a service: {' '.join(WIZARDS)}", usage=usage)
    found = WIZARDS.get(words[0])
    if found is None:
        raise NotFound(kind="service", name=words[0])
    return found


def show(context: Context, words: Sequence[str]) -> int:
    """`show NAME`: its parameters."""
    one = _wizard(words, "script show NAME")
    if context.options.structured:
        rows = [
            {"name": each.name, "summary": each.summary, "default": each.default} for each in one.parameters
        ]
        context.emit("service", {"name": one.name, "summary": one.summary, "parameters": rows})
        return EXIT_OK
    context.print(f"{one.name}: {one.summary}")
    for each in one.parameters:
        default = "required" if each.default is None else f"default {each.default!r}"
        context.print(f"  {each.name:12} {each.summary} ({default})")
    return EXIT_OK


def _text(words: Sequence[str], usage: str) -> str:
    wizard = _wizard(words, usage)
    given: dict[str, str] = {}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(what=f"{word!r}: PARAM=VALUE is needed", usage=usage)
        given[name] = value
    return definitions(wizard, given)


def verify(context: Context, words: Sequence[str]) -> int:
    """`verify NAME PARAM=VALUE…`: what it would define."""
    context.print(_text(words, "script verify NAME PARAM=VALUE…"), end="")
    return EXIT_OK


def run(context: Context, words: Sequence[str]) -> int:
    """`run NAME PARAM=VALUE…`: define it, as one commit. What exists already is refused."""
    text = _text(words, "script run NAME PARAM=VALUE…")
    found = parse_text(text, words[0], provider_lookup(context))
    workspace = context.open_workspace()
    loaded = load(workspace.cib, found, source=words[0], mode=Mode.CREATE)
    for warning in loaded.warnings:
        context.warning(warning)
    workspace.cib = loaded.cib
    workspace.named |= {*definition_names(found)}
    return finish_session(context, f"hacli script run {words[0]}")
