"""Two nodes that lost each other: who shoots first, and how long the other waits (spec 11.4). Pure."""

from __future__ import annotations

from typing import Final

from hacluster.durations import parse_ms

UNMEASURED_MS: Final = 2_000
"""When no run of the device has been measured: longer than most take."""

LEAST_MS: Final = 1_000
MARGIN: Final = 1.2
SKEW_MS: Final = 500
"""How much later one side may notice the loss, and have its plan, than the other; at least."""

PLAN_MS: Final = 250
"""How much later it may have its plan. What it heard last was said up to a keepalive interval later, too."""


def isolated_ms(option: str, *, own: int, peer: int, deadtime_ms: int) -> int:
    """How much longer the worse connected of two waits (isolated-delay, two deadtimes by default).

    `own`, `peer`: links with carrier and live ping targets, ours now and the other's as it said last; 0: not
    known. 0 when they are equal, or one is not known: then nobody waits for that.
    """
    if own == peer or not own or not peer:
        return 0
    try:
        return parse_ms(option) if option else 2 * deadtime_ms
    except ValueError:
        return 2 * deadtime_ms  # said by `hacli verify`


def before_shot_ms(
    option: str,
    *,
    isolated_ms: int,
    worse: bool,
    was_dc: bool,
    decided: bool,
    longest_ms: int,
    keepalive_ms: int,
) -> int:
    """All that this node waits before its first shot at the other of two.

    When one is worse connected that decides, and who was DC does not matter: the better one shoots at once,
    and the worse one waits `isolated_ms` (0: neither is worse) and as long as who was not DC.
    """
    if not isolated_ms:
        first = was_dc
    elif worse:
        first = False
    else:
        return 0
    return isolated_ms + delay_ms(
        option, was_dc=first, decided=decided, longest_ms=longest_ms, keepalive_ms=keepalive_ms
    )


def delay_ms(option: str, *, was_dc: bool, decided: bool, longest_ms: int, keepalive_ms: int) -> int:
    """How long this node waits before its first shot at the other of two.

    `option` is two-node-delay. Who was DC shoots at once. `decided`: devices' delays or priorities say who is
    first. `longest_ms`: the longest run of the device that was ever measured, 0 without one.
    """
    if option in ("off", "0", "false") or was_dc or decided:
        return 0
    if option != "auto":
        try:
            return parse_ms(option)
        except ValueError:
            pass  # said by `hacli verify`; two nodes without a delay would both be dead
    skew_ms = max(keepalive_ms + PLAN_MS, SKEW_MS)
    if not longest_ms:
        return UNMEASURED_MS + skew_ms - SKEW_MS
    return max(int(longest_ms * MARGIN), LEAST_MS) + skew_ms
