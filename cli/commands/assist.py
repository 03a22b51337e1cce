"""`hacli configure assist`: larger steps in the pending configuration."""

from __future__ import annotations

from collections.abc import Sequence

from cli.context import EXIT_OK, Context, UsageError
from cli.grammar.assist import with_template, with_weak_bonds


def template(context: Context, words: Sequence[str]) -> int:
    """`template ID PRIMITIVE PRIMITIVE…`: a template of what they have in common; they then refer to it."""
    if len(words) < 3:
        raise UsageError(
            what="an id and two primitives are needed", usage="assist template ID PRIMITIVE PRIMITIVE…"
        )
    workspace = context.open_workspace()
    workspace.cib = with_template(workspace.cib, words[0], words[1:])
    workspace.named |= {*words}
    return EXIT_OK


def weak_bonds(context: Context, words: Sequence[str]) -> int:
    """`weak-bonds RSC RSC…`: to one node, without depending on each other."""
    if len(words) < 2:
        raise UsageError(what="two resources are needed", usage="assist weak-bonds RSC RSC…")
    workspace = context.open_workspace()
    workspace.cib, name = with_weak_bonds(workspace.cib, words)
    workspace.named |= {*words, name}
    context.info(f"{name} binds them: a resource that does nothing")
    return EXIT_OK
