"""Programs with options of their own, as the command tree calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cli.commands.changes import read
from cli.context import Context

_SOURCES: Final = ("-x", "--xml-file", "-p", "--xml-pipe", "-L", "--live-check", "--batch", "-h", "--help")


def simulate(context: Context, words: Sequence[str]) -> int:
    """`hacli simulate`: of the running cluster (or --cib-file) unless a source is named."""
    from cli.commands.simulate import main

    given = any(word.startswith(_SOURCES) for word in words)
    return main([*(() if given else ("-L",)), *words], context.out, lambda: read(context))


def plan(context: Context, words: Sequence[str]) -> int:
    """`configure simulate [actions] [scores] [utilization]`: what if the pending changes were written."""
    from cli.commands.simulate import main

    cib = context.open_workspace().cib
    options = ["-L", "-S"]
    options += [letter for word, letter in (("scores", "-s"), ("utilization", "-U")) if word in words]
    return main(options, context.out, lambda: cib)
