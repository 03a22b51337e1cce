"""`hacli apply FILE`, `hacli plan FILE`: the configuration is to be as a file says."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli import colour
from cli.commands.configure import provider_lookup
from cli.context import EXIT_DRIFT, EXIT_OK, Context, UsageError
from cli.grammar.definitions import Definition, parse_text
from cli.grammar.document import configuration_of
from cli.grammar.load import Mode, definition_names, load, xml_definitions
from cli.options import set_value
from cli.render.changes import change_data, change_lines
from cli.session import finish_session
from cli.workspace import Workspace
from crm.cib import codec
from crm.cib.objects import changes
from hacluster.errors import InvalidRequest

USAGE: Final = "apply FILE|- [--check] [--prune] [--reason TEXT] [--confirm TIME [--guard RSC,…]]"


def apply(context: Context, words: Sequence[str]) -> int:
    """`apply FILE`: exit status 0 when it is so now; with --check 0 when it is so already, 5 when not."""
    name, check, prune = _words(context, words)
    changed = _load(context, name, prune=prune)
    if check:
        return _report_drift(context, changed)
    if not changed:
        context.info("the configuration is as the file says: there is nothing to do")
        return EXIT_OK
    return finish_session(context, "hacli apply")


def plan(context: Context, words: Sequence[str]) -> int:
    """`plan FILE [--prune]`: what `apply` would do, without doing it."""
    name, _check, prune = _words(context, words)
    _load(context, name, prune=prune)
    workspace = context.open_workspace()
    print_plan(context, workspace)
    return EXIT_OK


def _words(context: Context, words: Sequence[str]) -> tuple[str, bool, bool]:
    rest, flags, names = list(words), set(), []
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word in ("--check", "--prune"):
            flags.add(word)
        elif name in ("--reason", "--confirm", "--guard", "--output"):
            if not equals and not rest:
                raise UsageError(what=f"{name} needs a value", usage=USAGE)
            set_value(context.options, name, value if equals else rest.pop(0))
        elif word.startswith("--"):
            raise UsageError(what=f"{word} is not known here", usage=USAGE)
        else:
            names.append(word)
    if len(names) != 1:
        raise UsageError(what="name one file", usage=USAGE)
    return names[0], "--check" in flags, "--prune" in flags


def _load(context: Context, name: str, *, prune: bool) -> bool:
    """The file's definitions into the workspace; whether that changes anything."""
    source = "standard input" if name == "-" else name
    definitions = read_definitions(context, name, source)
    workspace = context.open_workspace()
    loaded = load(workspace.cib, definitions, source=source, mode=Mode.PRUNE if prune else Mode.UPDATE)
    for warning in loaded.warnings:
        context.warning(warning)
    workspace.cib = loaded.cib
    workspace.named |= set(definition_names(definitions))
    if prune:
        gone = changes(configuration_of(workspace.base.cib), configuration_of(workspace.cib))
        workspace.pruned |= {one.key[2] for one in gone if one.after is None} - workspace.named
        workspace.deletes = workspace.deletes or bool(workspace.pruned)
    return workspace.changed


def read_definitions(context: Context, name: str, source: str) -> tuple[Definition, ...]:
    """What a file (crm text, CIB XML or JSON) defines. Raises InvalidDocument, InvalidRequest, OSError."""
    try:
        text = (
            sys.stdin.read().removeprefix("\ufeff")
            if name == "-"
            else Path(name).read_text(encoding="utf-8-sig")
        )
    except UnicodeDecodeError as error:
        raise InvalidRequest(what=f"{source} is not UTF-8: {error}") from None
    if text.lstrip().startswith("<"):
        return xml_definitions(codec.parse(text.encode(), source=source))
    if text.lstrip().startswith("{"):
        from cli.grammar.json_form import json_definitions

        return json_definitions(text, source)
    return parse_text(text, source, provider_lookup(context))


def _report_drift(context: Context, changed: bool) -> int:
    workspace = context.open_workspace()
    before, after = workspace.base.cib, workspace.cib
    found = changes(configuration_of(before), configuration_of(after)) if changed else ()
    if context.options.structured:
        context.emit("drift", {"changes": change_data(found, before, after)})
    else:
        for line in change_lines(found, before, after):
            context.print(line)
    context.info("the configuration is not as the file says" if changed else "as the file says")
    return EXIT_DRIFT if changed else EXIT_OK


def print_plan(context: Context, workspace: Workspace) -> None:
    """What the pending changes lead to, to standard output."""
    from cli.render.plan import plan_data, plan_text
    from cli.session import plan_of

    before, after, made = workspace.base.cib, workspace.cib, plan_of(workspace)
    if context.options.structured:
        context.emit("plan", plan_data(made, before, after))
    else:
        context.print(plan_text(made, before, after, colour=colour.wanted(context, context.out)), end="")
