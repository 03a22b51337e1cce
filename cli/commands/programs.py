"""Programs with options of their own, as the command tree calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cli.context import Context, UsageError
from crm.cib.model import Element

SOURCES: Final = (
    "-x",
    "--xml-file",
    "-p",
    "--xml-pipe",
    "-L",
    "--live-check",
    "-P",
    "--profile",
    "--batch",
    "-h",
    "--help",
    "-$",
    "--version",
)
"""Options that name the CIB, or need none."""
_PLAN_WORDS: Final = ("nograph", "scores", "utilization", "actions")  # no graph is ever shown; actions always


def simulate(context: Context, words: Sequence[str], *, raising: bool = False) -> int:
    """`hacli simulate`: of the running cluster (or --cib-file) unless a source is named.

    `raising`: errors are the caller's, who has exit codes of another program to keep.
    """
    from cli.commands.simulate import main, run

    given = any(word.startswith(SOURCES) for word in words)
    arguments = [*_form(context), *(() if given else ("-L",)), *words]
    if raising:
        return 0 if run(arguments, context.out, lambda: _read(context), program="crm_simulate") else 1
    return main(arguments, context.out, lambda: _read(context))


def _form(context: Context) -> tuple[str, ...]:
    """As hacli's own --output wants it; the words that follow may say otherwise."""
    form = context.options.output
    return () if form == "text" else (f"--output-as={form}",)


def _read(context: Context) -> Element:
    from cli.commands.changes import read  # only for a CIB that is not in a file: it costs a tenth of a run

    return read(context)


def plan(context: Context, words: Sequence[str]) -> int:
    """`configure simulate [actions] [scores] [utilization]`: what if the pending changes were written."""
    from cli.commands.simulate import main

    odd = [word for word in words if word not in _PLAN_WORDS and word.strip("v")]
    if odd:
        raise UsageError(
            what=f"{odd[0]!r} is not understood",
            usage="simulate [nograph] [v…] [scores] [utilization] [actions]",
        )
    cib = context.open_workspace().cib
    options = [*_form(context), "-L", "-S"]
    options += [letter for word, letter in (("scores", "-s"), ("utilization", "-U")) if word in words]
    return main(options, context.out, lambda: cib)
