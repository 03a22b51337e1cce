"""Waiting until the cluster has done what there is to do, with progress and a limit."""

from __future__ import annotations

import time
from typing import Final

from cli.context import EXIT_FAILED, EXIT_NOT_REACHED, EXIT_OK, Context
from hacluster.errors import ErrorCode, HaError

PAUSE_S: Final = 0.2
# A change reaches the scheduler a moment after it was written: idle counts when it lasts this long.
SETTLED_S: Final = 1.0


def wait_for_goals(context: Context, limit_ms: int) -> int:
    """Wait; 0 when everything is as the commands wanted it, 6 when not, with what is not and why."""
    from cli.commands.changes import view

    before = {str(one) for one in view(context).failed_actions()}
    if wait_until_idle(context, limit_ms) != EXIT_OK:
        return EXIT_NOT_REACHED
    now = view(context)
    unmet = [text for goal in context.goals if (text := goal(now))]
    failed = [str(one) for one in now.failed_actions() if str(one) not in before]
    for text in unmet:
        context.error(f"not reached: {text}")
    for text in failed:
        context.error(text)
    if unmet and context.goals:
        context.info("`hacli why RESOURCE` says what stands in the way")
    return EXIT_NOT_REACHED if unmet or failed else EXIT_OK


def wait_until_idle(context: Context, limit_ms: int, what: str = "the cluster") -> int:
    """0 when the transition engine is idle, 1 (with what it waits for) after the limit."""
    end = time.monotonic() + limit_ms / 1_000
    idle_since: float | None = None
    said = ""
    waits: tuple[str, ...] = ()
    while time.monotonic() < end:
        try:
            status = context.client.status()
        except HaError as error:
            if error.code not in (ErrorCode.NO_DC, ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE):
                raise
            idle_since = None
            time.sleep(PAUSE_S)
            continue
        transition = status.transition
        waits = tuple(transition.waits)
        idle = transition.state in ("idle", "") and bool(status.dc)
        now = time.monotonic()
        if not idle:
            idle_since = None
            line = _progress(
                transition.number, transition.done, transition.actions, tuple(transition.running), waits
            )
            if line != said:
                context.info(f"{what}: {line}")
                said = line
        elif idle_since is None:
            idle_since = now
        elif now - idle_since >= SETTLED_S:
            return EXIT_OK
        time.sleep(PAUSE_S)
    reason = f": it waits for {', '.join(waits)}" if waits else ""
    context.error(f"{what}: not done after {limit_ms / 1_000:g} s{reason}")
    return EXIT_FAILED


def _progress(number: int, done: int, total: int, running: tuple[str, ...], waits: tuple[str, ...]) -> str:
    text = f"transition {number}: {done} of {total} actions"
    if running:
        text += f", running {', '.join(running)}"
    if waits:
        text += f", waiting for {', '.join(waits)}"
    return text
