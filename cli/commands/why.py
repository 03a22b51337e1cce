"""`hacli why RESOURCE [NODE]`: where a resource is to be, and the scores that say so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from cli.commands.changes import node_of, read, resource_of
from cli.context import EXIT_OK, Context, UsageError
from cli.render.reasons import reason_lines
from crm.scheduler import pipeline

_USAGE: Final = "why RESOURCE [NODE]"


def main(context: Context, words: Sequence[str]) -> int:
    """Computes the transition of this moment, without doing anything, and shows its reasons."""
    if words and words[0] in ("-h", "--help"):
        context.print(f"usage: hacli {_USAGE}")
        return EXIT_OK
    if not 1 <= len(words) <= 2:
        raise UsageError(what="name a resource", usage=_USAGE)
    cib = read(context)
    resource_of(cib, words[0])
    if len(words) == 2:
        node_of(cib, words[1])
    now_s = pipeline.effective_now_s(cib, int(time.time()))
    transition = pipeline.schedule(cib, now_s)
    for line in reason_lines(transition, words[0], words[1] if len(words) == 2 else ""):
        context.print(line)
    return EXIT_OK
